package managers_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// Two Managers side by side in one mux whose cookies have one name are told of by the one that gets the other's cookie,
// once, and no others are.
func TestManagersSideBySideWithOneCookieName(t *testing.T) {
	t.Parallel()
	secret := func(text string) []byte { sum := sha256.Sum256([]byte(text)); return sum[:] } // no other test's Manager has it
	other := func(c *redsession.Config) { c.Secrets = [][]byte{secret("other " + string(c.Secrets[0]))} }
	prefix := func(c *redsession.Config) { c.Prefix = "staff:" }
	for _, row := range []struct {
		name     string
		change   []func(*redsession.Config)
		apart    bool // on a Redis of its own
		closed   bool // the other Manager is, before its cookie comes
		ended    bool // the session has ended before
		sent     string
		warnings int
	}{
		{"another secret and prefix", []func(*redsession.Config){other, prefix}, false, false, false, "", 1},
		{"the same secret and another prefix", []func(*redsession.Config){prefix}, false, false, false, "", 1},
		{"another secret and Redis", []func(*redsession.Config){other}, true, false, false, "", 1},
		{"another name", []func(*redsession.Config){other, prefix, func(c *redsession.Config) { c.Cookie.Name = "staff" }}, false, false, false, "", 0},
		{"another path", []func(*redsession.Config){other, prefix, func(c *redsession.Config) { c.Cookie.Path = "/staff" }}, false, false, false, "", 0},
		{"the same sessions, while a secret is replaced", []func(*redsession.Config){other}, false, false, false, "", 0},
		{"the same sessions", nil, false, false, true, "", 0},
		{"a session of the other's that has ended", []func(*redsession.Config){prefix}, false, false, true, "", 0},
		{"a Manager that is closed", []func(*redsession.Config){other, prefix}, false, true, false, "", 0},
		{"a cookie that nobody signed", []func(*redsession.Config){other, prefix}, false, false, false, "AAAA", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			staffE := e
			if row.apart {
				staffE = stage.NewMini(t)
			}
			staffE = &stage.Env{URL: staffE.URL, Client: staffE.Client, Mini: staffE.Mini, Clock: e.Clock, Events: &stage.EventLog{}}
			own := func(c *redsession.Config) { c.Secrets = [][]byte{secret(row.name)} }
			shop, staff := e.Manager(t, own), staffE.Manager(t, append([]func(*redsession.Config){own}, row.change...)...)
			mux := http.NewServeMux()
			login := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") })
			mux.Handle("/shop/login", shop.Handler(login))
			mux.Handle("/shop", shop.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			mux.Handle("/staff", staff.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", "/shop/login", nil))
			cookie := w.Result().Cookies()[0]
			if row.closed {
				if err := shop.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if row.ended {
				if _, err := shop.RevokeUser(t.Context(), "alice"); err != nil {
					t.Fatal(err)
				}
			}
			if row.sent != "" {
				cookie.Value = row.sent
			}
			for range 2 {
				r := httptest.NewRequest("GET", "/staff", nil)
				r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
				mux.ServeHTTP(httptest.NewRecorder(), r)
			}
			if said := staffE.Events.Log(); strings.Count(said, "two Managers") != row.warnings {
				t.Errorf("got the log\n%s\nwant %d warnings of two Managers", said, row.warnings)
			}
		})
	}
}

// What a goroutine changes in a session once its request has ended is told of, once: nobody commits it.
func TestChangesAfterTheRequestAreToldOf(t *testing.T) {
	t.Parallel()
	const late = "changed after its request had ended"
	for _, row := range []struct {
		name string
		do   func(*redsession.Session)
		want bool
	}{
		{"Set", func(s *redsession.Session) { note.Set(s, "late") }, true},
		{"Update", func(s *redsession.Session) { note.Update(s, func(string) string { return "late" }) }, true},
		{"Delete", func(s *redsession.Session) { note.Delete(s) }, true},
		{"Flash", func(s *redsession.Session) { s.Flash("late") }, true},
		{"Login", func(s *redsession.Session) { s.Login("alice") }, true},
		{"Logout", func(s *redsession.Session) { s.Logout() }, true},
		{"Get", func(s *redsession.Session) { _, _ = note.Get(s) }, false},
	} {
		for body, text := range map[string]string{"with a body": "x", "without": ""} {
			t.Run(row.name+" "+body, func(t *testing.T) {
				t.Parallel()
				e := stage.NewMini(t)
				m := e.Manager(t)
				var kept *redsession.Session
				srv := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					kept = m.FromContext(r.Context())
					row.do(kept)
					if text != "" {
						_, _ = w.Write([]byte(text))
						note.Set(kept, "after the first byte")
					}
				})))
				t.Cleanup(srv.Close)
				res, err := http.Get(srv.URL)
				if err == nil {
					res.Body.Close()
				}
				srv.Close() // waits for the handler, and the server's end of the request
				if strings.Contains(e.Events.Log(), late) {
					t.Fatalf("got the log %s, want nothing of a change in the handler", e.Events.Log())
				}
				for range 2 {
					row.do(kept)
				}
				want := 0
				if row.want {
					want = 1
				}
				if got := strings.Count(e.Events.Log(), late); got != want || strings.Contains(e.Events.Log(), `"late"`) {
					t.Errorf("got %d lines in\n%s\nwant %d, without the value", got, e.Events.Log(), want)
				}
			})
		}
	}
}
