// Package managers_test holds two Managers in one program apart: that of customers, shop,
// and that of employees, staff.
package managers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

var note = redsession.Key[string]("note")

// sides are what a handler can do with the two sessions of its request.
type sides struct {
	*site
	w           http.ResponseWriter
	r           *http.Request
	shop, staff *redsession.Session
}

// site has both Managers on one Redis, with the same secret, and a browser whose requests
// pass both.
type site struct {
	shopE, staffE *stage.Env // each with the events of its Manager
	shop, staff   *redsession.Manager
	handle        func(s sides)
	*stage.Browser
}

// orders are the ways in which two Managers can stand to each other.
var orders = map[string]func(*site, http.Handler) http.Handler{
	"staff outside": func(st *site, h http.Handler) http.Handler { return st.staff.Handler(st.shop.Handler(h)) },
	"shop outside":  func(st *site, h http.Handler) http.Handler { return st.shop.Handler(st.staff.Handler(h)) },
}

// inEachOrder runs test with the Managers in each order.
func inEachOrder(t *testing.T, test func(t *testing.T, st *site)) {
	t.Helper()
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newSite(t, order, nil, nil))
		})
	}
}

func newSite(t *testing.T, order func(*site, http.Handler) http.Handler, changeShop, changeStaff func(*redsession.Config)) *site {
	t.Helper()
	e := stage.NewMini(t)
	st := &site{shopE: e, staffE: &stage.Env{URL: e.URL, Client: e.Client, Mini: e.Mini, Clock: e.Clock, Events: &stage.EventLog{}}}
	named := func(name string, change func(*redsession.Config)) func(*redsession.Config) {
		return func(c *redsession.Config) {
			c.Prefix, c.Cookie.Name = name+":", name+"-session"
			if change != nil {
				change(c)
			}
		}
	}
	st.shop = st.shopE.Manager(t, named("shop", changeShop))
	st.staff = st.staffE.Manager(t, named("staff", changeStaff))
	srv := httptest.NewServer(order(st, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		st.handle(sides{st, w, r, st.shop.FromContext(r.Context()), st.staff.FromContext(r.Context())})
	})))
	t.Cleanup(srv.Close)
	st.Browser = stage.NewBrowser(t, srv)
	return st
}

// do has the handler of one request do fn, and fails the test unless the status is want.
func (st *site) do(t *testing.T, want int, fn func(s sides)) stage.Answer {
	t.Helper()
	st.handle = fn
	a := st.Get("/")
	if a.StatusCode != want {
		t.Errorf("got status %d, want %d: %s", a.StatusCode, want, a.Text)
	}
	return a
}

// under is what Redis holds under a prefix.
func (st *site) under(t *testing.T, prefix string) map[string]string {
	t.Helper()
	held := make(map[string]string)
	for _, key := range st.shopE.Keys(t) {
		if strings.HasPrefix(key, prefix) {
			held[key] = st.shopE.Client.Type(t.Context(), key).Val() + " " + st.shopE.Client.Get(t.Context(), key).Val()
		}
	}
	return held
}

