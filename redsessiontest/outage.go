package redsessiontest

import (
	"context"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

const (
	patience = 30 * time.Second       // for what takes 100 ms on an idle machine
	askAgain = 200 * time.Millisecond // if the Manager has not noticed by then
)

// outages is what the Manager has told of outages.
type outages struct {
	mu      sync.Mutex // guards what follows
	down    bool
	changed chan struct{} // closed when down is another
}

func newOutages() *outages { return &outages{changed: make(chan struct{})} }

func (o *outages) note(e redsession.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = e.Kind == redsession.EventOutageBegan
	close(o.changed)
	o.changed = make(chan struct{})
}

// state tells whether Redis is away, and what is closed when that changes.
func (o *outages) state() (down bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down, o.changed
}

// await waits until Redis is away, or back, and tells whether it is before ctx is done.
func (o *outages) await(ctx context.Context, away bool) bool {
	for {
		down, changed := o.state()
		if down == away {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// TakeRedisAway begins an outage and returns once the Manager has noticed. What
// happens then is up to Config.Outage. Until BringRedisBack Redis refuses every
// command, as it does while it starts; its content stays. Nobody waits for it, unless
// the Config has an OutageWait.
func (m *Manager) TakeRedisAway() {
	m.t.Helper()
	if m.away {
		return
	}
	m.away = true
	m.Redis.SetError("LOADING Redis is loading the dataset in memory")
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if m.notice() {
			return
		}
	}
	m.t.Fatal("redsessiontest: the Manager did not notice that Redis is away")
}

// notice asks Redis for something, which fails: that is what it is for.
func (m *Manager) notice() bool {
	ctx, cancel := context.WithTimeout(context.Background(), askAgain)
	defer cancel()
	_, _ = m.Sessions(ctx, "nobody")
	return m.outages.await(ctx, true)
}

// BringRedisBack ends the outage and returns once the Manager has noticed. Sessions that
// were logged out meanwhile, with status 503, end in Redis within a second.
func (m *Manager) BringRedisBack() {
	m.t.Helper()
	if !m.away {
		return
	}
	m.away = false
	m.Redis.SetError("")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !m.outages.await(ctx, false) {
		m.t.Fatal("redsessiontest: the Manager did not notice that Redis is back")
	}
}

// watch passes events on to next, and those of outages to the switch.
func (m *Manager) watch(next func(context.Context, redsession.Event)) func(context.Context, redsession.Event) {
	return func(ctx context.Context, e redsession.Event) {
		if next != nil {
			next(ctx, e)
		}
		if e.Kind == redsession.EventOutageBegan || e.Kind == redsession.EventOutageEnded {
			m.outages.note(e)
		}
	}
}
