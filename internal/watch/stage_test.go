package watch_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/watch"
)

var (
	errEnded = errors.New("session ended")
	errStale = errors.New("nobody knows")
	errAway  = errors.New("connection refused")
)

const (
	poll     = 2 * time.Second
	maxStale = 5 * time.Minute
)

// redis is what a Watcher looks at. The shard of an id is its first letter.
type redis struct {
	mu    sync.Mutex
	state map[string]watch.State
	away  map[string]bool          // by id
	slow  map[string]time.Duration // by shard
	looks []string                 // the ids of each look, sorted
}

// start returns a Watcher over a Redis in which these ids are live. The clock is that of
// a synctest bubble.
func start(t *testing.T, page int, live ...string) (*watch.Watcher, *redis) {
	t.Helper()
	r := &redis{state: make(map[string]watch.State), away: make(map[string]bool), slow: make(map[string]time.Duration)}
	for _, id := range live {
		r.state[id] = watch.State{Live: true}
	}
	w := watch.New(watch.Config{
		Poll: poll, Page: page, Look: r.look, Shard: func(id string) string { return id[:1] },
		MaxStale: maxStale, Now: time.Now, Ended: errEnded, Stale: errStale,
	})
	t.Cleanup(w.Close)
	return w, r
}

func (r *redis) look(ctx context.Context, ids []string) ([]watch.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks = append(r.looks, strings.Join(slices.Sorted(slices.Values(ids)), " "))
	if slow := r.slow[ids[0][:1]]; slow > 0 {
		r.mu.Unlock()
		timeout, cancel := context.WithTimeout(ctx, slow)
		<-timeout.Done()
		cancel()
		r.mu.Lock()
	}
	states := make([]watch.State, len(ids))
	for i, id := range ids {
		if r.away[id] {
			return nil, errAway
		}
		states[i] = r.state[id]
	}
	return states, nil
}

// set changes what lies in Redis.
func (r *redis) set(id string, s watch.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state[id] = s
}

// fail makes every look at id fail, or no more.
func (r *redis) fail(id string, away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away[id] = away
}

// taken returns the looks since the last call, sorted.
func (r *redis) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	looks := r.looks
	r.looks = nil
	slices.Sort(looks)
	return looks
}

// pass lets d pass, and everything happen that happens in that time.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// open opens a stream of the session at id, confirmed just now and without a deadline.
func open(t *testing.T, w *watch.Watcher, id string) context.Context {
	t.Helper()
	return w.Watch(t.Context(), id, time.Time{}, time.Now())
}

// want checks why a stream has ended; nil means that it is open.
func want(t *testing.T, name string, ctx context.Context, cause error) {
	t.Helper()
	if got := context.Cause(ctx); !errors.Is(got, cause) {
		t.Errorf("%s: got cause %v, want %v", name, got, cause)
	}
}
