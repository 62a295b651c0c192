package adoption_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

const insideAge = 30 * 24 * time.Hour

// written is a session inside a cookie.
type written struct {
	User   string
	Values map[string]any
	At     int64 // Unix seconds, as gorilla has it
}

// write returns the value of the cookie that the old package sends at that moment.
func write(user string, at time.Time, values map[string]any) string {
	raw, err := json.Marshal(written{user, values, at.Unix()})
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// inside takes sessions from inside the cookie oldsid.
func inside() redsession.Legacy {
	return redsession.Legacy{Source: "old", Cookie: "oldsid", MaxAge: insideAge, Decode: func(value string) (*redsession.LegacyRecord, error) {
		raw, err := base64.RawURLEncoding.DecodeString(value)
		var w written
		if err != nil || json.Unmarshal(raw, &w) != nil {
			return nil, errors.New("forged")
		}
		at := time.Unix(w.At, 0)
		return &redsession.LegacyRecord{UserID: w.User, Values: w.Values, CreatedAt: at, ExpiresAt: at.Add(insideAge)}, nil
	}}
}

func TestInsideCookieMistakesInConfigAreRefused(t *testing.T) {
	t.Parallel()
	old := &stage.OldStore{}
	for _, row := range []struct {
		name   string
		change func(*redsession.Legacy)
		want   string
	}{
		{"no MaxAge", func(l *redsession.Legacy) { l.MaxAge = 0 }, "MaxAge"},
		{"Load as well", func(l *redsession.Legacy) { l.Load = old.Load }, "leave out"},
		{"Delete as well", func(l *redsession.Legacy) { l.Delete = old.Remove }, "leave out"},
		{"MaxAge without Decode", func(l *redsession.Legacy) { l.Decode = nil }, "set Decode too"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := inside()
			row.change(&l)
			stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, Adopt: []redsession.Legacy{l}}), "Config.Adopt[0]", row.want)
		})
	}
}

func TestInsideCookieIsTakenOver(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m, c := e.Counted(t, stage.Adopting(inside()))
		st := stage.NewScripted(t, m).WithOldCookie(write("alice", e.Clock.Now().Add(-time.Hour), map[string]any{"cart": []string{"tea"}}))
		for range 2 {
			if a := st.Must(); a.Text != "alice cart=[tea]" || oldCookie(st.Browser) != "" {
				t.Errorf("got %q, and the old cookie %q, want alice, and none", a.Text, oldCookie(st.Browser))
			}
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || e.Living(t) != 1 {
			t.Errorf("got %d sessions (%v) and %d records, want 1", len(infos), err, e.Living(t))
		}
		c.Take()
		if st.Must(); c.Take() != "GET EXPIRE in 1" {
			t.Error("a hit costs more than the usual price")
		}
		if got := st.WithOldCookie("forged").Must().Text; got != "" {
			t.Errorf("a forged value: got %q, want nobody", got)
		}
	})
}

