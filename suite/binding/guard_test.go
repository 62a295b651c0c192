package binding_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

// TestBindingSendsNavigationsFromOtherSitesBackAlone holds which requests get the page that
// loads itself again.
func TestBindingSendsNavigationsFromOtherSitesBackAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	s.m.Advance(12 * time.Minute)
	session := sessionOf(b) // alone: the second one has ended
	for _, row := range []struct {
		method, mode, dest, site string
		want                     bool
	}{
		{"GET", "navigate", "document", "cross-site", true},
		{"GET", "navigate", "document", "same-site", true},
		{"GET", "navigate", "document", "same-origin", false},
		{"GET", "navigate", "document", "none", false},
		{"GET", "navigate", "iframe", "cross-site", false},
		{"GET", "no-cors", "image", "cross-site", false},
		{"GET", "cors", "empty", "cross-site", false},
		{"POST", "navigate", "document", "cross-site", false},
		{"HEAD", "navigate", "document", "cross-site", false},
		{"GET", "", "", "", false},
	} {
		r := httptest.NewRequest(row.method, "https://example.com/?a=1", nil)
		r.Header.Set("Cookie", session)
		for name, value := range map[string]string{"Sec-Fetch-Mode": row.mode, "Sec-Fetch-Dest": row.dest, "Sec-Fetch-Site": row.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		if got := strings.Contains(w.Body.String(), "bounce.js"); got != row.want || got && (w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `<a href="">`)) {
			t.Errorf("%+v: got %d %q", row, w.Code, w.Body)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%+v: got Cache-Control %q, want no-store", row, got)
		}
	}
}

// TestBindingRequiredByEveryGuard has a session of a browser that cannot bind, and one that was
// imported.
func TestBindingRequiredByEveryGuard(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.DeviceBinding.Require = func(r *http.Request) bool { return r.URL.Path != "/login" }
		c.Adopt = []redsession.Legacy{{Cookie: "old", Source: "old", Load: func(context.Context, string) (*redsession.LegacyRecord, error) {
			return &redsession.LegacyRecord{Source: "old", ID: "x", UserID: "alice", CreatedAt: time.Now().Add(-time.Minute), ExpiresAt: time.Now().Add(time.Hour)}, nil
		}}}
	})
	let := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "let in") })
	able, unable := s.bound(t), s.m.Browser().Thief()
	s.within(able, func(_ *http.Request, session *redsession.Session) {
		session.Login("alice", redsession.Proved(2, "pwd"))
	})
	s.within(unable, func(_ *http.Request, session *redsession.Session) {
		session.Login("alice", redsession.Proved(2, "pwd"))
	})
	for name, guard := range map[string]func(http.Handler) http.Handler{
		"RequireLogin": s.m.RequireLogin, "RequireRecentLogin": s.m.RequireRecentLogin(time.Hour), "RequireLevel": s.m.RequireLevel(2), "RequireProof": s.m.RequireProof(time.Hour),
	} {
		h := s.m.Handler(guard(let))
		if got := text(able.Get(h, "/")); got != "200 let in" {
			t.Errorf("%s: got %q with a bound session", name, got)
		}
		if got := text(unable.Get(h, "/")); !strings.HasPrefix(got, "403 ") {
			t.Errorf("%s: got %q without, want Config.Forbidden", name, got)
		}
		if name == "RequireRecentLogin" || name == "RequireLevel" {
			continue // of an imported login nobody knows how it was
		}
		r := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
		r.AddCookie(&http.Cookie{Name: "old", Value: "x"})
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusForbidden {
			t.Errorf("%s: got %d %q with an imported session, want Config.Forbidden", name, w.Code, w.Body)
		}
	}
}

