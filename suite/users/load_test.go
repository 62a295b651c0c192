package users_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// account is a user of the program.
type account struct{ Name, Stamp string }

// directory is where the program keeps its users. It is safe for concurrent use.
type directory struct {
	mu       sync.Mutex // guards what follows
	accounts map[string]*account
	err      error
	panics   bool
	asked    []string
}

func newDirectory(ids ...string) *directory {
	d := &directory{accounts: make(map[string]*account)}
	for _, id := range ids {
		d.accounts[id] = &account{Name: strings.ToUpper(id), Stamp: "v1"}
	}
	return d
}

func (d *directory) configure(c *redsession.Config) { c.LoadUser = d.load }

func (d *directory) load(_ context.Context, id string) (any, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, id)
	a := d.accounts[id]
	switch {
	case d.panics:
		panic("the directory is broken")
	case d.err != nil:
		return nil, "", d.err
	case a == nil:
		return nil, "", fmt.Errorf("looking for a user: %w", redsession.ErrNoUser)
	}
	return a, a.Stamp, nil
}

// take returns whom it was asked for since the last call.
func (d *directory) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := strings.Join(d.asked, " ")
	d.asked = nil
	return s
}

func (d *directory) change(fn func(*directory)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn(d)
}

// pages show the user, and lead to others.
var pages = stage.Handlers{
	"/name": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { showUser(w, s) },
	"/login-name": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		s.Login(r.FormValue("user"))
		showUser(w, s)
	},
	"/second-name": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Promote()
		showUser(w, s)
	},
	"/logout-name": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Logout()
		showUser(w, s)
	},
	"/act": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		s.Login(r.FormValue("user"), redsession.By(s.UserID()))
		showUser(w, s)
	},
}

func showUser(w http.ResponseWriter, s *redsession.Session) {
	a, ok := redsession.UserAs[*account](s)
	if !ok {
		a = &account{}
	}
	fmt.Fprintf(w, "%s %v", a.Name, ok)
}

func TestLoadUserIsCalledOnceARequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before []string
		path   string
		want   string
		asked  string
	}{
		{"nobody's visit asks for nobody", nil, "/name", " false", ""},
		{"an anonymous session asks for nobody", []string{"/set?v=1"}, "/name", " false", ""},
		{"a login asks for its user", nil, "/login-name?user=alice", "ALICE true", "alice"},
		{"a read of the user's session", []string{"/login?user=alice"}, "/name", "ALICE true", "alice"},
		{"a handler that never asks", []string{"/login?user=alice"}, "/set?v=1", "", "alice"},
		{"a login over another's session", []string{"/login?user=alice"}, "/login-name?user=bob", "BOB true", "alice bob"},
		{"a login over the user's own asks anew", []string{"/login?user=alice"}, "/login-name?user=alice", "ALICE true", "alice alice"},
		{"half of a login shows no user", []string{"/half?user=alice"}, "/name", " false", "alice"},
		{"the second half does, and does not ask again", []string{"/half?user=alice"}, "/second-name", "ALICE true", "alice"},
		{"after a logout there is none", []string{"/login?user=alice"}, "/logout-name", " false", "alice"},
		{"support acts as a user", []string{"/login?user=support"}, "/act?user=alice", "ALICE true", "support alice"},
		{"and is asked for at each hit", []string{"/login?user=support", "/act?user=alice"}, "/name", "ALICE true", "support alice"},
		{"a session that was rotated", []string{"/login?user=alice", "/rotate"}, "/name", "ALICE true", "alice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, d := stage.NewMini(t), newDirectory("alice", "bob", "support")
			b := stage.LifeBrowser(t, e.Manager(t, d.configure), pages)
			b.Play(e, tt.before...)
			d.take()
			if a := b.Get(tt.path); a.StatusCode != http.StatusOK || a.Text != tt.want {
				t.Errorf("got %d %q, want 200 %q", a.StatusCode, a.Text, tt.want)
			}
			if got := d.take(); got != tt.asked {
				t.Errorf("got asked for %q, want %q", got, tt.asked)
			}
		})
	}
}

