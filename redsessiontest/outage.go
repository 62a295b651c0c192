package redsessiontest

import (
	"context"
	"time"

	"github.com/redsession/redsession"
)

const (
	manyTries = 100              // the third failure is an outage
	patience  = 30 * time.Second // for what takes 100 ms on an idle machine
)

// TakeRedisAway begins an outage and returns once the Manager has noticed. What
// happens then is up to Config.Outage. Until BringRedisBack Redis refuses every
// command, as it does while it starts; its content stays.
func (m *Manager) TakeRedisAway() {
	m.t.Helper()
	if m.away {
		return
	}
	m.away = true
	for len(m.outage) > 0 {
		<-m.outage // of what the test did to Redis itself
	}
	m.Redis.SetError("LOADING Redis is loading the dataset in memory")
	for range manyTries {
		_, _ = m.Sessions(context.Background(), "nobody")
		select {
		case kind := <-m.outage:
			if kind == redsession.EventOutageBegan {
				return
			}
		default:
		}
	}
	m.t.Fatal("redsessiontest: the Manager did not notice that Redis is away")
}

// BringRedisBack ends the outage and returns once the Manager has noticed. What
// was postponed meanwhile reaches Redis before the session's next request, or by
// itself within a second.
func (m *Manager) BringRedisBack() {
	m.t.Helper()
	if !m.away {
		return
	}
	m.away = false
	m.Redis.SetError("")
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case kind := <-m.outage:
			if kind == redsession.EventOutageEnded {
				return
			}
		case <-timeout.C:
			m.t.Fatal("redsessiontest: the Manager did not notice that Redis is back")
		}
	}
}

// watch passes events on to next, and those of outages to the switch.
func (m *Manager) watch(next func(context.Context, redsession.Event)) func(context.Context, redsession.Event) {
	return func(ctx context.Context, e redsession.Event) {
		if next != nil {
			next(ctx, e)
		}
		if e.Kind != redsession.EventOutageBegan && e.Kind != redsession.EventOutageEnded {
			return
		}
		select {
		case m.outage <- e.Kind:
		default: // nobody has asked for that many
		}
	}
}
