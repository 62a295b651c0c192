package guards_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestGuards(t *testing.T) {
	t.Parallel()
	elsewhere := http.RedirectHandler("/login", http.StatusSeeOther)
	for _, tt := range []struct {
		name           string
		steps          []string
		account, money bool
	}{
		{"nobody", nil, false, false},
		{"an anonymous session", []string{"/set?v=1"}, false, false},
		{"a half-open login", []string{"/half?user=alice"}, false, false},
		{"a completed login", []string{"/half?user=alice", "/second"}, true, true},
		{"a login almost ten minutes ago", []string{"/login?user=alice", "+9m59s"}, true, true},
		{"a login longer ago", []string{"/login?user=alice", "+10m1s"}, true, false},
		{"an old login under a new id", []string{"/login?user=alice", "+11m", "/rotate"}, true, false},
		{"an old login that was repeated", []string{"/login?user=alice", "+11m", "/login?user=alice"}, true, true},
		{"after logout", []string{"/login?user=alice", "/logout"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := stage.NewMini(t)
			plain := e.Manager(t)
			custom := e.Manager(t, func(c *redsession.Config) { c.Unauthorized = elsewhere })
			b, redirected := stage.LifeBrowser(t, plain, stage.GuardedHandlers(plain)), stage.LifeBrowser(t, custom, stage.GuardedHandlers(custom))
			b.Play(e, tt.steps...)
			redirected = redirected.With(b.Cookie())
			for path, in := range map[string]bool{"/account": tt.account, "/money": tt.money} {
				want := map[*stage.Browser]int{b: http.StatusUnauthorized, redirected: http.StatusSeeOther}
				for at, status := range want {
					if in {
						status = http.StatusOK
					}
					if a := at.Get(path); a.StatusCode != status || (a.Text == "come in") != in {
						t.Errorf("%s: got %d %q, want %d", path, a.StatusCode, a.Text, status)
					}
				}
			}
		})
	}
}

func TestGuardsRefuseNonsense(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	for name, f := range map[string]func(){
		"RememberFor under a second":            func() { redsession.RememberFor(time.Second - 1) },
		"RememberFor of a negative duration":    func() { redsession.RememberFor(-time.Hour) },
		"RequireRecentLogin of zero":            func() { m.RequireRecentLogin(0) },
		"RequireRecentLogin of a negative time": func() { m.RequireRecentLogin(-1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic, want one", name)
				}
			}()
			f()
		}()
	}
}

func TestGuardsStolenPasswordAloneIsNoLogin(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b := stage.LifeBrowser(t, m, stage.OthersHandlers(t, m))
		victim := b.Fresh()
		victim.Get("/login?user=alice")
		b.Play(e, "/set?v=kept", "/half?user=alice")
		half, cookie := b.State(), b.Cookie()
		if half.User != "" || half.Pending != "alice" || half.Note != "kept" {
			t.Errorf("got %+v, want alice pending and nobody logged in", half)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); len(infos) != 1 || err != nil {
			t.Errorf("got %d sessions, %v, want the half-open one left out", len(infos), err)
		}
		if got := b.Get("/others").Text; got != "0" || victim.Get("/who").Text != "alice" {
			t.Errorf("got %s of the user's sessions ended by a half-open login, want 0", got)
		}
		b.Play(e, "+5m", "/who", "+4m59s", "/second")
		whole := b.State()
		if whole.User != "alice" || whole.Pending != "" || whole.Note != "kept" || whole.ID == half.ID || !whole.Auth.After(half.Auth) {
			t.Errorf("got %+v after Promote, want alice logged in under another id", whole)
		}
		if st := b.With(cookie).State(); st.User != "" || st.Pending != "" || st.Note != "" {
			t.Errorf("got %+v with the half-open cookie, want nothing", st)
		}
		if a := b.Get("/second"); a.StatusCode != http.StatusInternalServerError || b.Get("/who").Text != "alice" {
			t.Errorf("got %d for a Promote without a pending login, want 500 and the login unharmed", a.StatusCode)
		}
		late := b.Fresh()
		late.Play(e, "/half?user=alice", "+5m", "/who", "+5m")
		if a := late.Get("/second"); a.StatusCode != http.StatusInternalServerError || late.State().Pending != "" {
			t.Errorf("got %d for a second factor after 10 minutes, want 500 and no session", a.StatusCode)
		}
	})
}
