package browsertest_test

import (
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// otherSite is one on another host.
func otherSite(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewUnstartedServer(h)
	_ = other.Listener.Close()
	other.Listener = listener
	other.Start()
	t.Cleanup(other.Close)
	return other
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
	other := otherSite(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a id=link href="%s/#part">there</a>`, s.srv.URL)
	})
	if _, err := chromedp.Run(b.ctx, chromedp.NavigateResponse(other.URL)); err != nil {
		t.Fatal(err)
	}
	b.click("#link")
	b.until("the bound page", `document.body && document.body.innerText === "`+boundAlice+`"`)
	if at, _ := url.Parse(eval[string](b, `location.href`)); at.Fragment != "part" {
		t.Errorf("got the fragment %q, want it kept", at.Fragment)
	}
}

// TestBindingOfALoginByARedirectFromAnotherSite logs in as with OpenID Connect: the browser goes
// to another site, and comes back from there. It registers its key without the session's cookie.
func TestBindingOfALoginByARedirectFromAnotherSite(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	other := otherSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, r.FormValue("back")+"?code=c", http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method=post><input type=hidden name=back value="%s"><button id=in>Log in</button></form>`, html.EscapeString(r.FormValue("back")))
	})
	s.want(b, "/add", "1 bound=false locked=false") // there is an anonymous session before
	b.visit("/sso?at=" + url.QueryEscape(other.URL))
	b.click("#in")
	b.until("the page of who has logged in", `document.body && document.body.innerText.startsWith("alice 1 ")`)
	s.untilBound(b)
	s.mu.Lock()
	came := s.registrations
	s.mu.Unlock()
	if len(came) != 1 || strings.Contains(came[0], "__Host-session=") {
		t.Errorf("got registrations with the cookies %q, want one, without the session's", came)
	}
	s.state(b, "/late")
	s.want(b, "/", "alice 1 bound=true locked=false")
	if s.manager().Stats().Proofs == 0 {
		t.Error("got no proof, want one before the page")
	}
}

// TestBindingOwnerComesAfterTheThief has a thief copy both cookies before the owner has used them,
// and use them first: the owner's browser proves itself, and goes on.
func TestBindingOwnerComesAfterTheThief(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	b.visit("/quiet")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := url.Parse(s.srv.URL)
	for deadline := time.Now().Add(patience); ; time.Sleep(pollEvery) {
		got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{s.srv.URL}})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("got no second cookie, and error %v", err)
		}
		if len(got.Cookies) < 2 {
			continue
		}
		var copied []*http.Cookie
		for _, c := range got.Cookies {
			copied = append(copied, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: true})
		}
		jar.SetCookies(at, copied)
		break
	}
	thief := s.srv.Client()
	thief.Jar = jar
	ask := func() string {
		res, err := thief.Get(s.srv.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	for range 2 {
		if got := ask(); !strings.Contains(got, "alice") {
			t.Fatalf("the thief got %q, want alice's session for now", got)
		}
	}
	s.ahead.Add(int64(2 * time.Minute)) // the grace of the old id is over
	s.want(b, "/#part", boundAlice)
	if at, _ := url.Parse(eval[string](b, `location.href`)); at.Fragment != "part" {
		t.Errorf("got the fragment %q, want it kept", at.Fragment)
	}
	s.ahead.Add(int64(10 * time.Minute))
	if got := ask(); strings.Contains(got, "alice") {
		t.Errorf("the thief got %q after eleven minutes", got)
	}
	s.state(b, "/late")
	s.want(b, "/", boundAlice)
}