func TestManagersGuardByTheirOwnSessionAlone(t *testing.T) {
	t.Parallel()
	logIn := func(s *redsession.Session) { s.Login("alice") }
	halfWay := func(s *redsession.Session) { s.Login("alice", redsession.Pending()) }
	write := func(s *redsession.Session) { note.Set(s, "x") }
	for _, row := range []struct {
		name        string
		atShop      func(*redsession.Session)
		atStaff     func(*redsession.Session)
		shop, staff bool // let in
		recent      bool // to staff's page that matters
	}{
		{"nobody", nil, nil, false, false, false},
		{"a customer", logIn, nil, true, false, false},
		{"a customer whom staff knows without a name", logIn, write, true, false, false},
		{"a customer half-way in at staff", logIn, halfWay, true, false, false},
		{"an employee", nil, logIn, false, true, true},
		{"an employee half-way in at the shop", halfWay, logIn, false, true, true},
		{"both", logIn, logIn, true, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			inEachOrder(t, func(t *testing.T, st *site) {
				st.do(t, 200, func(s sides) {
					for session, do := range map[*redsession.Session]func(*redsession.Session){s.shop: row.atShop, s.staff: row.atStaff} {
						if do != nil {
							do(session)
						}
					}
				})
				for name, guard := range map[string]struct {
					of func(http.Handler) http.Handler
					in bool
				}{
					"the shop's":          {st.shop.RequireLogin, row.shop},
					"staff's":             {st.staff.RequireLogin, row.staff},
					"staff's that asks":   {st.staff.RequireRecentLogin(time.Minute), row.recent},
					"staff's in the shop": {func(h http.Handler) http.Handler { return st.shop.RequireLogin(st.staff.RequireLogin(h)) }, row.shop && row.staff},
				} {
					if got := st.letsIn(guard.of); got != guard.in {
						t.Errorf("%s guard: got %t, want %t", name, got, guard.in)
					}
				}
				st.do(t, 200, func(s sides) { s.shop.Login("alice") })
				st.shopE.Advance(t, time.Hour)
				if st.letsIn(st.staff.RequireRecentLogin(time.Minute)) {
					t.Error("an hour later a customer's login lets in where staff's must be recent")
				}
			})
		})
	}
}

// letsIn tells whether a guard lets the browser in.
func (st *site) letsIn(guard func(http.Handler) http.Handler) bool {
	in := false
	st.handle = func(s sides) {
		guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { in = true })).ServeHTTP(s.w, s.r)
	}
	st.Get("/")
	return in
}

// Whatever happens to a customer's session leaves what staff has in Redis, in its cookie,
// in its handlers and in its events as it is, though both are alice's.
func TestManagersChangeTheirOwnSessionAlone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s sides) error{
		"a write":    func(s sides) error { note.Set(s.shop, "changed"); return nil },
		"an update":  func(s sides) error { note.Update(s.shop, func(old string) string { return old + "!" }); return nil },
		"a deletion": func(s sides) error { note.Delete(s.shop); return nil },
		"Clear":      func(s sides) error { s.shop.Clear(); return nil },
		"Take": func(s sides) error {
			return stage.ErrorOf(func() (string, error) { v, _, err := note.Take(s.r.Context(), s.shop); return v, err }())
		},
		"a flash":     func(s sides) error { s.shop.Flash("changed"); return nil },
		"Save":        func(s sides) error { note.Set(s.shop, "changed"); return s.shop.Save(s.r.Context()) },
		"a login":     func(s sides) error { s.shop.Login("alice"); return nil },
		"bob's login": func(s sides) error { s.shop.Login("bob"); return nil },
		"a logout":    func(s sides) error { s.shop.Logout(); return nil },
		"a new id":    func(s sides) error { s.shop.Rotate(); return nil },
		"Revoke":      func(s sides) error { return s.site.shop.Revoke(s.r.Context(), s.shop.ID()) },
		"RevokeOf": func(s sides) error {
			return stage.ErrorOf(s.site.shop.RevokeOf(s.r.Context(), "alice", s.shop.ID()))
		},
		"Revoke of staff's id": func(s sides) error { return s.site.shop.Revoke(s.r.Context(), s.staff.ID()) },
		"RevokeOf of staff's id": func(s sides) error {
			return stage.ErrorOf(s.site.shop.RevokeOf(s.r.Context(), "alice", s.staff.ID()))
		},
		"RevokeUser":   func(s sides) error { return stage.ErrorOf(s.site.shop.RevokeUser(s.r.Context(), "alice")) },
		"RevokeOthers": func(s sides) error { return stage.ErrorOf(s.site.shop.RevokeOthers(s.r.Context(), s.shop)) },
		"RevokeAll":    func(s sides) error { return stage.ErrorOf(s.site.shop.RevokeAll(s.r.Context())) },
		"an import": func(s sides) error {
			return stage.ErrorOf(s.site.shop.Import(s.r.Context(), []redsession.LegacyRecord{stage.OldSession(s.shopE, "x", "alice")}, true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEachOrder(t, func(t *testing.T, st *site) {
				var token string
				st.do(t, 200, func(s sides) {
					for _, one := range []*redsession.Session{s.shop, s.staff} {
						one.Login("alice")
						note.Set(one, "kept")
					}
					token = s.staff.CSRFToken()
				})
				before := st.under(t, "staff:")
				st.staffE.Events.Forget()
				a := st.do(t, 200, func(s sides) {
					if err := change(s); err != nil {
						t.Error(err)
					}
				})
				if after := st.under(t, "staff:"); !maps.Equal(before, after) {
					t.Errorf("got %v in Redis, want staff's part as before: %v", after, before)
				}
				if events := st.staffE.Events.All(); len(events) > 0 {
					t.Errorf("got staff's events %v, want none", events)
				}
				if set := a.Header.Values("Set-Cookie"); slices.ContainsFunc(set, func(c string) bool { return strings.HasPrefix(c, "staff-session=") }) {
					t.Errorf("got the cookies %q, want staff's left alone", set)
				}
				st.do(t, 200, func(s sides) {
					if v, _ := note.Get(s.staff); v != "kept" || s.staff.UserID() != "alice" || !s.staff.VerifyCSRF(token) || s.shop.VerifyCSRF(token) {
						t.Errorf("got %q and user %q at staff, want what alice has kept, and her token good there alone", v, s.staff.UserID())
					}
				})
			})
		})
	}
}

