package users_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func limit(n int) func(*redsession.Config) {
	return func(c *redsession.Config) { c.MaxPerUser, c.RefuseAtLimit = n, true }
}

// places are pages that make room for a login that was refused.
func places(m *redsession.Manager) stage.Handlers {
	type (
		W = http.ResponseWriter
		R = *http.Request
		S = *redsession.Session
	)
	oldest := func(r R, s S) string {
		infos, err := m.Sessions(r.Context(), s.PendingUserID())
		if err != nil || len(infos) == 0 {
			return ""
		}
		return infos[len(infos)-1].ID
	}
	return stage.Handlers{
		"/what": func(w W, _ R, s S) { fmt.Fprintf(w, "%q %q %v", s.UserID(), s.PendingUserID(), s.AtLimit()) },
		"/replace": func(w W, r R, s S) {
			ok, err := m.RevokeOf(r.Context(), s.PendingUserID(), oldest(r, s))
			s.Promote()
			fmt.Fprint(w, ok, err)
		},
		"/all": func(w W, r R, s S) {
			n, err := m.RevokeUser(r.Context(), s.PendingUserID())
			s.Promote()
			fmt.Fprint(w, n, err)
		},
		"/save": func(w W, r R, s S) {
			s.Login("alice")
			err := s.Save(r.Context())
			fmt.Fprintf(w, "%q %q %v %v", s.UserID(), s.PendingUserID(), s.AtLimit(), err)
		},
		"/factors":   func(_ W, _ R, s S) { s.Login("alice", redsession.Pending(), redsession.Proved(1, "pwd")) },
		"/code":      func(_ W, _ R, s S) { s.Promote(redsession.Proved(2, "otp")) },
		"/level":     func(w W, _ R, s S) { fmt.Fprint(w, s.Level(), s.Methods()) },
		"/by":        func(_ W, _ R, s S) { s.Login("alice", redsession.By(s.UserID())) },
		"/remember":  func(_ W, _ R, s S) { s.Login("alice", redsession.RememberFor(240*time.Hour)) },
		"/set-login": func(_ W, _ R, s S) { stage.LifeNote.Set(s, "kept"); s.Login("alice") },
	}
}

func logins(t *testing.T, e *stage.Env, b *stage.Browser, n int) []*stage.Browser {
	t.Helper()
	browsers := make([]*stage.Browser, n)
	for i := range n {
		browsers[i] = b.Fresh()
		if a := browsers[i].Get("/login?user=alice"); a.StatusCode != http.StatusOK {
			t.Errorf("login %d of %d: got %d, want 200", i+1, n, a.StatusCode)
		}
		e.Advance(t, time.Second)
	}
	return browsers
}

// alives tells which of browsers are logged in, as "101".
func alives(browsers []*stage.Browser) string {
	var s strings.Builder
	for _, b := range browsers {
		s.WriteString(map[bool]string{true: "1", false: "0"}[b.Get("/who").Text != ""])
	}
	return s.String()
}

func TestRefuseAtLimitHoldsForParallelLogins(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for name, maker := range e.BothWays() {
			prefix := func(c *redsession.Config) { c.Prefix = "session:" + strings.ReplaceAll(name, " ", "-") + ":" }
			servers := []*stage.Browser{stage.LifeBrowser(t, maker(t, limit(3), prefix), nil), stage.LifeBrowser(t, maker(t, limit(3), prefix), nil)}
			var refused atomic.Int64
			bs := stage.AtOnce(20, func(i int) *stage.Browser {
				b := servers[i%2].Fresh()
				switch a := b.Get("/login?user=alice"); a.StatusCode {
				case http.StatusOK:
				case http.StatusConflict:
					refused.Add(1)
				default:
					t.Errorf("%s: got %d, want 200 or 409", name, a.StatusCode)
				}
				return b
			})
			if got := strings.Count(alives(bs), "1"); got != 3 || refused.Load() != 17 {
				t.Errorf("%s: got %d cookies alive and %d logins refused, want 3 and 17", name, got, refused.Load())
			}
		}
	})
}