// Each value that was ever signed is as good as the last one.
func TestInsideCookieFromBeforeAnEndIsRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		keeps bool // the old values lead on
		end   func(t *testing.T, e *stage.Env, m *redsession.Manager, st *stage.Scripted)
	}{
		{"a logout", false, func(_ *testing.T, _ *stage.Env, _ *redsession.Manager, st *stage.Scripted) { st.Must("logout") }},
		{"a logout of a session that logged in here", false, func(_ *testing.T, _ *stage.Env, _ *redsession.Manager, st *stage.Scripted) {
			fresh := st.Fork("")
			fresh.Must("login:alice")
			fresh.Must("logout")
		}},
		{"a logout with nothing but an old cookie", false, func(_ *testing.T, e *stage.Env, _ *redsession.Manager, st *stage.Scripted) {
			st.WithOldCookie(write("alice", e.Clock.Now().Add(-30*time.Minute), nil)).Must("logout")
		}},
		{"RevokeUser", false, func(t *testing.T, _ *stage.Env, m *redsession.Manager, _ *stage.Scripted) {
			if _, err := m.RevokeUser(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
		}},
		{"Revoke of the session", false, func(t *testing.T, _ *stage.Env, m *redsession.Manager, _ *stage.Scripted) {
			revokeFirst(t, m.Admin, m)
		}},
		{"Revoke of the session by an operator's tool", false, func(t *testing.T, e *stage.Env, m *redsession.Manager, _ *stage.Scripted) {
			revokeFirst(t, e.Operator(t, ""), m)
		}},
		{"RevokeUser by an operator's tool", false, func(t *testing.T, e *stage.Env, _ *redsession.Manager, _ *stage.Scripted) {
			if _, err := e.Operator(t, "").RevokeUser(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
		}},
		{"RevokeAll", false, func(t *testing.T, _ *stage.Env, m *redsession.Manager, _ *stage.Scripted) {
			if _, err := m.RevokeAll(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		{"a login of somebody else", true, func(_ *testing.T, _ *stage.Env, _ *redsession.Manager, st *stage.Scripted) {
			fresh := st.Fork("")
			fresh.Must("login:bob")
			fresh.Must("logout")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, e *stage.Env, make stage.Maker) {
				m := make(t, stage.Adopting(inside()))
				root := stage.NewScripted(t, m)
				earlier := write("alice", e.Clock.Now().Add(-2*time.Hour), nil)
				st := root.WithOldCookie(write("alice", e.Clock.Now().Add(-time.Hour), nil))
				st.Must()
				row.end(t, e, m, st)
				for _, wait := range []time.Duration{0, 25 * time.Hour, 10 * 24 * time.Hour} {
					e.Advance(t, wait)
					got := root.WithOldCookie(earlier).Must().Text
					if want := map[bool]string{true: "alice"}[row.keeps]; got != want && (wait == 0 || !row.keeps) {
						t.Errorf("an earlier value, after %s more: got %q, want %q", wait, got, want)
					}
				}
				if got := root.WithOldCookie(write("alice", e.Clock.Now().Add(time.Second), nil)).Must().Text; got != "alice" {
					t.Errorf("a value of a login afterwards: got %q, want alice", got)
				}
				if got := root.WithOldCookie(write("carol", e.Clock.Now().Add(-20*24*time.Hour), nil)).Must().Text; got != "carol" && row.name != "RevokeAll" {
					t.Errorf("somebody else's: got %q, want carol", got)
				}
			})
		})
	}
}

// eachWay runs on each Redis whose TTLs run down, with plans in one script and in parts as on a cluster.
func eachWay(t *testing.T, test func(t *testing.T, e *stage.Env, make stage.Maker)) {
	t.Helper()
	for _, way := range []string{"in one script", "in parts"} {
		t.Run(way, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) { test(t, e, e.BothWays()[way]) })
		})
	}
}

func revokeFirst(t *testing.T, by interface {
	Revoke(ctx context.Context, id string) error
}, m *redsession.Manager,
) {
	t.Helper()
	infos, err := m.Sessions(t.Context(), "alice")
	if err != nil || len(infos) != 1 {
		t.Fatalf("got %d sessions and error %v, want one", len(infos), err)
	}
	if err := by.Revoke(t.Context(), infos[0].ID); err != nil {
		t.Error(err)
	}
}

// MaxAge counts, whatever Decode says of the end: the marks of logouts last as long.
func TestInsideCookieEndsWithItsMaxAge(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		l := inside()
		decode := l.Decode
		l.Decode = func(value string) (*redsession.LegacyRecord, error) {
			lr, err := decode(value)
			if lr != nil {
				lr.ExpiresAt = time.Time{}
			}
			return lr, err
		}
		st := stage.NewScripted(t, e.Manager(t, stage.Adopting(l)))
		for _, row := range []struct {
			name string
			age  time.Duration
			want string
		}{
			{"a minute before", insideAge - time.Minute, "alice"},
			{"a minute after", insideAge + time.Minute, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				if got := st.WithOldCookie(write("alice", e.Clock.Now().Add(-row.age), nil)).Must().Text; got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			})
		}
	})
}

