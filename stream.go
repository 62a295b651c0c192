package redsession

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// streamPoll is how often the sessions behind open streams are looked at.
const streamPoll = 2 * time.Second

// Context returns a context for a response that outlives the request's own
// work, such as server-sent events or a websocket: it is done when the request
// is, and within about 3 seconds after the session has ended, by whichever
// server. Looking after it is no activity: a session that nothing else hits
// ends after its idle timeout. The streams of a process share one round trip to
// Redis every 2 seconds, for each 500 sessions. Without a stored session it is the request's context.
// After a Login or a Rotate in the same request, call it once that is committed, by
// Save or by the first byte.
func (s *Session) Context() context.Context {
	s.lock()
	defer s.mu.Unlock()
	if s.base == nil {
		return s.r.Context()
	}
	if s.stream == nil {
		s.stream = s.m.streams.watch(s.r.Context(), s.base.id)
	}
	return s.stream
}

// streams watches the sessions of open streams.
type streams struct {
	admin *Admin
	poll  time.Duration

	mu      sync.Mutex // guards what follows
	open    map[*stream]struct{}
	running bool
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// stream is one open response.
type stream struct {
	id  string
	end context.CancelCauseFunc
}

// watch returns a context that ends with parent, or with the session at id.
func (ss *streams) watch(parent context.Context, id string) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	st := &stream{id: id, end: cancel}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.open == nil {
		ss.open = make(map[*stream]struct{})
	}
	ss.open[st] = struct{}{}
	context.AfterFunc(ctx, func() {
		ss.mu.Lock()
		defer ss.mu.Unlock()
		delete(ss.open, st)
	})
	if !ss.running {
		ss.running = true
		running, stop := context.WithCancel(context.Background())
		ss.stop = stop
		ss.done.Go(func() { ss.run(running) })
	}
	return ctx
}

// close stops the watching and waits for it.
func (ss *streams) close() {
	ss.mu.Lock()
	if ss.stop != nil {
		ss.stop()
	}
	ss.mu.Unlock()
	ss.done.Wait()
}

// run looks at the open streams until there are none.
func (ss *streams) run(ctx context.Context) {
	ticker := time.NewTicker(ss.poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ss.mu.Lock()
		byID := make(map[string][]*stream, len(ss.open))
		for st := range ss.open {
			byID[st.id] = append(byID[st.id], st)
		}
		if len(byID) == 0 {
			ss.running = false
			ss.mu.Unlock()
			return
		}
		ss.mu.Unlock()
		ss.check(ctx, byID)
	}
}

// heads asks for a page at a time, each within RedisTimeout.
func (ss *streams) heads(ctx context.Context, ids []string) (heads []string, err error) {
	for ids := range slices.Chunk(ids, page) {
		bounded := ss.admin.bounded(ctx)
		some, err := ss.admin.store.heads(bounded, ids)
		bounded.end(false)
		if err != nil {
			return nil, err
		}
		heads = append(heads, some...)
	}
	return heads, nil
}

// check ends the streams whose session is gone, and follows those whose
// session was rotated. If Redis does not answer, nothing has ended.
func (ss *streams) check(ctx context.Context, byID map[string][]*stream) {
	for hop := 0; len(byID) > 0 && hop < maxHops; hop++ {
		ids := make([]string, 0, len(byID))
		for id := range byID {
			ids = append(ids, id)
		}
		heads, err := ss.heads(ctx, ids)
		if err != nil {
			return
		}
		rotated := make(map[string][]*stream)
		for i, id := range ids {
			switch isRecord, next := record.Peek(heads[i]); {
			case isRecord:
			case next != "":
				rotated[next] = append(rotated[next], byID[id]...)
			default:
				for _, st := range byID[id] {
					st.end(ErrGone)
				}
			}
		}
		ss.mu.Lock()
		for id, list := range rotated {
			for _, st := range list {
				st.id = id
			}
		}
		ss.mu.Unlock()
		byID = rotated
	}
}
