package lifetime_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// model is a session and what its browser knows: when it ends, at the latest and without another hit.
type model struct {
	now                   time.Duration // since the login
	end, ceiling, idle    time.Duration
	known                 time.Duration // the end that the browser's cookie tells
	absolute, idleTimeout time.Duration
}

func (m *model) alive() bool { return m.now < m.end && m.now < m.idle && m.now < m.known }

// hit is a request; answered says that its answer arrives.
func (m *model) hit(answered bool, move func()) {
	move()
	m.idle = min(m.now+m.idleTimeout, m.end)
	if answered {
		m.known = m.end
	}
}

func (m *model) extend() { m.end = max(m.end, min(m.now+m.absolute, m.ceiling)) }

func (m *model) limit(d time.Duration) {
	m.ceiling = min(m.ceiling, m.now+d)
	m.end = min(m.end, m.ceiling)
}

// TestLifetimeOfRandomHistories plays extensions, limits, rotations, polls and lost answers against a model, on two
// servers: the browser is logged in as long as the model says, and Redis keeps the session for as long as it says.
func TestLifetimeOfRandomHistories(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	for way, maker := range e.BothWays() {
		change := func(c *redsession.Config) {
			passive(c)
			c.AbsoluteTimeout, c.IdleTimeout, c.RotateEvery = 20*time.Hour, 5*time.Hour, 7*time.Hour
		}
		servers := []*stage.Browser{browse(t, maker(t, change)), browse(t, maker(t, change))}
		for seed := range uint64(60) {
			play(t, e, servers, fmt.Sprintf("%s, seed %d", way, seed), rand.New(rand.NewPCG(seed, 7)))
			e.Mini.FlushAll()
		}
	}
}

func play(t *testing.T, e *stage.Env, servers []*stage.Browser, name string, rnd *rand.Rand) {
	t.Helper()
	m := model{absolute: 20 * time.Hour, idleTimeout: 5 * time.Hour, ceiling: 1 << 60}
	m.end, m.idle, m.known = m.absolute, m.idleTimeout, m.absolute
	b := servers[0].Fresh()
	b.Get("/login?user=alice")
	var steps []string
	for range 40 {
		b.Base = servers[rnd.IntN(2)].Base
		d := time.Duration(rnd.IntN(4*60)) * time.Minute
		e.Advance(t, d)
		m.now += d
		asker, answered := b, rnd.IntN(4) > 0
		if !answered {
			asker = b.With(b.Cookie())
		}
		path, move := "/who", func() {}
		switch rnd.IntN(9) {
		case 0, 1:
			path, move = []string{"/extend", "/extend-keep", "/extend-set?v=1"}[rnd.IntN(3)], m.extend
		case 2:
			to := time.Duration(rnd.IntN(60)) * time.Hour
			path, move = "/limit?to="+(to+time.Hour).String(), func() { m.limit(to + time.Hour) }
		case 3:
			path = "/rotate"
		case 4:
			path = []string{"/poll", "/poll/set?v=2"}[rnd.IntN(2)]
		case 5:
			path = "/set?v=3"
		}
		steps = append(steps, fmt.Sprintf("+%s %s %t", d, path, answered))
		alive := m.alive()
		a := asker.Get(path)
		if got := a.StatusCode == http.StatusOK; !got {
			t.Fatalf("%s: got %d %q after %q", name, a.StatusCode, a.Text, steps)
		}
		if !alive {
			if got := b.State().User; got != "" {
				t.Fatalf("%s: got %q past the end after %q", name, got, steps)
			}
			return
		}
		if idle := m.idle; path == "/poll" || path == "/poll/set?v=2" {
			m.hit(answered, move)
			m.idle = idle
		} else {
			m.hit(answered, move)
		}
		if got, want := living(t, e), m.idle-m.now; got < want-2*time.Second || got > want+time.Second {
			t.Fatalf("%s: got %s left in Redis, want %s, after %q", name, got, want, steps)
		}
	}
}

// living is how long the one session there lives.
func living(t *testing.T, e *stage.Env) (left time.Duration) {
	t.Helper()
	n := 0
	for key, raw := range e.Dump(t) {
		if !stage.Tombstone(raw) {
			left, n = e.Mini.TTL(key), n+1
		}
	}
	if n != 1 {
		t.Errorf("got %d sessions, want 1", n)
	}
	return left
}