func TestRefuseAtLimitCountsWhatLives(t *testing.T) {
	t.Parallel()
	type B = *stage.Browser
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, e *stage.Env, b B, bs []B)
		path string // of the login
		want string // status, and which of the three logins before and the new one live
	}{
		{"a login too many is refused", nil, "/login?user=alice", "409 1110"},
		{"another user's is not", nil, "/login?user=bob", "200 1111"},
		{"half of one is not", nil, "/half?user=alice", "200 1110"},
		{"a second half is", func(_ *testing.T, _ *stage.Env, b B, _ []B) { b.Get("/half?user=alice") }, "/second", "409 1110"},
		{"a logout makes room", func(_ *testing.T, _ *stage.Env, _ B, bs []B) { bs[1].Get("/logout") }, "/login?user=alice", "200 1011"},
		{"a session that Redis lost makes room", func(t *testing.T, e *stage.Env, _ B, bs []B) {
			e.Client.Del(t.Context(), "session:"+bs[2].State().ID)
		}, "/login?user=alice", "200 1101"},
		{"rotated ones count", func(_ *testing.T, _ *stage.Env, _ B, bs []B) { bs[0].Get("/rotate"); bs[1].Get("/rotate") }, "/login?user=alice", "409 1110"},
		{"one that has the entry of its old id as well counts once", func(t *testing.T, e *stage.Env, _ B, bs []B) {
			bs[2].Get("/logout")
			old := bs[0].State()
			bs[0].Get("/rotate")
			stage.Until(t, "the entry to be moved", func() bool { return e.Client.ZScore(t.Context(), e.Index(t), old.ID).Err() != nil })
			e.Client.ZAdd(t.Context(), e.Index(t), redis.Z{Score: float64(old.Auth.UnixMicro()), Member: old.ID})
		}, "/login?user=alice", "200 1101"},
		{"entries that are no ids, and those of nobody, count for nothing", func(t *testing.T, e *stage.Env, _ B, bs []B) {
			bs[2].Get("/logout")
			for i := range 300 {
				e.Client.ZAdd(t.Context(), e.Index(t), redis.Z{Score: float64(i), Member: fmt.Sprintf("%032d", i)}, redis.Z{Score: float64(i), Member: fmt.Sprint("planted", i)})
			}
		}, "/login?user=alice", "200 1101"},
		{"who acts as the user takes no place", func(_ *testing.T, _ *stage.Env, b B, bs []B) {
			bs[2].Get("/logout")
			for range 2 {
				b.Fresh().Play(nil, "/login?user=support", "/by")
			}
		}, "/login?user=alice", "200 1101"},
		{"and is refused none", func(_ *testing.T, _ *stage.Env, b B, _ []B) { b.Get("/login?user=support") }, "/by", "200 1111"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				m := e.Manager(t, limit(3))
				b := stage.LifeBrowser(t, m, places(m))
				bs := logins(t, e, b, 3)
				if tt.do != nil {
					tt.do(t, e, b, bs)
				}
				a := b.Get(tt.path)
				if got := fmt.Sprint(a.StatusCode, " ", alives(append(bs, b))); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if n := len(a.SetCookies()); n != 1 {
					t.Errorf("got %d cookies with the answer, want one", n)
				}
			})
		})
	}
}

func TestRefuseAtLimitLetsABrowserTakeItsOwnPlace(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for name, maker := range e.BothWays() {
			m := maker(t, limit(3), func(c *redsession.Config) { c.Prefix = "session:" + strings.ReplaceAll(name, " ", "-") + ":" })
			b := stage.LifeBrowser(t, m, places(m))
			bs := logins(t, e, b, 3)
			for _, steps := range [][]string{{"/login?user=alice"}, {"/rotate", "/login?user=alice"}, {"/half?user=alice", "/second"}, {"/remember"}} {
				if a := bs[1].Play(e, steps...); a.StatusCode != http.StatusOK || alives(bs) != "111" {
					t.Errorf("%s, %v: got %d and %s alive, want 200 and all three", name, steps, a.StatusCode, alives(bs))
				}
			}
			late := bs[1].Cookie() // a request with the id from before the rotation
			bs[1].Get("/rotate")
			if a := bs[1].With(late).Get("/login?user=alice"); a.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d for a login by the rotated id, want 200", name, a.StatusCode)
			}
		}
	})
}

