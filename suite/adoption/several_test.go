package adoption_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// setCookies puts cookies into the browser's jar.
func setCookies(st *stage.Scripted, nameAndValue ...string) *stage.Scripted {
	u, _ := url.Parse(st.Base)
	for pair := range slices.Chunk(nameAndValue, 2) {
		st.HTTP.Jar.SetCookies(u, []*http.Cookie{{Name: pair[0], Value: pair[1], Path: "/"}})
	}
	return st
}

// holds tells whether the browser still has a cookie of this name.
func holds(st *stage.Scripted, name string) bool {
	u, _ := url.Parse(st.Base)
	return slices.ContainsFunc(st.HTTP.Jar.Cookies(u), func(c *http.Cookie) bool { return c.Name == name })
}

// shelf is an old store of its own kind with one session, behind a cookie of its name.
func shelf(e *stage.Env, name, user string, values map[string]any) (*stage.OldStore, redsession.Legacy) {
	o := &stage.OldStore{}
	lr := stage.OldSession(e, name+"-id", user)
	lr.Source, lr.Values = name, values
	o.Put(lr)
	l := o.Legacy()
	l.Source, l.Cookie = name, name
	return o, l
}

func TestAdoptionOfSeveralOldCookiesMakesOneSession(t *testing.T) {
	t.Parallel()
	cart := map[string]any{"cart": []string{"tea"}, "theme": "dark"}
	login := map[string]any{"n": 7, "theme": "light"}
	for _, row := range []struct {
		name                  string
		first, second         string // users of the first and second of Config.Adopt
		firstVals, secondVals map[string]any
		want                  string
		bothGo                bool
	}{
		{"the cart first: the login wins, and its values before the cart's", "", "alice", cart, login, `alice cart=["tea"] n=7 theme="light"`, true},
		{"the login first", "alice", "", login, cart, `alice cart=["tea"] n=7 theme="light"`, true},
		{"two logins of one user: the first of Config.Adopt wins", "alice", "alice", login, cart, `alice cart=["tea"] n=7 theme="light"`, true},
		{"two carts of nobody", "", "", cart, login, `cart=["tea"] n=7 theme="dark"`, true},
		{"logins of two users: nothing of the second comes along", "alice", "bob", cart, login, `alice cart=["tea"] theme="dark"`, false},
	} {
		for _, imported := range []bool{false, true} {
			t.Run(row.name+map[bool]string{true: ", imported"}[imported], func(t *testing.T) {
				t.Parallel()
				stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
					one, first := shelf(e, "one", row.first, row.firstVals)
					two, second := shelf(e, "two", row.second, row.secondVals)
					m := e.Manager(t, stage.Adopting(first, second))
					if imported {
						for _, o := range []*stage.OldStore{one, two} {
							for _, id := range []string{"one-id", "two-id"} {
								if lr, _ := o.Load(t.Context(), id); lr != nil {
									if _, err := m.Import(t.Context(), []redsession.LegacyRecord{*lr}, false); err != nil {
										t.Fatal(err)
									}
								}
							}
						}
					}
					st := stage.NewScripted(t, m)
					b := setCookies(st.Fork(""), "one", "one-id", "two", "two-id")
					want := strings.ReplaceAll(strings.ReplaceAll(row.want, `["`, `[`), `"]`, `]`)
					want = strings.ReplaceAll(want, `"`, "")
					for range 2 {
						if a := b.Must(); a.Text != want {
							t.Errorf("got %q, want %q", a.Text, want)
						}
					}
					if holds(b, "one") || holds(b, "two") == row.bothGo || one.Has("one-id") || two.Has("two-id") == row.bothGo {
						t.Errorf("got the cookies %t and %t, and the sessions %t and %t; want those that came along to be gone", holds(b, "one"), holds(b, "two"), one.Has("one-id"), two.Has("two-id"))
					}
					if along := map[bool]string{true: "one", false: "two"}[row.first == "" && row.second != ""]; row.bothGo {
						stale := setCookies(st.Fork(""), along, along+"-id")
						if got := stale.Must().Text; got != "" {
							t.Errorf("what came along, by itself: got %q, want nobody", got)
						}
					}
					if b.Must("logout"); holds(b, "two") || two.Has("two-id") {
						t.Error("after the logout: an old cookie or session is still there")
					}
					if got := setCookies(b, "one", "one-id", "two", "two-id").Must().Text; got != "" {
						t.Errorf("old cookies after the logout: got %q, want nobody", got)
					}
				})
			})
		}
	}
}

func TestAdoptionOfSeveralByParallelRequestsMakesOneSession(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		_, cart := shelf(e, "cart", "", map[string]any{"cart": []string{"tea"}})
		_, login := shelf(e, "login", "alice", nil)
		m := e.Manager(t, stage.Patient, stage.Adopting(cart, login))
		st := stage.NewScripted(t, m)
		stage.Parallel(12, func(int) {
			if a := setCookies(st.Fork(""), "cart", "cart-id", "login", "login-id").Do("add:n"); a.StatusCode != 200 || !strings.HasPrefix(a.Text, "alice cart=[tea] n=") {
				t.Errorf("got %d %q, want alice and her cart", a.StatusCode, a.Text)
			}
		})
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || e.Living(t) != 1 {
			t.Errorf("got %d sessions (%v) and %d records, want 1", len(infos), err, e.Living(t))
		}
	})
}

