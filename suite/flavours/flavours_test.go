package flavours_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// flavourPages is what the whole life of some sessions is made of.
func flavourPages(m *redsession.Manager) stage.Handlers {
	return stage.Handlers{
		"/add": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			wholeCount.Update(s, func(n int) int { return n + 1 })
			wholeNote.Set(s, "written in clear")
		},
		"/state": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			n, _ := wholeCount.Get(s)
			fmt.Fprintf(w, "%q %d", s.UserID(), n)
		},
		"/login":  func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login("alice") },
		"/logout": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Logout() },
		"/others": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			n, err := m.RevokeOthers(r.Context(), s)
			fmt.Fprint(w, n, err)
		},
	}
}

const (
	wholeCount = redsession.Key[int]("count")
	wholeNote  = redsession.Key[string]("note")
)

// liveThrough lets sessions be written, logged in, rotated, listed, limited,
// revoked and logged out on e.
func liveThrough(t *testing.T, e *stage.Env) {
	t.Helper()
	m := e.Manager(t, func(c *redsession.Config) { c.MaxPerUser, c.Encrypt = 2, true })
	srv := stage.Serve(t, m, flavourPages(m))
	first, second, third := stage.NewBrowser(t, srv), stage.NewBrowser(t, srv), stage.NewBrowser(t, srv)
	want := func(b *stage.Browser, path string, status int, body string) {
		t.Helper()
		if a := b.Get(path); a.StatusCode != status || body != "" && a.Text != body {
			t.Errorf("%s: got %d %q, want %d %q", path, a.StatusCode, a.Text, status, body)
		}
	}
	want(first, "/add", 200, "")
	var parallel sync.WaitGroup
	for range 10 {
		parallel.Go(func() { want(first, "/add", 200, "") })
	}
	parallel.Wait()
	want(first, "/state", 200, `"" 11`)
	anonymous := first.Cookie()
	want(first, "/login", 200, "")
	login := first.Cookie()
	want(first, "/state", 200, `"alice" 11`)
	e.Advance(t, 3*time.Hour)
	want(first, "/state", 200, `"alice" 11`)
	if anonymous == login || login == first.Cookie() {
		t.Error("got the same cookie after a login, or after the rotation was due, want another")
	}
	want(first, "/state", 200, `"alice" 11`)
	want(first.With(login), "/state", 200, `"alice" 11`) // within the grace
	wantMortal(t, e)
	for key, value := range e.Dump(t) {
		if strings.Contains(value, "written in clear") {
			t.Errorf("%s: got a value that can be read, want it encrypted", key)
		}
	}
	want(second, "/login", 200, "")
	wantDevices(t, m, 2)
	want(third, "/login", 200, "")
	want(first, "/state", 200, `"" 0`) // MaxPerUser
	wantDevices(t, m, 2)
	want(third, "/others", 200, "1 <nil>")
	e.Advance(t, time.Second) // what was checked at that very moment is refused
	want(second, "/state", 200, `"" 0`)
	wantDevices(t, m, 1)
	wantMortal(t, e)
	want(third, "/logout", 200, "")
	want(third, "/state", 200, `"" 0`)
	wantDevices(t, m, 0)
	want(third, "/login", 200, "")
	if n, err := m.RevokeAll(t.Context()); n != 1 || err != nil {
		t.Errorf("RevokeAll: got %d, %v, want 1", n, err)
	}
	want(third, "/state", 200, `"" 0`)
	wantMortal(t, e)
	if failed := e.Events.Of(redsession.EventFailed); len(failed) > 0 {
		t.Errorf("got failures %v, want none", failed)
	}
}

// wantDevices checks that n sessions of alice's, and no others, are listed by
// user, listed and counted.
func wantDevices(t *testing.T, m *redsession.Manager, n int) {
	t.Helper()
	devices, err := m.Sessions(t.Context(), "alice")
	if len(devices) != n || err != nil {
		t.Errorf("Sessions: got %d, %v, want %d", len(devices), err, n)
	}
	if got, err := m.Count(t.Context()); got != n || err != nil {
		t.Errorf("Count: got %d, %v, want %d", got, err, n)
	}
	all := 0
	for info, err := range m.All(t.Context()) {
		if all++; err != nil || info.UserID != "alice" {
			t.Errorf("All: got %q, %v, want alice", info.UserID, err)
		}
	}
	if all != n {
		t.Errorf("All: got %d, want %d", all, n)
	}
}

// wantMortal checks that every key ends by itself.
func wantMortal(t *testing.T, e *stage.Env) {
	t.Helper()
	for _, key := range e.Keys(t) {
		if ttl := e.Client.TTL(t.Context(), key).Val(); ttl == -1 {
			t.Errorf("%s: got no TTL, want one", key)
		}
	}
}

