package lifetime_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestAssuranceSetsTheTimeoutsOfNIST is the table of SP 800-63B-4, 2.1.3, 2.2.3 and 2.3.3.
func TestAssuranceSetsTheTimeoutsOfNIST(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		level          redsession.Assurance
		absolute, idle time.Duration
	}{
		{"none", 0, 30 * day, 7 * day},
		{"AAL1", redsession.AAL1, 30 * day, 7 * day},
		{"AAL2", redsession.AAL2, 24 * time.Hour, time.Hour},
		{"AAL3", redsession.AAL3, 12 * time.Hour, 15 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, func(c *redsession.Config) { c.Assurance = row.level }))
				b.Get("/login?user=alice")
				if got := deadline(t, e, b.Cookie()); got != row.absolute {
					t.Errorf("got %s until the end, want %s", got, row.absolute)
				}
				if got := ttl(t, e, b.Cookie()); !near(got, row.idle) {
					t.Errorf("got %s without a request, want %s", got, row.idle)
				}
				guest := b.Fresh()
				guest.Get("/set?v=1")
				if got := ttl(t, e, guest.Cookie()); !near(got, min(row.idle, 3*time.Hour)) {
					t.Errorf("a visitor: got %s, want %s", got, min(row.idle, 3*time.Hour))
				}
			})
		})
	}
}

func TestAssuranceAndTimeoutsThatContradictAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*redsession.Config)
		want   []string // of the error; nil if it is accepted
	}{
		{"an idle timeout longer than the absolute one", func(c *redsession.Config) { c.IdleTimeout, c.AbsoluteTimeout = 2*time.Hour, time.Hour }, []string{"Config.IdleTimeout (2h0m0s)", "AbsoluteTimeout (1h0m0s)"}},
		{"both are the same", func(c *redsession.Config) { c.IdleTimeout, c.AbsoluteTimeout = time.Hour, time.Hour }, nil},
		{"an absolute timeout shorter than the default idle one", func(c *redsession.Config) { c.AbsoluteTimeout = time.Hour }, nil},
		{"an idle timeout longer than the default absolute one", func(c *redsession.Config) { c.IdleTimeout = 60 * day }, nil},
		{"visitors stay longer than anybody may", func(c *redsession.Config) { c.AnonymousTimeout, c.AbsoluteTimeout = 2*time.Hour, time.Hour }, []string{"Config.AnonymousTimeout"}},
		{"shorter timeouts than the level's", func(c *redsession.Config) {
			c.Assurance, c.AbsoluteTimeout, c.IdleTimeout = redsession.AAL2, time.Hour, time.Minute
		}, nil},
		{"the level's own", func(c *redsession.Config) {
			c.Assurance, c.AbsoluteTimeout, c.IdleTimeout = redsession.AAL3, 12*time.Hour, 15*time.Minute
		}, nil},
		{"AAL1 and any idle timeout", func(c *redsession.Config) { c.Assurance, c.IdleTimeout = redsession.AAL1, 30*day }, nil},
		{"AAL1 beyond 30 days", func(c *redsession.Config) { c.Assurance, c.AbsoluteTimeout = redsession.AAL1, 31*day }, []string{"Config.AbsoluteTimeout", "AAL1", "720h"}},
		{"AAL2 beyond a day", func(c *redsession.Config) { c.Assurance, c.AbsoluteTimeout = redsession.AAL2, 25*time.Hour }, []string{"Config.AbsoluteTimeout", "AAL2", "24h"}},
		{"AAL2 beyond an idle hour", func(c *redsession.Config) { c.Assurance, c.IdleTimeout = redsession.AAL2, 61*time.Minute }, []string{"Config.IdleTimeout", "AAL2", "1h"}},
		{"AAL3 beyond both", func(c *redsession.Config) {
			c.Assurance, c.AbsoluteTimeout, c.IdleTimeout = redsession.AAL3, 13*time.Hour, 16*time.Minute
		}, []string{"Config.AbsoluteTimeout", "Config.IdleTimeout"}},
		{"no such level", func(c *redsession.Config) { c.Assurance = 4 }, []string{"Config.Assurance is 4", "AAL3"}},
		{"a negative level", func(c *redsession.Config) { c.Assurance = -1 }, []string{"Config.Assurance is -1"}},
		{"no such policy for replays", func(c *redsession.Config) { c.OnReplay = 9 }, []string{"Config.OnReplay is 9"}},
		{"a negative policy", func(c *redsession.Config) { c.OnReplay = -1 }, []string{"Config.OnReplay is -1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := redsession.Config{URL: stage.NewMini(t).URL, Secrets: [][]byte{stage.Secret}}
			row.change(&c)
			err := stage.CheckConfig(t, c)
			if (err == nil) != (row.want == nil) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestAssuranceRefusesToRememberForLonger(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		level  redsession.Assurance
		d      string
		status int
		want   string
	}{
		{"no level, as long as you like", 0, "9000h", 200, "alice"},
		{"AAL1 up to 30 days", redsession.AAL1, "720h", 200, "alice"},
		{"AAL1 and no longer", redsession.AAL1, "721h", 500, "RememberFor(721h0m0s): Config.Assurance is AAL1, which allows 720h0m0s"},
		{"AAL2 up to its idle hour", redsession.AAL2, "1h", 200, "alice"},
		{"AAL2 and no longer, as it would be idle for so long", redsession.AAL2, "2h", 500, "allows 1h0m0s"},
		{"AAL3 for weeks", redsession.AAL3, "720h", 500, "AAL3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, passive, func(c *redsession.Config) { c.Assurance = row.level }))
				a := b.Get("/remember?for=" + row.d)
				if a.StatusCode != row.status || !strings.Contains(a.Text, row.want) {
					t.Errorf("got %d %q, want %d and %q", a.StatusCode, a.Text, row.status, row.want)
				}
				if a.StatusCode != http.StatusOK && (len(a.SetCookies()) != 0 || e.Living(t) != 0) {
					t.Errorf("got cookies %v and %d sessions of a login that was refused", a.SetCookies(), e.Living(t))
				}
			})
		})
	}
}

func TestAssuranceBoundsWhatIsImported(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.Assurance = redsession.AAL2 })
		now := e.Clock.Now()
		outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{
			{Source: "old", ID: "young", UserID: "alice", CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(30 * day)},
			{Source: "old", ID: "old", UserID: "alice", CreatedAt: now.Add(-25 * time.Hour), ExpiresAt: now.Add(30 * day)},
			{Source: "old", ID: "remembered", UserID: "bob", CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(30 * day), Persistent: true},
			{Source: "old", ID: "guest", CreatedAt: now.Add(-25 * time.Hour), ExpiresAt: now.Add(30 * day)},
		}, false)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []redsession.ImportStatus{redsession.ImportStored, redsession.ImportExpired, redsession.ImportStored, redsession.ImportStored} {
			if outcomes[i].Status != want {
				t.Errorf("record %d: got %d (%v), want %d", i, outcomes[i].Status, outcomes[i].Err, want)
			}
		}
		for i, err := range m.All(t.Context()) {
			if err != nil || i.UserID != "" && i.TTL > time.Hour {
				t.Errorf("got %s left for %q (%v), want an hour at most", i.TTL, i.UserID, err)
			}
		}
	})
}
