package redsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/sessioncookie"
	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/tuning"
	"github.com/redsession/redsession/internal/watch"
)

// What a process remembers for an outage, at the most.
const (
	maxCached      = 1 << 16
	maxCachedBytes = 64 << 20
	maxEndedIDs    = 1 << 17
	endAgainFor    = time.Minute // a failover loses what was written shortly before
)

// probe asks a primary by a connection of its own for what failed there.
func (m *Manager) probe(ctx context.Context, conn redis.UniversalClient, side breaker.Side, key string) error {
	return m.store.Probe(ctx, conn, side, key)
}

// outageChanged is told by the breaker, of one change at a time. Reading and writing go
// and come apart; an outage lasts from the first that goes to the last that is back.
func (m *Manager) outageChanged(ctx context.Context, c breaker.Change) {
	what := outageReason(c)
	if c.Down {
		m.down = append(m.down, what)
		m.away.Store(true)
		m.cache.OutageBegan()
		if len(m.down) == 1 {
			m.emit(ctx, Event{Kind: EventOutageBegan, Reason: what, Err: c.Err})
		}
		return
	}
	m.down = slices.DeleteFunc(m.down, func(w string) bool { return w == what })
	m.away.Store(len(m.down) > 0)
	if len(m.down) == 0 {
		m.emit(ctx, Event{Kind: EventOutageEnded})
	}
	other := breaker.Change{Primary: c.Primary, Side: breaker.Write - c.Side}
	if !slices.Contains(m.down, outageReason(other)) { // nothing can be ended where writing is not possible yet
		m.reconnected(ctx)
	}
}

func outageReason(c breaker.Change) string {
	what := "reading"
	if c.Side == breaker.Write {
		what = "writing"
	}
	if c.Primary == "" {
		return what
	}
	return what + " " + c.Primary
}

// reconnected learns again what Redis can do, and ends once more what a failover may have
// brought back.
func (m *Manager) reconnected(ctx context.Context) {
	bounded, cancel := m.bounded(ctx)
	_ = m.store.LearnScripts(bounded)
	cancel()
	m.cache.EndAgain(ctx)
}

// endAgain ends a session that has ended here before, or what a try left.
func (m *Manager) endAgain(ctx context.Context, id string) error {
	bounded, cancel := m.bounded(ctx)
	defer cancel()
	if m.insideAge() > 0 { // the logout may not have come so far as to leave its mark
		rec, err := m.present(bounded, id)
		if err == nil && rec != nil {
			err = m.markInside(bounded, rec.User, m.marksFor(rec))
		}
		if err != nil {
			return err
		}
	}
	_, err := m.endChain(bounded, id, nil, true, maxEndHops)
	return err
}

// forgetEnded is told of the ids of sessions that have ended.
func (m *Manager) forgetEnded(ids ...string) {
	m.cache.Ended(ids...)
	for _, id := range ids {
		m.streams.End(id)
	}
}

// block keeps this process from serving a session that is to end, until Redis has ended
// it.
func (m *Manager) block(at *stored) {
	m.cache.Block(at.id)
	m.cache.Ended(origin(at.id, at.rec))
	m.streams.End(at.id)
}

// takeAway ends the records that tries of unknown outcome may have left under ids, which
// nobody was told of: now, or when Redis is back.
func (m *Manager) takeAway(ctx context.Context, ids []string) {
	for _, id := range ids {
		m.cache.Block(id)
		m.store.Background(ctx, func(ctx context.Context) {
			if _, err := m.endChain(ctx, id, nil, false, maxEndHops); err == nil {
				m.cache.Unblock(id)
			}
		})
	}
}

func (m *Manager) closeOutage() error {
	ctx, cancel := context.WithTimeout(context.Background(), tuning.Current().Close)
	defer cancel()
	if left := m.cache.Close(ctx); left > 0 {
		return fmt.Errorf("redsession: closing: gave up after %s: %d sessions whose end an outage or a refusal kept from Redis have not ended there", tuning.Current().Close, left)
	}
	return nil
}

// lookAtStreams tells what has become of the sessions of open streams.
func (m *Manager) lookAtStreams(ctx context.Context, ids []string) ([]watch.State, error) {
	bounded, cancel := m.bounded(ctx)
	defer cancel()
	heads, err := m.store.Heads(bounded, ids)
	states := make([]watch.State, len(heads))
	for i, h := range heads {
		states[i] = watch.State{Live: h.Kind.Live(), Next: h.Leads()}
	}
	return states, err
}