func TestManagersRefuseTheSessionOfAnother(t *testing.T) {
	t.Parallel()
	inEachOrder(t, func(t *testing.T, st *site) {
		for range 2 { // two devices
			st.Browser = st.Fresh()
			st.do(t, 200, func(s sides) { s.shop.Login("alice"); s.staff.Login("alice") })
		}
		st.do(t, 200, func(s sides) {
			note.Set(s.shop, "pending")
			if n, err := s.site.staff.RevokeOthers(s.r.Context(), s.shop); n != 0 || err == nil || errors.Is(err, redsession.ErrUnavailable) {
				t.Errorf("RevokeOthers of staff's with a customer's session: got %d and %v, want an error", n, err)
			}
		})
		for name, m := range map[string]*redsession.Manager{"shop": st.shop, "staff": st.staff} {
			if list, err := m.Sessions(t.Context(), "alice"); err != nil || len(list) != 2 {
				t.Errorf("%s: got %d sessions and %v, want both", name, len(list), err)
			}
		}
	})
}

func TestManagersFindTheirOwnSession(t *testing.T) {
	t.Parallel()
	inEachOrder(t, func(t *testing.T, st *site) {
		st.do(t, 200, func(s sides) { s.shop.Login("customer"); s.staff.Login("employee") })
		st.do(t, 200, func(s sides) {
			ctx := context.WithoutCancel(s.r.Context())
			at, ok := st.shop.Lookup(ctx)
			if !ok || at != s.shop || st.staff.FromContext(ctx) != s.staff || s.shop.UserID() != "customer" || s.staff.UserID() != "employee" {
				t.Errorf("got the users %q and %q, want each Manager's own session", s.shop.UserID(), s.staff.UserID())
			}
		})
		third := st.shopE.Manager(t)
		st.do(t, 200, func(s sides) {
			if _, ok := third.Lookup(s.r.Context()); ok {
				t.Error("a Manager that is not in the chain found a session")
			}
			for name, use := range map[string]func(){
				"FromContext":  func() { third.FromContext(s.r.Context()) },
				"RequireLogin": func() { third.RequireLogin(http.NotFoundHandler()).ServeHTTP(s.w, s.r) },
			} {
				func() {
					defer func() {
						if p := recover(); !strings.Contains(fmt.Sprint(p), "wrap the handler with Manager.Handler") {
							t.Errorf("%s: got the panic %v, want one that says what is missing", name, p)
						}
					}()
					use()
				}()
			}
		})
	})
}
