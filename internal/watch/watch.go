// Package watch ends open streams, such as server-sent events and websockets, soon
// after the session behind them has ended: at once if it ended in this process, and at
// the next look at Redis if it ended elsewhere.
package watch

import (
	"context"
	"slices"
	"sync"
	"time"
)

// State is what Redis has at the id of a session. The zero value is nothing that leads
// to a session: it has ended.
type State struct {
	Live bool   // the session's record
	Next string // the id that the session goes on under, if it was rotated
}

// Config says how streams are watched. All of it is required but Shard and Stale.
type Config struct {
	// Poll is how often the sessions behind open streams are looked at.
	Poll time.Duration
	// Page is how many ids Look is asked for at a time.
	Page int
	// Look returns the state at each of ids, in their order, or an error if it cannot tell
	// all of them. It is called concurrently for ids of several shards, and bounds itself.
	Look func(ctx context.Context, ids []string) ([]State, error)
	// Shard names the server that has an id, so that one that is away or slow keeps the
	// sessions of no other from being looked at. Nil if there is but one.
	Shard func(id string) string
	// MaxStale is how long a stream may go on without Redis having confirmed its session.
	MaxStale time.Duration
	// Now is the clock.
	Now func() time.Time
	// Ended is the cause of a stream's context if its session has ended.
	Ended error
	// Stale is the cause if nobody can tell any more whether it has. It is Ended unless set.
	Stale error
}

// Watcher watches over the open streams of one process. It is safe for concurrent use.
// While there are streams it has one goroutine; Close waits for it.
type Watcher struct {
	cfg  Config
	ctx  context.Context // of the looks; ends with Close
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex          // guards what follows, and every session and stream
	sessions map[string]*session // by each id that it is known under
	running  bool                // the goroutine
	closed   bool
}

// maxFormer bounds the earlier ids that are remembered of one session.
const maxFormer = 16

// session is one that streams depend on.
type session struct {
	id        string   // under which it goes on
	former    []string // ids before its rotations, as far as they are known, the oldest first
	confirmed time.Time
	streams   map[*stream]struct{}
}

// stream is one open response.
type stream struct {
	of       *session
	deadline time.Time // zero if there is none
	end      context.CancelCauseFunc
}

// New returns a Watcher without streams.
func New(cfg Config) *Watcher {
	if cfg.Shard == nil {
		cfg.Shard = func(string) string { return "" }
	}
	if cfg.Stale == nil {
		cfg.Stale = cfg.Ended
	}
	w := &Watcher{cfg: cfg, sessions: make(map[string]*session)}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// Watch returns a context that ends with parent, with the session at id, whatever
// rotations make of that id, at deadline unless it is zero, and when Redis, which
// confirmed the session at confirmed, has not done so for MaxStale. After Close it has
// ended already.
func (w *Watcher) Watch(parent context.Context, id string, deadline, confirmed time.Time) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	st := &stream{deadline: deadline, end: cancel}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		cancel(w.cfg.Stale)
		return ctx
	}
	s := w.sessions[id]
	if s == nil {
		s = &session{id: id, streams: make(map[*stream]struct{})}
		w.sessions[id] = s
	}
	s.confirmed = later(s.confirmed, confirmed)
	s.streams[st], st.of = struct{}{}, s
	stopTimer := func() bool { return true }
	if !deadline.IsZero() {
		stopTimer = time.AfterFunc(deadline.Sub(w.cfg.Now()), func() { cancel(w.cfg.Ended) }).Stop
	}
	context.AfterFunc(ctx, func() {
		stopTimer()
		w.forget(st)
	})
	if !w.running {
		w.running = true
		w.done.Go(w.run)
	}
	return ctx
}

// End ends the streams of the session that has, or had before a rotation, one of ids,
// before it returns.
func (w *Watcher) End(ids ...string) {
	var ended []*stream
	w.mu.Lock()
	for _, id := range ids {
		if s := w.sessions[id]; s != nil {
			ended = append(ended, w.removeLocked(s)...)
		}
	}
	w.mu.Unlock()
	end(ended, w.cfg.Ended)
}

// Rotated tells that the session at from goes on at to, so that End finds its streams
// by either. It need not be called: a look finds out as well.
func (w *Watcher) Rotated(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sessions[from]; s != nil && s.id == from {
		w.moveLocked(s, to)
	}
}

// Close ends every stream, as nobody would end it later, and waits until nothing is
// looked at any more.
func (w *Watcher) Close() {
	var open []*stream
	w.mu.Lock()
	w.closed = true
	for _, s := range w.sessions {
		open = append(open, w.removeLocked(s)...)
	}
	w.mu.Unlock()
	w.stop()
	end(open, w.cfg.Stale)
	w.done.Wait()
}

// end is called without the lock, as whoever waits for a context may do anything.
func end(streams []*stream, cause error) {
	for _, st := range streams {
		st.end(cause)
	}
}

// forget takes a stream out that has ended.
func (w *Watcher) forget(st *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := st.of
	delete(s.streams, st)
	if len(s.streams) == 0 {
		w.removeLocked(s)
	}
}

// removeLocked takes s out and returns its streams.
func (w *Watcher) removeLocked(s *session) []*stream {
	for _, id := range append(s.former, s.id) {
		if w.sessions[id] == s {
			delete(w.sessions, id)
		}
	}
	streams := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	return streams
}

// moveLocked makes s go on at next, together with streams that are there already.
func (w *Watcher) moveLocked(s *session, next string) {
	ids := append(s.former, s.id)
	switch into := w.sessions[next]; into {
	case s:
	case nil:
		s.former, s.id = ids, next
		w.sessions[next] = s
		w.trimLocked(s)
	default:
		into.confirmed = later(into.confirmed, s.confirmed)
		for st := range s.streams {
			st.of = into
			into.streams[st] = struct{}{}
		}
		at := slices.Index(into.former, next)
		if at < 0 {
			at = len(into.former) // next is its present id
		}
		into.former = slices.Insert(into.former, at, ids...)
		for _, id := range ids {
			w.sessions[id] = into
		}
		w.trimLocked(into)
	}
}

// trimLocked forgets ids from the middle: the first is the origin by which an ending
// may name the session, and requests may still carry the latest.
func (w *Watcher) trimLocked(s *session) {
	for len(s.former) > maxFormer {
		delete(w.sessions, s.former[1])
		s.former = append(s.former[:1], s.former[2:]...)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