func TestFlavoursEachCarryTheWholeLife(t *testing.T) {
	t.Parallel()
	for _, f := range stage.Flavours {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			e := f.Env(t)
			liveThrough(t, e)
			wantRefusedStranger(t, e)
		})
	}
}

// wantRefusedStranger checks that a wrong password is an error that says so and
// does not show it.
func wantRefusedStranger(t *testing.T, e *stage.Env) {
	t.Helper()
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("stranger", "hunter2")
	wantRefusal(t, u.String(), "WRONGPASS")
}

// wantRefusal checks that a list says why Redis cannot be had at url, and that
// the log of New does.
func wantRefusal(t *testing.T, url, want string) {
	t.Helper()
	e := stage.NewEnv(url, nil)
	m := e.Manager(t)
	_, err := m.Count(t.Context())
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Count: got error %v, want one that says %q and no password", err, want)
	}
	if log := e.Events.Log(); !strings.Contains(log, "cannot be reached") || !strings.Contains(log, want) || strings.Contains(log, "hunter2") {
		t.Errorf("got log %q, want %q and no password", log, want)
	}
}

func TestTLSAuthorityThatSignedNothingHereIsRefused(t *testing.T) {
	t.Parallel()
	tlsEnv := stage.FlavourNamed(t, "tls").Env(t)
	other := redistest.StartTLS(t)
	base, _, _ := strings.Cut(tlsEnv.URL, "?")
	wantRefusal(t, strings.Replace(base, "rediss://", "rediss://:hunter2@", 1)+"?ca="+other.CAFile, "certificate signed by unknown authority")
}

func TestACLTheSmallestIsEnough(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, flavour, rules string
	}{
		{"one server", "unix socket", stage.SmallestACL},
		{"a cluster", "cluster", stage.ClusterACL},
		{"the primary that sentinels watch", "sentinel", stage.SmallestACL},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.FlavourNamed(t, row.flavour).Env(t)
			e.Restrict(t, row.rules)
			liveThrough(t, e)
			if refused := e.OnEachNode(t, "acl", "log"); refused != "" {
				t.Errorf("got refusals %s, want none", refused)
			}
			e.OnEachNode(t, "acl", "deluser", "app")
		})
	}
}

// What New tries must be what sessions need: it names what is missing, and without it something fails.
func TestACLNoCommandOfTheSmallestCanGo(t *testing.T) {
	t.Parallel()
	e := stage.FlavourNamed(t, "acl").Env(t)
	for rule := range strings.FieldsSeq(stage.SmallestACL) {
		command, ok := strings.CutPrefix(rule, "+")
		if !ok {
			continue
		}
		t.Run("without "+command, func(t *testing.T) {
			e.OnEachNode(t, "acl", "setuser", "app", "-"+command)
			e.OnEachNode(t, "script", "flush")
			before := len(e.Events.Log())
			m := e.Manager(t, func(c *redsession.Config) {
				c.MaxPerUser, c.Passive = 1, func(r *http.Request) bool { return r.FormValue("passive") != "" }
			})
			if log := e.Events.Log()[before:]; !strings.Contains(log, strings.ToUpper(command)+": ") && !strings.Contains(log, "'"+command+"'") {
				t.Errorf("got the log %q of New, want it to name %s", log, command)
			}
			e.OnEachNode(t, "script", "flush")
			e.OnEachNode(t, "acl", "log", "reset")
			bustle(t, e, m)
			if refused := e.OnEachNode(t, "acl", "log"); !strings.Contains(refused, "object:"+command+" ") && command != "ping" {
				t.Errorf("got refusals %q, want one of %s", refused, command)
			}
			e.OnEachNode(t, "acl", "setuser", "app", rule)
		})
	}
}

// bustle does something of everything, whether it works or not.
func bustle(t *testing.T, e *stage.Env, m *redsession.Manager) {
	t.Helper()
	srv := stage.Serve(t, m, flavourPages(m))
	first, second := stage.NewBrowser(t, srv), stage.NewBrowser(t, srv)
	for _, path := range []string{"/add", "/add", "/login", "/add", "/add?passive=1", "/others"} {
		first.Get(path)
	}
	e.Clock.Add(time.Second)
	second.Get("/login")
	second.Get("/logout")
	second.Get("/login")
	_, _ = m.Sessions(t.Context(), "alice")
	_, _ = m.ChangeUser(t.Context(), "alice", func(s *redsession.Session) error { s.Flash("a job was here"); return nil })
	_, _ = m.RevokeAll(t.Context())
}
