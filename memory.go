package redsession

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/redsession/redsession/internal/record"
)

// What a process remembers for an outage, at the most.
const (
	maxKnown      = 1 << 16
	maxKnownBytes = 64 << 20
	maxPostponed  = 16 << 20               // bytes of changes
	maxEndings    = 1 << 17                // sessions to be ended once Redis is back
	endAgainFor   = time.Minute            // a failover loses what was written shortly before
	flushEvery    = 200 * time.Millisecond // while something is postponed
	closeWithin   = 5 * time.Second
)

// memory is what this process remembers of sessions, so that it can serve the
// ones it knows while Redis is away, and make up for it afterwards.
type memory struct {
	m *Manager

	mu        sync.Mutex // guards what follows
	known     *simplelru.LRU[string, *knownSession]
	bytes     int // of known
	postponed map[string]*postponed
	held      int                  // bytes of postponed
	recent    map[string]time.Time // sessions that ended lately, and when
	swept     time.Time            // when recent was last
	away      time.Time            // since when Redis is; zero while it is there
	flushing  bool
	closed    bool
	stop      context.CancelFunc
	done      sync.WaitGroup

	some atomic.Bool // something is postponed
}

// knownSession is a record as Redis confirmed it, with what was postponed since.
type knownSession struct {
	raw string
	rec *record.Record // what raw was found to say; nil until somebody looked
	at  time.Time      // when Redis confirmed it
}

// size is about what it takes: the text, and what it says.
func (s *knownSession) size() int { return 2*len(s.raw) + 512 }

// postponed is what is to be done to a session once Redis is back.
type postponed struct {
	at      *stored       // as Redis confirmed it
	batches []changeset   // of acknowledged changes, the oldest first
	tries   tries         // of the first of them
	ended   bool          // it is to be ended, and is blocked here
	busy    chan struct{} // closed when the flush under way ends; nil if there is none
}

// more tells whether changes are postponed beyond the one that is being replayed.
func (p *postponed) more() bool { return len(p.batches) > 1 || len(p.batches) == 1 && p.busy == nil }

// changeset is what one commit would have written.
type changeset struct {
	ops  []record.Op
	size int
}

// tries is what is known of attempts to write a batch.
type tries struct {
	wrote []string // their revisions
	lost  bool     // one was sent, and its outcome could not be told
}

// errLost is a postponed change of which nobody can tell whether it was made.
var errLost = errors.New("redsession: replaying: outcome of an earlier try unknown")

// settle learns from an attempt to write rev, and tells whether an earlier one,
// whose reply was lost, was the one that current came from.
func (t *tries) settle(rev, current string, swapped bool, err error) (bool, error) {
	earlier := t.lost
	t.lost = t.lost || errors.Is(err, errUnsettled)
	if err != nil || swapped || !earlier {
		t.wrote = append(t.wrote, rev)
		return swapped, err
	}
	if slices.Contains(t.wrote, record.Rev(current)) {
		return true, nil
	}
	return false, errLost
}

func newMemory(m *Manager) *memory {
	k := &memory{m: m, postponed: make(map[string]*postponed), recent: make(map[string]time.Time)}
	k.known, _ = simplelru.NewLRU(maxKnown, func(_ string, s *knownSession) { k.bytes -= s.size() }) // the size is positive
	return k
}

// same returns what Redis has at id if it is, byte by byte, what it had when this
// process last looked: then its seal need not be checked and its members need not
// be decoded again. Redis confirms the session by it.
func (k *memory) same(id, raw string, now time.Time) *record.Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.known.Get(id)
	if !ok || s.rec == nil || s.raw != raw {
		return nil
	}
	s.at = now
	return s.rec
}

// confirm remembers what Redis has at id.
func (k *memory) confirm(id, raw string, rec *record.Record, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, over := k.recent[id]; over {
		return // by a logout that overtook the load
	}
	if p := k.postponed[id]; p != nil && p.more() {
		if s, ok := k.known.Peek(id); ok {
			s.at = now // with what is yet to be replayed on top
		}
		return
	}
	k.put(id, &knownSession{raw, rec, now})
}

func (k *memory) put(id string, s *knownSession) {
	if old, ok := k.known.Peek(id); ok {
		k.bytes -= old.size()
	}
	k.bytes += s.size()
	k.known.Add(id, s)
	for k.bytes > maxKnownBytes {
		k.known.RemoveOldest()
	}
}