func TestLoadUserEndsASessionOrFailsTheRequest(t *testing.T) {
	t.Parallel()
	gone := func(d *directory) { delete(d.accounts, "alice") }
	for _, tt := range []struct {
		name, begin string
		change      func(*directory)
		status      int
		after       string // what is shown once the directory is as it was
		reason      string
	}{
		{"the user was deleted", "/login?user=alice", gone, 200, " false", "no such user"},
		{"the user of half a login was deleted", "/half?user=alice", gone, 200, " false", "no such user"},
		{"the stamp changed", "/login?user=alice", func(d *directory) { d.accounts["alice"] = &account{Stamp: "v2"} }, 200, " false", "the user's stamp changed"},
		{"the stamp is empty now", "/login?user=alice", func(d *directory) { d.accounts["alice"] = &account{} }, 200, " false", "the user's stamp changed"},
		{"the directory cannot be reached", "/login?user=alice", func(d *directory) { d.err = errors.New("connection refused") }, 503, "ALICE true", ""},
		{"a nil pointer, and no error", "/login?user=alice", func(d *directory) { d.accounts["alice"] = (*account)(nil) }, 503, "ALICE true", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, d := stage.NewMini(t), newDirectory("alice")
			m := e.Manager(t, func(c *redsession.Config) {
				c.LoadUser = func(ctx context.Context, id string) (any, string, error) {
					d.mu.Lock()
					a, known := d.accounts[id]
					d.mu.Unlock()
					if known && a == nil {
						return a, "v1", nil
					}
					return d.load(ctx, id)
				}
			})
			b := stage.LifeBrowser(t, m, pages)
			b.Get(tt.begin)
			d.change(tt.change)
			if a := b.Get("/name"); a.StatusCode != tt.status || a.StatusCode == 200 && a.Text != " false" {
				t.Errorf("got %d %q, want %d", a.StatusCode, a.Text, tt.status)
			}
			d.change(func(d *directory) { d.accounts["alice"], d.err = &account{Name: "ALICE", Stamp: "v1"}, nil })
			if a := b.Get("/name"); a.Text != tt.after {
				t.Errorf("got %q once all is as it was, want %q", a.Text, tt.after)
			}
			var reasons []string
			for _, ev := range e.Events.Of(redsession.EventRevoked) {
				reasons = append(reasons, ev.Reason)
			}
			if want := strings.Fields(strings.ReplaceAll(tt.reason, " ", "_")); strings.ReplaceAll(strings.Join(reasons, " "), " ", "_") != strings.Join(want, " ") {
				t.Errorf("got revoked for %q, want %q", reasons, tt.reason)
			}
		})
	}
}

func TestLoadUserAtALogin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*directory)
		status int
	}{
		{"of somebody who is not there", func(d *directory) { delete(d.accounts, "alice") }, 409},
		{"while the directory cannot be reached", func(d *directory) { d.err = errors.New("connection refused") }, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, d := stage.NewMini(t), newDirectory("alice")
			b := stage.LifeBrowser(t, e.Manager(t, d.configure), pages)
			b.Get("/set?v=kept")
			d.change(tt.change)
			if a := b.Get("/login?user=alice"); a.StatusCode != tt.status {
				t.Errorf("got %d, want %d", a.StatusCode, tt.status)
			}
			d.change(func(d *directory) { d.accounts["alice"], d.err = &account{}, nil })
			if st := b.State(); st.User != "" || st.Note != "kept" {
				t.Errorf("got user %q, note %q, want nobody logged in, and what was there", st.User, st.Note)
			}
		})
	}
}

func TestLoadUserWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	o := stage.NewOutage(t, d.configure)
	b := stage.LifeBrowser(t, o.M, pages)
	b.Get("/login?user=alice")
	b.Get("/name")
	o.Down(t)
	d.take()
	if a := b.Get("/name"); a.Text != "ALICE true" || d.take() != "alice" {
		t.Errorf("got %d %q, want the user, asked for once", a.StatusCode, a.Text)
	}
	d.change(func(d *directory) { delete(d.accounts, "alice") })
	if a := b.Get("/name"); a.Text != " false" {
		t.Errorf("got %d %q for a user who was deleted, want nobody", a.StatusCode, a.Text)
	}
}

func TestLoadUserThatPanicsLeavesNothingLocked(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/name", "/login?user=alice", "/second"} {
		t.Run(path, func(t *testing.T) {
			e, d := stage.NewMini(t), newDirectory("alice")
			srv := stage.LifeHandlers()
			for p, h := range pages {
				srv[p] = h
			}
			b := stage.Browse(t, e.Manager(t, d.configure).Handler(srv.Mux()), false)
			b.Get("/half?user=alice")
			d.change(func(d *directory) { d.panics = true })
			if a, err := b.Try(path); err == nil {
				t.Errorf("got %d, want the connection cut", a.StatusCode)
			}
			d.change(func(d *directory) { d.panics = false })
			if a := b.Get("/second-name"); a.Text != "ALICE true" {
				t.Errorf("got %d %q afterwards, want the login completed", a.StatusCode, a.Text)
			}
		})
	}
}