func TestRequireProofIsFor(t *testing.T) {
	t.Parallel()
	proved := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "proved") })
	s := newSite(t)
	h := s.m.Handler(s.m.RequireProof(2 * time.Minute)(proved))
	b := s.bound(t)
	unable := s.m.Browser().Thief()
	s.want(t, unable, "/login?user=bob", "200")
	ask := func(b *redsessiontest.Browser, method, path string) string {
		res := b.Do(h, httptest.NewRequest(method, "https://example.com"+path, nil))
		if at := res.Header.Get("Location"); at != "" {
			return fmt.Sprintf("%d to %s", res.StatusCode, at)
		}
		return text(res)
	}
	const forbidden = "403 This request is not allowed from here. Please load the page again."
	for _, row := range []struct {
		name, method, path, want string
		wait                     time.Duration
		b                        *redsessiontest.Browser
	}{
		{"a fresh proof", "GET", "/", "200 proved", 0, b},
		{"a fresh proof, at a POST", "POST", "/", "200 proved", 2*time.Minute - 5*time.Second, b},
		{"an older one, at a POST", "POST", "/", forbidden, 10 * time.Second, b},
		{"an older one, at a PUT", "PUT", "/", forbidden, 0, b},
		{"an older one, at a GET", "GET", "/x?y=1", "307 to /x?y=1", 0, b},
		{"which proves then", "GET", "/x?y=1", "200 proved", 0, b},
		{"another host's address", "GET", "//evil.example/x", "200 proved", 0, b},
		{"another host's address, of an older proof", "GET", "//evil.example/x", "307 to /evil.example/x", 3 * time.Minute, b},
		{"a session that is not bound", "GET", "/", forbidden, 0, unable},
		{"a session that is not bound, at a POST", "POST", "/", forbidden, 0, unable},
		{"nobody", "GET", "/", "401 Please log in.", 0, s.m.Browser()},
	} {
		s.m.Advance(row.wait)
		if got := ask(row.b, row.method, row.path); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	off := redsessiontest.New(t)
	plain := redsessiontest.New(t, func(c *redsession.Config) { c.DeviceBinding.Enabled = true }) // over plain HTTP
	for name, do := range map[string]func(){
		"under a minute":                     func() { s.m.RequireProof(time.Minute - 1) },
		"where sessions are not bound":       func() { off.RequireProof(time.Hour) },
		"where they are not, under a minute": func() { plain.RequireProof(time.Second) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("RequireProof %s: got no panic", name)
				}
			}()
			do()
		}()
	}
	w := httptest.NewRecorder()
	plain.Handler(plain.RequireProof(time.Minute)(proved)).ServeHTTP(w, plain.Login(httptest.NewRequest(http.MethodGet, "/", nil), "alice"))
	if w.Body.String() != "proved" {
		t.Errorf("got %d %q over plain HTTP, want a login to be enough", w.Code, w.Body)
	}
}

func TestBindingEvents(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var list []string
	s := newSite(t, func(c *redsession.Config) {
		c.OnEvent = func(_ context.Context, e redsession.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == redsession.EventBound || e.Kind == redsession.EventRefused {
				list = append(list, strings.TrimSpace(string(e.Kind)+" "+e.UserID+" "+e.Reason))
			}
		}
	})
	taps := tapped(s)
	b := s.bound(t)
	s.again(recorded{(*taps)[0].path, http.Header{}}, nil)
	s.again(recorded{"/session-binding/register/AAAA", (*taps)[0].header}, nil)
	s.again(recorded{"/session-binding/refresh/AAAAAAAA", http.Header{}}, nil)
	thief := b.Thief()
	s.m.Advance(11 * time.Minute)
	s.want(t, thief, "/", "200 nobody 0 locked")
	s.want(t, b, "/", "200 alice 0 bound")
	s.again((*taps)[len(*taps)-1], func(h http.Header) { h.Set("Secure-Session-Response", "e30.e30.AAAA") })
	want := []string{
		"bound alice",
		"refused  registration: the proof is no JWT of three parts",
		"refused  the offer to bind the session has expired, or is not ours",
		"refused  a proof without the identifier of its binding",
		"refused alice the session is bound to a device that has not proved itself",
		"refused  proof of a device: the proof is not of type dbsc+jwt",
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(list) != fmt.Sprint(want) {
		t.Errorf("got events\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
}

func TestBindingOfALinkFromAnotherSite(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.Cookie.SameSite = http.SameSiteNoneMode })
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	link := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site"}
	res := b.Get(s.h, "/?page=1", link...)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "/session-binding/bounce.js") {
		t.Fatalf("got status %d and %q, want the page that loads itself again", res.StatusCode, body)
	}
	s.want(t, b, "/session-binding/bounce.js", "200 location.reload();")
	s.want(t, b, "/?page=1", "200 alice 0 bound", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin")
	s.want(t, b.Thief(), "/", "200 alice 0 bound", "Sec-Fetch-Site", "cross-site")
}

func TestRequireProofHasTheBrowserProveItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	s.want(t, b, "/proof", "200 proved")
	s.m.Advance(2 * time.Minute)
	thief := b.Thief()
	res := b.Get(s.h, "/proof?a=1")
	if res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != "/proof?a=1" {
		t.Fatalf("got status %d to %q, want a redirect to the same page", res.StatusCode, res.Header.Get("Location"))
	}
	s.want(t, b, "/proof?a=1", "200 proved")
	thief.Get(s.h, "/proof?a=1")
	s.want(t, thief, "/proof?a=1", "401 Please log in.")
}
