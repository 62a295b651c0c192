package managers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// One response carries the cookies of both. When one of them fails, what the other has
// committed by then must reach the browser: a login that Redis has must not be lost.
func TestManagersKeepTheCookiesOfWhatTheOtherCommitted(t *testing.T) {
	t.Parallel()
	tooLarge := func(s sides) { note.Set(s.staff, strings.Repeat("x", 1<<17)) }
	gone := func(s sides) {
		note.Set(s.staff, "x")
		if err := s.site.staff.Revoke(s.r.Context(), s.staff.ID()); err != nil {
			t.Error(err)
		}
	}
	for _, row := range []struct {
		name   string
		shop   func(s sides)
		staff  func(s sides)
		status int
		user   string // at the shop afterwards
		sets   bool   // the shop's cookie
	}{
		{"a login, and staff's values are too large", func(s sides) { s.shop.Login("bob") }, tooLarge, 500, "bob", true},
		{"a login that was saved, and staff's session is gone", func(s sides) { s.shop.Login("bob"); _ = s.shop.Save(s.r.Context()) }, gone, 409, "bob", true},
		{"a logout, and staff's session is gone", func(s sides) { s.shop.Logout() }, gone, 409, "", true},
		{"a new id, and staff's values are too large", func(s sides) { s.shop.Rotate() }, tooLarge, 500, "alice", true},
		{"a write, and staff's session is gone", func(s sides) { note.Set(s.shop, "x") }, gone, 409, "alice", false},
		{"nothing, and staff's values are too large", func(sides) {}, tooLarge, 500, "alice", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			inEachOrder(t, func(t *testing.T, st *site) {
				st.do(t, 200, func(s sides) { s.shop.Login("alice"); s.staff.Login("alice") })
				a := st.do(t, row.status, func(s sides) { row.shop(s); row.staff(s) })
				set := slices.ContainsFunc(a.Header.Values("Set-Cookie"), func(c string) bool { return strings.HasPrefix(c, "shop-session=") })
				if set != row.sets || set && a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("got the shop's cookie: %t, with Cache-Control %q, want %t", set, a.Header.Get("Cache-Control"), row.sets)
				}
				st.do(t, 200, func(s sides) {
					if got := s.shop.UserID(); got != row.user {
						t.Errorf("got %q at the shop afterwards, want %q", got, row.user)
					}
				})
			})
		})
	}
}

// A third Manager between, or around, makes no difference.
func TestManagersKeepTheCookiesOfThoseFurtherIn(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	named := func(name string) *redsession.Manager {
		return e.Manager(t, func(c *redsession.Config) { c.Prefix, c.Cookie.Name = name+":", name })
	}
	first, second, third := named("first"), named("second"), named("third")
	h := first.Handler(second.Handler(third.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		third.FromContext(r.Context()).Login("alice")
		second.FromContext(r.Context()).Login("bob")
		note.Set(first.FromContext(r.Context()), strings.Repeat("x", 1<<17))
	}))))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	var names []string
	for _, c := range w.Result().Cookies() {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if w.Code != 500 || !slices.Equal(names, []string{"second", "third"}) {
		t.Errorf("got status %d and the cookies %v, want 500 and those of the second and the third", w.Code, names)
	}
}

// Staff's Redis is away: the shop, which has another, does not notice.
func TestManagersWaitForTheirOwnRedisAlone(t *testing.T) {
	t.Parallel()
	e, other := stage.NewMini(t), stage.NewMini(t)
	shop := e.Manager(t, func(c *redsession.Config) { c.Cookie.Name = "shop" })
	staff, p := other.Behind(t, func(c *redsession.Config) { c.Cookie.Name, c.OutageWait = "staff", time.Minute })
	for name, h := range map[string]func(http.Handler) http.Handler{
		"staff outside": func(h http.Handler) http.Handler { return staff.Handler(shop.Handler(h)) },
		"shop outside":  func(h http.Handler) http.Handler { return shop.Handler(staff.Handler(h)) },
	} {
		t.Run(name, func(t *testing.T) {
			p.Refuse(true)
			defer p.Refuse(false)
			w := httptest.NewRecorder()
			h(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				s := shop.FromContext(r.Context())
				s.Login("alice, " + name)
				if err := s.Save(r.Context()); err != nil {
					t.Error(err)
				}
				if n, err := shop.RevokeOthers(r.Context(), s); err != nil {
					t.Errorf("got %d and %v from the shop's RevokeOthers", n, err)
				}
			})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "shop=") {
				t.Errorf("got %d and the cookie %q, want 200 and the shop's", w.Code, w.Header().Get("Set-Cookie"))
			}
		})
	}
}