func TestAdoptionOfSeveralKeepsWithinTheLimit(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		_, cart := shelf(e, "cart", "", map[string]any{"big": strings.Repeat("x", 900)})
		_, login := shelf(e, "login", "alice", map[string]any{"large": strings.Repeat("y", 900)})
		m := e.Manager(t, stage.Adopting(cart, login), func(c *redsession.Config) { c.MaxBytes = 1500 })
		a := setCookies(stage.NewScripted(t, m).Fork(""), "cart", "cart-id", "login", "login-id").Must()
		if !strings.HasPrefix(a.Text, "alice large=") || strings.Contains(a.Text, "big") {
			t.Errorf("got %.40q, want alice without what there is no room for", a.Text)
		}
		if got := e.Events.Log(); !strings.Contains(got, "no room for the values of another old session") {
			t.Errorf("got the log\n%s\nwant it to tell", got)
		}
	})
}

// Junk costs two looks at Redis, however much of it comes: before and after the old stores are asked.
func TestAdoptionOfJunkTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		_, cart := shelf(e, "cart", "", nil)
		_, login := shelf(e, "login", "alice", nil)
		m, c := e.Counted(t, stage.Adopting(cart, login))
		st := setCookies(stage.NewScripted(t, m).Fork(""), "cart", "x1", "login", "x2")
		c.Take()
		st.Must()
		if got := c.Take(); got != "GET PTTL GET PTTL GET PTTL GET PTTL in 2" {
			t.Errorf("got %s, want the two keys twice, in 2", got)
		}
	})
}

func TestAdoptionSideBySideOfSeveral(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		carts, cart := shelf(e, "cart", "", map[string]any{"cart": []string{"tea"}})
		logins, login := shelf(e, "login", "alice", nil)
		cart.SideBySide, login.SideBySide = true, true
		m, c := e.Counted(t, stage.Adopting(cart, login))
		st := setCookies(stage.NewScripted(t, m).Fork(""), "cart", "cart-id", "login", "login-id")
		for range 2 {
			if a := st.Must(); a.Text != "alice cart=[tea]" {
				t.Errorf("got %q, want alice and her cart", a.Text)
			}
		}
		c.Take()
		st.Must()
		if got := c.Take(); got != "GET EXPIRE in 1" || !holds(st, "cart") || !holds(st, "login") || !carts.Has("cart-id") || !logins.Has("login-id") {
			t.Errorf("got %s and old cookies or sessions gone, want a hit at the usual price, and all in place", got)
		}
		if st.Must("logout"); holds(st, "cart") || holds(st, "login") || carts.Has("cart-id") || logins.Has("login-id") {
			t.Error("after the logout: old cookies or sessions are still there")
		}
	})
}

func TestAdoptionIsALineInTheLog(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		_, l := shelf(e, "old", "alice", nil)
		st := setCookies(stage.NewScripted(t, e.Manager(t, stage.Adopting(l))).Fork(""), "old", "old-id")
		st.Must()
		list := e.Events.Of(redsession.EventImported)
		if len(list) != 1 || list[0].UserID != "alice" || list[0].Reason != "by its old cookie, of old" {
			t.Errorf("got the events %+v, want one", list)
		}
		if got := e.Events.Log(); strings.Count(got, "session imported") != 1 || strings.Contains(got, "old-id") {
			t.Errorf("got the log\n%s\nwant one line, and no id of the old package", got)
		}
	})
}

// Where the old package's cookie has our name, what it wrote is not taken for a forgery.
func TestAdoptionUnderOneNameTellsOldCookiesFromForgedOnes(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		_, l := shelf(e, "old", "alice", nil)
		l.Verify = func(v string) (string, error) {
			if v != "old-id" {
				return "", http.ErrNoCookie
			}
			return v, nil
		}
		m := e.Manager(t, func(c *redsession.Config) {
			c.Cookie.Name, l.Cookie = "sid", "sid"
			c.Adopt = []redsession.Legacy{l}
		})
		st := stage.NewScripted(t, m)
		name := l.Cookie
		b := setCookies(st.Fork(""), name, "old-id")
		if got := b.Must().Text; got != "alice" {
			t.Fatalf("got %q, want alice", got)
		}
		b.Must("logout")
		e.Events.Forget()
		a := setCookies(st.Fork(""), name, "old-id").Must()
		if a.Text != "" || len(e.Events.Of(redsession.EventRefused)) != 0 || len(e.Events.Of(redsession.EventExpired)) != 1 || len(a.Cookies()) != 1 {
			t.Errorf("the old cookie after the logout: got %q, %d refused and cookies %v, want one that has ended, and the cookie to go", a.Text, len(e.Events.Of(redsession.EventRefused)), a.Cookies())
		}
		setCookies(st.Fork(""), name, "forged").Must()
		if got := len(e.Events.Of(redsession.EventRefused)); got != 1 {
			t.Errorf("a forged one: got %d refused, want 1", got)
		}
	})
}
