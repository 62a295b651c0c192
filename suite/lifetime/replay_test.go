package lifetime_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestReplayEndsTheSessionIfAskedTo(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*redsession.Config)
		ends   bool
	}{
		{"not by default", func(*redsession.Config) {}, false},
		{"not with AAL1", func(c *redsession.Config) { c.Assurance = redsession.AAL1 }, false},
		{"with AAL2", func(c *redsession.Config) { c.Assurance, c.RotateEvery = redsession.AAL2, 30*time.Minute }, true},
		{"with AAL3", func(c *redsession.Config) { c.Assurance, c.RotateEvery = redsession.AAL3, 10*time.Minute }, true},
		{"with AAL2, unless refused on purpose", func(c *redsession.Config) {
			c.Assurance, c.OnReplay, c.RotateEvery = redsession.AAL2, redsession.RefuseReplay, 30*time.Minute
		}, false},
		{"if set", func(c *redsession.Config) { c.OnReplay = redsession.EndSession }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, passive, row.change))
				b.Get("/login?user=alice")
				thief := b.With(b.Cookie())
				b.Play(e, "+14m", "/rotate", "/rotate", "/who", "+50s")
				if a := thief.With(thief.Cookie()).Get("/poll"); !strings.HasPrefix(a.Text, "alice") {
					t.Errorf("within the grace: got %q, want alice", a.Text)
				}
				e.Advance(t, 11*time.Second)
				beside := "session=" + thief.Cookie() + "; session=" + b.Cookie()
				if got := raw(t, b, beside); got != "alice" || len(e.Events.Of(redsession.EventReplayed)) != 0 {
					t.Errorf("beside the present cookie: got %q and %d events, want alice and none", got, len(e.Events.Of(redsession.EventReplayed)))
				}
				if a := thief.Get("/who"); a.Text != "" || len(e.Events.Of(redsession.EventReplayed)) != 1 {
					t.Errorf("alone: got %q and %d events, want nobody and 1", a.Text, len(e.Events.Of(redsession.EventReplayed)))
				}
				revoked := e.Events.Of(redsession.EventRevoked)
				want := "alice"
				if row.ends {
					want = ""
				}
				if got := b.State().User; got != want || (len(revoked) == 1) != row.ends || (e.Living(t) == 0) != row.ends {
					t.Errorf("the session: got %q, %d revoked and %d left, want %q", got, len(revoked), e.Living(t), want)
				}
				if row.ends && (revoked[0].UserID != "alice" || revoked[0].Reason == "") {
					t.Errorf("got the event %+v, want alice's and a reason", revoked[0])
				}
			})
		})
	}
}

// raw sends cookies as they are and returns who that is.
func raw(t *testing.T, b *stage.Browser, cookies string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.Base+"/who", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", cookies)
	one := b.Fresh()
	res, err := one.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text := make([]byte, 100)
	n, _ := res.Body.Read(text)
	return string(text[:n])
}

// TestReplayWhoseEndRedisRefusesEndsTheSessionLater has the ending fail, as in an outage of writing alone.
func TestReplayWhoseEndRedisRefusesEndsTheSessionLater(t *testing.T) {
	t.Parallel()
	for _, rotations := range []int{1, 2, 5} { // since the thief has taken it
		stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
			m, p := e.Behind(t, func(c *redsession.Config) { c.OnReplay = redsession.EndSession })
			b := browse(t, m)
			b.Get("/login?user=alice")
			thief := b.With(b.Cookie())
			for range rotations {
				b.Play(e, "/rotate", "/who", "+2m")
			}
			p.Reply(func(args []string) (string, bool) {
				return "-NOPERM this user has no permissions to run the 'evalsha' command\r\n", stage.SetsTombstone(args)
			})
			if a := thief.Get("/who"); a.Text != "" {
				t.Errorf("the thief: got %q, want nobody", a.Text)
			}
			if got := b.Get("/who").Text; got != "" {
				t.Errorf("the session: got %q from this server, want nobody", got)
			}
			p.Reply(nil)
			stage.Until(t, "the end of the session", func() bool { return e.Living(t) == 0 })
		})
	}
}

// TestReplayOfAnAdoptedSession is an old cookie of another package: side by side browsers keep it.
func TestReplayOfAnAdoptedSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		of   func(*stage.OldStore) redsession.Legacy
		want string
	}{
		{"taken over for good", (*stage.OldStore).Legacy, ""},
		{"side by side with old servers", (*stage.OldStore).SideBySide, "alice cart=[tea]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				old := &stage.OldStore{}
				old.Put(stage.OldSession(e, "one", "alice"))
				st := stage.NewScripted(t, e.Manager(t, stage.Adopting(row.of(old)), func(c *redsession.Config) { c.OnReplay = redsession.EndSession }))
				b := st.WithOldCookie("one")
				b.Must()
				b.Must()
				e.Advance(t, 2*time.Minute)
				if got := st.WithOldCookie("one").Do().Text; got != "" {
					t.Errorf("the old cookie alone: got %q, want nobody", got)
				}
				if got := b.Must().Text; got != row.want {
					t.Errorf("the session: got %q, want %q", got, row.want)
				}
			})
		})
	}
}