func TestRefuseAtLimitKeepsTheLoginHalfOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		steps []string
		want  string // of the last answer
		alive string // of the three logins before and the new one
	}{
		{"which lacks a place alone", []string{"/login?user=alice", "/what"}, `"" "alice" true`, "1110"},
		{"while half a login lacks more", []string{"/half?user=alice", "/what"}, `"" "alice" false`, "1110"},
		{"and an anonymous session nothing", []string{"/set?v=1", "/what"}, `"" "" false`, "1110"},
		{"Save says so too", []string{"/save"}, `"" "alice" true redsession: committing login: too many sessions of the user`, "1110"},
		{"with what the session held", []string{"/set-login", "/state"}, `"Note":"kept"`, "1110"},
		{"promoting it in vain leaves it", []string{"/login?user=alice", "/second", "/second", "/what"}, `"" "alice" true`, "1110"},
		{"one is ended in its place", []string{"/login?user=alice", "/replace"}, "true <nil>", "0111"},
		{"all are ended in its place", []string{"/login?user=alice", "/all"}, "3 <nil>", "0001"},
		{"a second factor is not asked for again", []string{"/factors", "/code", "/replace", "/level"}, "2 [pwd otp]", "0111"},
		{"it ends after ten minutes", []string{"/login?user=alice", "+10m", "/what"}, `"" "" false`, "1110"},
		{"which promoting in vain does not prolong", []string{"/login?user=alice", "+6m", "/second", "+5m", "/what"}, `"" "" false`, "1110"},
		{"nor a long login", []string{"/remember", "+10m", "/what"}, `"" "" false`, "1110"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				m := e.Manager(t, limit(3))
				b := stage.LifeBrowser(t, m, places(m))
				bs := logins(t, e, b, 3)
				if a := b.Play(e, tt.steps...); !strings.Contains(a.Text, tt.want) {
					t.Errorf("got %d %q, want %q", a.StatusCode, a.Text, tt.want)
				}
				if got := alives(append(bs, b)); got != tt.alive {
					t.Errorf("got %s alive, want %s", got, tt.alive)
				}
			})
		})
	}
}

// Whoever was revoked by somebody else must not come in by a login that waits for a place.
func TestRefuseAtLimitDoesNotOutliveARevocation(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, limit(1))
	b := stage.LifeBrowser(t, m, nil)
	logins(t, e, b, 1)
	b.Get("/login?user=alice")
	e.Advance(t, time.Second)
	if _, err := m.RevokeUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if a := b.Get("/second"); a.StatusCode != http.StatusConflict || b.State().User != "" {
		t.Errorf("got %d, user %q, want 409 and nobody", a.StatusCode, b.State().User)
	}
}

func TestRefuseAtLimitDoesNotCountWhatALostReplyLeft(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for name, maker := range e.BothWays() {
			for _, before := range []string{"", "/set?v=1", "/half?user=alice"} {
				m, p := e.BehindBy(t, maker, limit(3), func(c *redsession.Config) { c.Prefix = strings.ReplaceAll(name+before, " ", "-") + ":" })
				b := stage.LifeBrowser(t, m, nil)
				bs := logins(t, e, b, 2)
				last, path := b.Fresh(), "/login?user=alice"
				if before != "" {
					last.Get(before)
				}
				if strings.HasPrefix(before, "/half") {
					path = "/second"
				}
				var cut atomic.Int64
				p.CutReply(stage.AtMost(1, &cut, stage.EntersIndex))
				if a := last.Get(path); a.StatusCode != http.StatusOK || cut.Load() == 0 {
					t.Errorf("%s after %q: got %d after %d cuts, want 200 after one", name, before, a.StatusCode, cut.Load())
				}
				if got := alives(append(bs, last)); got != "111" {
					t.Errorf("%s after %q: got %s alive, want all three", name, before, got)
				}
			}
		}
	})
}

func TestRefuseAtLimitLetsTheErrorHandlerShowTheSessions(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	var m *redsession.Manager
	m = e.Manager(t, limit(1), func(c *redsession.Config) {
		c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			s := m.FromContext(r.Context())
			infos, listing := m.Sessions(r.Context(), s.PendingUserID())
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, len(infos), listing, s.AtLimit())
		}
	})
	b := stage.LifeBrowser(t, m, places(m))
	bs := logins(t, e, b, 1)
	if a := b.Get("/login?user=alice"); a.Text != "1 <nil> true" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %q, Cache-Control %q, want one session, and no-store", a.Text, a.Header.Get("Cache-Control"))
	}
	b.Get("/replace")
	if got := alives(append(bs, b)); got != "01" {
		t.Errorf("got %s alive, want the new one", got)
	}
}

func TestRefuseAtLimitNeedsALimit(t *testing.T) {
	t.Parallel()
	err := stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, RefuseAtLimit: true})
	stage.WantError(t, err, "Config.RefuseAtLimit needs MaxPerUser")
}