// purge forgets what Redis had at id: it is gone, or goes on under another id.
func (k *memory) purge(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known.Remove(id)
}

// clearLocked drops the changes of p, as their session has ended.
func (k *memory) clearLocked(p *postponed) {
	for _, b := range p.batches {
		k.held -= b.size
	}
	p.batches, p.tries = nil, tries{}
}

// ended forgets a session that has ended, and remembers for a while that it did.
// It is told of the id and of the origin, by which recall finds the session under
// ids that it had in between.
func (k *memory) ended(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known.Remove(id)
	if p := k.postponed[id]; p != nil {
		k.clearLocked(p)
	}
	k.rememberLocked(id)
}

// rememberLocked notes the first end of a session; to end it again tells nothing new.
func (k *memory) rememberLocked(id string) {
	now := k.m.cfg.Now()
	if len(k.recent) >= maxEndings && now.Sub(k.swept) >= time.Second {
		k.sweepLocked(now)
	}
	if _, there := k.recent[id]; !there && len(k.recent) < maxEndings {
		k.recent[id] = now
	}
}

// sweepLocked forgets endings that neither a failover can undo any more nor what is
// known for an outage. If these are too many, it forgets the latter.
func (k *memory) sweepLocked(now time.Time) {
	k.swept = now
	for _, age := range []time.Duration{max(endAgainFor, k.m.cfg.OutageMaxStale), endAgainFor} {
		if len(k.recent) >= maxEndings {
			maps.DeleteFunc(k.recent, func(_ string, at time.Time) bool { return now.Sub(at) > age })
		}
	}
}

// outageBegan notes when Redis went away.
func (k *memory) outageBegan() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away.IsZero() {
		k.away = k.m.cfg.Now()
	}
}

// recall returns the last-known session of tk, if it may be served.
func (k *memory) recall(tk ticket) (*stored, bool) {
	if k.m.cfg.Outage != ServeKnown {
		return nil, false
	}
	at, now := &stored{sid: tk.sid, id: publicID(tk.sid)}, k.m.cfg.Now()
	s, ok := k.lastKnown(at.id)
	if !ok || now.Sub(s.at) > k.m.cfg.OutageMaxStale {
		return nil, false
	}
	rec, _, err := record.Open(k.m.ring, k.m.store.key(at.id), s.raw)
	if err != nil || rec == nil || rec.TTL(now) <= 0 || now.Sub(s.at) > time.Duration(rec.Idle)*time.Second {
		return nil, false
	}
	at.rec = rec
	return at, !k.over(origin(at.id, rec))
}

// over tells whether a session with this origin ended lately.
func (k *memory) over(origin string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, over := k.recent[origin]
	return over
}

// lastKnown returns what this process last knew to be at id.
func (k *memory) lastKnown(id string) (knownSession, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.known.Get(id)
	if !ok {
		return knownSession{}, false
	}
	return *s, true
}

// postpone keeps ops, which surely did not reach Redis, for the session at, and
// remembers after, the record that they make of before. It reports false if that
// is no longer the last known, and an error if there is no room: an acknowledged
// change is never dropped for a new one.
func (k *memory) postpone(at *stored, before, after string, ops []record.Op) (bool, error) {
	size := len(after)
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.known.Peek(at.id)
	p := k.postponed[at.id]
	switch {
	case !ok || k.closed || k.held+size > maxPostponed || p != nil && p.ended:
		return false, errNoRoom
	case s.raw != before:
		return false, nil
	}
	if p == nil {
		p = &postponed{at: at}
		k.postponed[at.id] = p
	}
	p.batches = append(p.batches, changeset{ops, size})
	k.held += size
	k.put(at.id, &knownSession{raw: after, at: s.at})
	k.flushSoonLocked()
	return true, nil
}

// postponeEnd blocks a session and ends it once Redis is back.
func (k *memory) postponeEnd(at *stored) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.postponed[at.id]
	if p == nil {
		if k.closed || len(k.postponed) >= maxEndings {
			return false
		}
		p = &postponed{at: at}
		k.postponed[at.id] = p
	}
	k.known.Remove(at.id)
	k.clearLocked(p)
	p.ended = true
	k.rememberLocked(origin(at.id, at.rec))
	k.flushSoonLocked()
	return true
}