// shard is the primary that has a session.
func (m *Manager) shard(id string) string {
	return m.topology.Primary(context.Background(), m.keys.Session(id))
}

// refusal is what Redis said and which command it refused, "" for any other error.
func refusal(err error) string {
	e := asStoreError(err)
	if e == nil {
		return ""
	}
	if _, replied := rediserr.Reply(e); !replied {
		return ""
	}
	return e.Error()
}

// sometimes tells of what happens at each request, but once a minute.
type sometimes struct {
	mu   sync.Mutex
	last time.Time
}

func (s *sometimes) tell(now time.Time, fn func()) {
	s.mu.Lock()
	due := s.last.IsZero() || now.Sub(s.last) >= time.Minute
	if due {
		s.last = now
	}
	s.mu.Unlock()
	if due {
		fn()
	}
}

// tellRefusedRead tells, once a minute, of a refusal to read that stays, though a session was
// served from memory: that ends with Config.OutageMaxStale.
func (s *Session) tellRefusedRead(err error) {
	reason := refusal(err)
	if reason == "" || passes(err) {
		return
	}
	s.m.readTold.tell(s.m.cfg.Now(), func() {
		s.note(Event{Kind: EventFailed, Reason: reason, Err: fmt.Errorf("redsession: loading session: %w", err)})
	})
}

// tellUpkeep tells, once a minute, of a refusal that stays of what no request waits for: a
// timed rotation, an entry in an index.
func (k *core) tellUpkeep(err error, tell func(Event)) {
	if reason := refusal(err); reason != "" && !passes(err) {
		k.upkeepTold.tell(k.cfg.Now(), func() {
			tell(Event{Kind: EventFailed, Reason: reason, Err: fmt.Errorf("redsession: keeping sessions in order: %w", err)})
		})
	}
}

// recall goes on from what this process remembers of a session of tokens, as Redis is
// away. It tells whether that is known.
func (s *Session) recall(tokens []sessioncookie.Token, now time.Time) (known bool, found verdicts, err error) {
	m := s.m
	if m.cfg.Outage != ServeKnown {
		return false, found, nil
	}
	var alive []candidate
	for _, tk := range tokens {
		at, confirmed, until := m.recall(tk.SID, now)
		if at == nil || !s.hasProof(at.rec, now) { // it might be another user's, or the one to win
			return false, found, nil
		}
		at.left = until.Sub(now)
		alive = append(alive, candidate{at: at})
		if confirmed.Before(s.confirmed) {
			s.confirmed = confirmed
		}
	}
	winner, others, _ := choose(alive)
	if winner == nil {
		return false, found, nil
	}
	if _, why, err := s.checkStamp(winner.at.rec); why != "" || err != nil {
		return err == nil, verdicts{rejected: true}, err
	}
	s.use(winner.at)
	s.expires = now.Add(winner.at.left)
	s.degraded, s.others = true, others
	m.count.degraded.Add(1)
	return true, verdicts{live: true}, nil
}

// recall returns what this process last knew of the session of sid, if that may be
// served, when Redis confirmed it, and when it ends there.
func (m *Manager) recall(sid keyspace.SID, now time.Time) (at *stored, confirmed, until time.Time) {
	at = &stored{sid: sid, id: sid.ID()}
	raw, confirmed, until, ok := m.cache.Recall(at.id)
	if !ok {
		return nil, confirmed, until
	}
	rec, _, err := record.Open(m.ring, m.keys.Session(at.id), raw)
	if err != nil || rec == nil || rec.TTL(now) <= 0 {
		return nil, confirmed, until
	}
	at.rec = rec
	return at, confirmed, until
}

// await waits until what err says has failed may be tried again, on behalf of the session
// with this id, and returns what is to be called after that. The error says why there is
// nothing to wait for.
func (m *Manager) await(ctx context.Context, err error, id string, budget *breaker.Budget) (leave func(), given error) {
	e := (*store.Error)(nil)
	if !errors.As(err, &e) {
		return nil, err
	}
	return m.breaker.Await(ctx, e.Key, e.Side, id, budget, e)
}
