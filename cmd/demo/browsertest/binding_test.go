package browsertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestBindingInARealBrowser walks through the life of a bound session. It is one test, as each
// browser takes seconds to start.
func TestBindingInARealBrowser(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	s.login(b)
	s.want(b, "/", boundAlice)

	s.state(b, "/late") // the next request waits for a proof
	s.want(b, "/", boundAlice)
	if s.manager().Stats().Proofs == 0 {
		t.Error("got no proof, want one before the page")
	}

	s.state(b, "/late") // seven requests share one
	before := s.manager().Stats().Proofs
	eval[bool](b, `(Promise.all(Array.from({length: 7}, () => fetch("/").then(r => r.text()))).then(t => { window.seven = t.join("|") }), true)`)
	b.until("seven answers", `"seven" in window`)
	all := eval[string](b, `window.seven`)
	if strings.Count(all, boundAlice) != 7 || s.manager().Stats().Proofs != before+1 {
		t.Errorf("got %q and %d proofs, want seven bound answers after one", all, s.manager().Stats().Proofs-before)
	}

	s.restart() // the server's memory is gone
	s.state(b, "/late")
	s.want(b, "/", boundAlice)

	s.ahead.Add(int64(2 * time.Minute)) // a proof is asked for
	if got := s.state(b, "/proof"); got != "proved" {
		t.Errorf("got %q, want the page after a proof", got)
	}

	s.ahead.Add(int64(4 * time.Hour)) // the timed rotation goes with a proof
	s.state(b, "/late")
	s.want(b, "/", boundAlice)
	if s.manager().Stats().Rotated == 0 {
		t.Error("got no rotation in four hours")
	}

	s.redis.SetError("LOADING Redis is loading the dataset in memory") // Redis goes away
	s.state(b, "/late")
	if got := s.state(b, "/"); strings.Contains(got, "locked=true") {
		t.Errorf("got %q while Redis is away, want no locked page", got)
	}
	s.redis.SetError("")
	// A page may still be from memory; a write is not.
	for deadline := time.Now().Add(patience); s.state(b, "/rotate") != boundAlice; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q after Redis is back, want the bound session", s.state(b, "/rotate"))
		}
	}

	s.want(b, "/logout", "0 bound=false locked=false")
	s.want(b, "/", "0 bound=false locked=false")
	s.login(b) // and in again
	s.want(b, "/", boundAlice)
	if _, err := s.manager().RevokeUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	s.want(b, "/", "0 bound=false locked=false")
}

// TestBindingAfterALinkFromAnotherSite opens the site by a link of another one, once the second
// cookie has ended.
func TestBindingAfterALinkFromAnotherSite(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	s.login(b)
	s.state(b, "/late")
	other := anotherSite(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a id=link href="%s/#part">there</a>`, s.srv.URL)
	})
	if _, err := chromedp.Run(b.ctx, chromedp.NavigateResponse(other)); err != nil {
		t.Fatal(err)
	}
	b.click("#link")
	b.until("the bound page", `document.body && document.body.innerText === "`+boundAlice+`"`)
	if at, _ := url.Parse(eval[string](b, `location.href`)); at.Fragment != "part" {
		t.Errorf("got the fragment %q, want it kept", at.Fragment)
	}
}

// TestBindingAfterALoginByARedirectFromAnotherSite logs in at another site, which sends the
// browser back, as OpenID Connect does. The browser registers its key in the context of that
// site, and sends no Lax cookie along.
func TestBindingAfterALoginByARedirectFromAnotherSite(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	provider := anotherSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // the password is right
			http.Redirect(w, r, s.srv.URL+"/login?code=1", http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<form method=post><button id=allow>Log in</button></form>`)
	})
	s.want(b, "/add", "1 bound=false locked=false") // the site has a cookie, as the state of such a login is kept
	if _, err := chromedp.Run(b.ctx, chromedp.NavigateResponse(provider)); err != nil {
		t.Fatal(err)
	}
	b.click("#allow")
	const bound = "alice 1 bound=true locked=false"
	for deadline := time.Now().Add(patience); s.state(b, "/") != bound; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want a bound session", s.state(b, "/"))
		}
	}
	s.mu.Lock()
	registered := fmt.Sprint(s.registered)
	s.mu.Unlock()
	if registered != "[0]" {
		t.Errorf("got %s cookies with the registrations, want one registration without any", registered)
	}
	s.state(b, "/late")
	s.want(b, "/", bound)
}

// TestBindingOutlivesTheBrowser closes the browser, whose session cookie goes and whose key
// stays, and logs in anew.
func TestBindingOutlivesTheBrowser(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	dir, err := os.MkdirTemp("", "browsertest-bound")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for range 2 {
		b, stop := s.open(dir)
		s.login(b)
		s.state(b, "/late")
		s.want(b, "/", boundAlice)
		stop()
	}
	b, stop := s.open(dir)
	s.loginBy(b, "/login?remember=1")
	s.state(b, "/late")
	stop()
	b, stop = s.open(dir) // both the cookie and the key are still there
	defer stop()
	s.want(b, "/", boundAlice)
}

// TestBindingAfterAThiefWasFirst has somebody with both cookies come before their owner, whose
// browser is sent back to prove itself.
func TestBindingAfterAThiefWasFirst(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	b.visit("/copy")
	eval[bool](b, `(fetch("/login", {redirect: "manual"}), true)`)
	cookies := func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.copied
	}
	for deadline := time.Now().Add(patience); !strings.Contains(cookies(), "-bound-"); time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			t.Fatal("got no second cookie after the login")
		}
		b.visit("/copy")
	}
	thief := map[string]string{}
	list, err := http.ParseCookie(cookies())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		thief[c.Name] = c.Value
	}
	for _, want := range []string{"alice 0 bound=false", boundAlice, boundAlice} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.srv.URL+"/", nil)
		for name, value := range thief {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		res, err := s.srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("the thief got %q, want %q", body, want)
		}
		for _, c := range res.Cookies() {
			thief[c.Name] = c.Value
		}
	}
	s.ahead.Add(int64(2 * time.Minute)) // the grace of the owner's cookie is over
	s.want(b, "/", boundAlice)
	if st := s.manager().Stats(); st.Replayed != 1 || st.Proofs != 1 {
		t.Errorf("got %d replays and %d proofs, want one each", st.Replayed, st.Proofs)
	}
}