// An old store of staff's that ends customers' sessions on the way: these events are the
// shop's.
func TestManagersTellTheirOwnEventsAlone(t *testing.T) {
	t.Parallel()
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var st *site
			st = newSite(t, order, nil, func(c *redsession.Config) {
				c.Adopt = []redsession.Legacy{{Source: "old", Cookie: "oldsid", Load: func(ctx context.Context, _ string) (*redsession.LegacyRecord, error) {
					return nil, stage.ErrorOf(st.shop.RevokeUser(ctx, "alice"))
				}}}
			})
			st.do(t, 200, func(s sides) { s.shop.Login("alice") })
			old := st.Fresh()
			u, _ := http.NewRequest(http.MethodGet, st.Base, nil)
			old.HTTP.Jar.SetCookies(u.URL, []*http.Cookie{{Name: "oldsid", Value: "legacy"}})
			st.Browser = old
			st.do(t, 200, func(sides) {})
			if got := st.shopE.Events.Of(redsession.EventRevoked); len(got) != 1 || got[0].UserID != "alice" {
				t.Errorf("got the shop's events %v, want one that alice's session was revoked", got)
			}
			if got, n := st.staffE.Events.Of(redsession.EventRevoked), st.staff.Stats().Revoked; len(got) > 0 || n > 0 {
				t.Errorf("got %v and a count of %d from staff, want nothing of the shop's customers", got, n)
			}
		})
	}
}

// A cookie of one under the name of the other's, which the same secret signed, is no session.
func TestManagersTakeNoCookieForTheOthers(t *testing.T) {
	t.Parallel()
	inEachOrder(t, func(t *testing.T, st *site) {
		a := st.do(t, 200, func(s sides) { s.shop.Login("alice") })
		for _, c := range a.Cookies() {
			if c.Name == "shop-session" {
				st.Browser = st.Fresh()
				u, _ := http.NewRequest(http.MethodGet, st.Base, nil)
				st.HTTP.Jar.SetCookies(u.URL, []*http.Cookie{{Name: "staff-session", Value: c.Value}})
			}
		}
		st.do(t, 200, func(s sides) {
			if s.staff.UserID() != "" || s.shop.UserID() != "" {
				t.Errorf("got the users %q and %q, want nobody", s.staff.UserID(), s.shop.UserID())
			}
			note.Set(s.staff, "x")
		})
		if n := len(st.staffE.Events.Of(redsession.EventRefused)); n != 1 {
			t.Errorf("got %d refusals, want one", n)
		}
	})
}

func TestManagersEndTheirOwnStreamsAlone(t *testing.T) {
	t.Parallel()
	inEachOrder(t, func(t *testing.T, st *site) {
		st.do(t, 200, func(s sides) { s.shop.Login("alice"); s.staff.Login("alice") })
		st.do(t, 200, func(s sides) {
			shop, staff := s.shop.Context(), s.staff.Context()
			if _, err := st.shop.RevokeUser(s.r.Context(), "alice"); err != nil {
				t.Error(err)
			}
			if shop.Err() == nil || staff.Err() != nil {
				t.Errorf("got %v for the shop's stream and %v for staff's, want the first alone ended", shop.Err(), staff.Err())
			}
		})
	})
}

// Whoever forgets to name the cookies apart is told, once: without a word each Manager would
// have browsers forget the other's sessions.
func TestManagersWithOneCookieNameAreToldApart(t *testing.T) {
	t.Parallel()
	const told = "a cookie, or header, of the same name"
	for _, row := range []struct {
		name        string
		shop, staff func(*redsession.Config)
		warns       bool
	}{
		{"each has its own", nil, nil, false},
		{"the same name", named("session"), named("session"), true},
		{"the same name with another path", named("session"), func(c *redsession.Config) { c.Cookie.Name, c.Cookie.Path = "session", "/staff" }, true},
		{"the same header", headed("X-Session"), headed("x-session"), true},
		{"a header of its own each", headed("X-Session"), headed("X-Staff"), false},
	} {
		for order, wrap := range orders {
			t.Run(row.name+", "+order, func(t *testing.T) {
				t.Parallel()
				st := newSite(t, wrap, row.shop, row.staff)
				for range 3 {
					st.do(t, 200, func(sides) {})
				}
				if got := strings.Count(st.shopE.Events.Log()+st.staffE.Events.Log(), told); (got == 1) != row.warns || got > 1 {
					t.Errorf("got %d warnings, want one: %t", got, row.warns)
				}
			})
		}
	}
}

func named(cookie string) func(*redsession.Config) {
	return func(c *redsession.Config) { c.Cookie.Name = cookie }
}

func headed(header string) func(*redsession.Config) {
	return func(c *redsession.Config) { c.Header = header }
}