// A logout that Redis could not be told of leaves its mark when it is made.
func TestInsideCookieAfterALogoutDuringAnOutage(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, stage.Adopting(inside()))
	earlier := write("alice", o.Clock.Now().Add(-2*time.Hour), nil)
	st := o.Here.WithOldCookie(write("alice", o.Clock.Now().Add(-time.Hour), nil))
	st.Must()
	o.Down(t)
	st.Do("logout")
	o.Up(t)
	st.Must()
	if got := o.Here.WithOldCookie(earlier).Must().Text; got != "" {
		t.Errorf("an earlier value afterwards: got %q, want nobody", got)
	}
}

// Old servers write the cookie anew with every request; half of the requests go there.
func TestInsideCookieBesideServersOfTheOldKind(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		l := inside()
		l.SideBySide = true
		m := e.Manager(t, stage.Adopting(l))
		st := stage.NewScripted(t, m).Fork("")
		at := e.Clock.Now().Add(-time.Hour)
		next := func() time.Time { at = at.Add(time.Minute); return at }
		st.Must("set:seen:1") // the first visit comes to a new server
		st.RenewOldCookie(write("", next(), nil))
		if a := st.Must(); a.Text != "seen=1" {
			t.Errorf("beside an anonymous session of the old servers: got %q, want ours", a.Text)
		}
		for i := range 5 { // the login to an old one
			st.RenewOldCookie(write("alice", next(), map[string]any{"n": i}))
			if a := st.Must(fmt.Sprintf("set:i:%d", i)); a.Text != fmt.Sprintf("alice i=%d n=0", i) || oldCookie(st.Browser) == "" {
				t.Errorf("round %d: got %q, want alice, the same session, and the old cookie in place", i, a.Text)
			}
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 {
			t.Errorf("got %d sessions (%v), want 1", len(infos), err)
		}
		stale := oldCookie(st.Browser)
		st.RenewOldCookie(write("bob", next(), nil))
		if got := st.Must().Text; got != "bob" {
			t.Errorf("a login as bob at an old server: got %q, want bob", got)
		}
		st.RenewOldCookie(stale)
		if got := st.Must().Text; got != "bob" {
			t.Errorf("an older value of alice's: got %q, want bob", got)
		}
		if st.Must("logout"); oldCookie(st.Browser) != "" || st.Cookie() != "" {
			t.Error("after the logout: a cookie is still there")
		}
	})
}

// Two requests with one value, and a logout between any two steps of taking another over.
func TestInsideCookieRacesWithALogout(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *stage.Env, make stage.Maker) {
		l := inside()
		var list []string
		for i := range 6 {
			list = append(list, write("alice", e.Clock.Now().Add(-time.Duration(i+1)*time.Minute), nil))
		}
		m := make(t, stage.Patient, stage.Adopting(l))
		root := stage.NewScripted(t, m)
		first := root.WithOldCookie(list[0])
		first.Must()
		var browsers [6]*stage.Scripted
		stage.Parallel(len(list), func(i int) {
			browsers[i] = first
			if i == 0 {
				first.Must("logout")
				return
			}
			browsers[i] = root.WithOldCookie(list[i])
			browsers[i].Must()
		})
		infos, err := m.Sessions(t.Context(), "alice")
		alive := slices.DeleteFunc(slices.Clone(browsers[:]), func(b *stage.Scripted) bool { return b.Must().Text != "alice" })
		if err != nil || len(infos) != len(alive) {
			t.Errorf("got %d sessions in the list (%v) and %d browsers logged in, want as many", len(infos), err, len(alive))
		}
		if got := root.WithOldCookie(write("alice", e.Clock.Now().Add(-time.Hour), nil)).Must().Text; got != "" {
			t.Errorf("another value afterwards: got %q, want nobody", got)
		}
	})
}