// Sessions from before there was a LoadUser take a stamp with their next hit, and end by it.
func TestLoadUserFindsSessionsWithoutAStamp(t *testing.T) {
	t.Parallel()
	e, d := stage.NewMini(t), newDirectory("alice")
	old := stage.LifeBrowser(t, e.Manager(t), nil)
	old.Get("/login?user=alice")
	b := stage.LifeBrowser(t, e.Manager(t, d.configure), pages).With(old.Cookie())
	if a := b.Get("/name"); a.Text != "ALICE true" {
		t.Errorf("got %q, want the session to go on", a.Text)
	}
	d.change(func(d *directory) { d.accounts["alice"].Stamp = "v2" })
	if a := b.Get("/name"); a.Text != " false" {
		t.Errorf("got %q after the stamp changed, want nobody", a.Text)
	}
}

func TestUserAsPanicsOnAnotherType(t *testing.T) {
	t.Parallel()
	e, d := stage.NewMini(t), newDirectory("alice")
	caught := make(chan string, 2)
	catch := func(call func()) {
		defer func() { caught <- fmt.Sprint(recover()) }()
		call()
	}
	m := e.Manager(t, d.configure)
	b := stage.LifeBrowser(t, m, stage.Handlers{
		"/wrong": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			catch(func() { redsession.UserAs[account](s) })
		},
		"/interface": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			_, ok := redsession.UserAs[any](s)
			fmt.Fprint(w, ok)
		},
	})
	b.Play(e, "/login?user=alice", "/wrong")
	if got, want := <-caught, "redsession: UserAs[users_test.account]: Config.LoadUser returns *users_test.account"; got != want {
		t.Errorf("got panic %q, want %q", got, want)
	}
	if a := b.Get("/interface"); a.Text != "true" {
		t.Errorf("got %q, want an interface to do", a.Text)
	}
	without := stage.LifeBrowser(t, e.Manager(t), stage.Handlers{"/without": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		catch(func() { redsession.UserAs[*account](s) })
	}})
	without.Get("/without")
	if got := <-caught; !strings.Contains(got, "without Config.LoadUser") {
		t.Errorf("got panic %q, want one that names Config.LoadUser", got)
	}
}

func TestLoadUserWithinAChange(t *testing.T) {
	t.Parallel()
	e, d := stage.NewMini(t), newDirectory("alice", "bob")
	m := e.Manager(t, d.configure)
	b := stage.LifeBrowser(t, m, pages)
	b.Get("/login?user=alice")
	b.Fresh().Get("/login?user=alice")
	var names []string
	n, err := m.ChangeUser(t.Context(), "alice", func(s *redsession.Session) error {
		a, _ := redsession.UserAs[*account](s)
		names = append(names, a.Name)
		stage.LifeNote.Set(s, "changed")
		return nil
	})
	if n != 2 || err != nil || !slices.Equal(names, []string{"ALICE", "ALICE"}) {
		t.Errorf("got %d sessions changed for %v, %v, want two", n, names, err)
	}
	d.change(func(d *directory) { delete(d.accounts, "alice") })
	if err := m.Change(t.Context(), b.State().ID, func(*redsession.Session) error { return nil }); err == nil {
		t.Error("got no error for a user who was deleted")
	}
}

func TestLoadUserExcludesUserStamp(t *testing.T) {
	t.Parallel()
	d := newDirectory()
	err := stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, LoadUser: d.load, UserStamp: func(context.Context, string) (string, error) { return "", nil }})
	stage.WantError(t, err, "Config.UserStamp and Config.LoadUser")
}

// What LoadUser takes is not taken from the time that Redis has.
func TestLoadUserMayTakeLongerThanRedis(t *testing.T) {
	t.Parallel()
	e, st := stage.NewMini(t), stage.NewStamps("v1")
	slow := false
	m := e.Manager(t, func(c *redsession.Config) {
		c.RedisTimeout = 300 * time.Millisecond
		c.LoadUser = func(ctx context.Context, id string) (any, string, error) {
			if slow {
				<-time.After(350 * time.Millisecond)
			}
			stamp, err := st.Of(ctx, id)
			return id, stamp, err
		}
	})
	b := stage.LifeBrowser(t, m, nil)
	b.Get("/login?user=alice")
	slow = true
	st.Set("v2", nil)
	if a := b.Get("/who"); a.Text != "" || e.Living(t) != 0 {
		t.Errorf("got user %q and %d sessions in Redis, want nobody and none", a.Text, e.Living(t))
	}
}
