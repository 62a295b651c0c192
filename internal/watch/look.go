package watch

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// maxHops is how many rotations one look follows; the next look goes on from there.
const maxHops = 8

var errShort = errors.New("not as many states as ids")

// run looks at the sessions of open streams until there are none.
func (w *Watcher) run() {
	ticker := time.NewTicker(w.cfg.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-ticker.C:
		}
		ids := w.due()
		if ids == nil {
			return
		}
		for hop := 0; len(ids) > 0 && hop < maxHops; hop++ {
			ids = w.look(ids)
		}
	}
}

// due ends the streams whose deadline is over, also where the timer's clock is another
// than Now, and returns the ids to look at. It returns nil, and the goroutine ends, if
// there are none.
func (w *Watcher) due() []string {
	var over []*stream
	defer func() { end(over, w.cfg.Ended) }()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sessions) == 0 {
		w.running = false
		return nil
	}
	now := w.cfg.Now()
	ids := make([]string, 0, len(w.sessions))
	for id, s := range w.sessions {
		if id != s.id {
			continue
		}
		ids = append(ids, id)
		for st := range s.streams {
			if !st.deadline.IsZero() && !now.Before(st.deadline) {
				over = append(over, st)
			}
		}
	}
	return ids
}

// look asks for the state at ids, the shards side by side and each page by itself, and
// returns the ids that rotations lead on to.
func (w *Watcher) look(ids []string) (next []string) {
	shards := make(map[string][]string)
	for _, id := range ids {
		shard := w.cfg.Shard(id)
		shards[shard] = append(shards[shard], id)
	}
	var mu sync.Mutex // guards next
	var looks sync.WaitGroup
	for _, ids := range shards {
		looks.Go(func() {
			for page := range slices.Chunk(ids, w.cfg.Page) {
				asked := w.cfg.Now()
				states, err := w.cfg.Look(w.ctx, page)
				if err == nil && len(states) != len(page) {
					err = errShort
				}
				led := w.settle(page, states, err, asked)
				mu.Lock()
				next = append(next, led...)
				mu.Unlock()
			}
		})
	}
	looks.Wait()
	slices.Sort(next)
	return slices.Compact(next) // two of them may lead to the same
}

// settle does what a look at ids, sent at asked, says: it ends the streams of sessions
// that are gone, and those that Redis has not confirmed for too long, and returns the
// ids that rotations lead on to.
func (w *Watcher) settle(ids []string, states []State, err error, asked time.Time) (next []string) {
	var ended, stale []*stream
	w.mu.Lock()
	now := w.cfg.Now()
	for i, id := range ids {
		s := w.sessions[id]
		switch {
		case s == nil || s.id != id: // it ended or went on while Redis was asked
		case err != nil:
			if now.Sub(s.confirmed) > w.cfg.MaxStale {
				stale = append(stale, w.removeLocked(s)...)
			}
		case states[i].Live:
			s.confirmed = later(s.confirmed, asked)
		case states[i].Next != "":
			w.moveLocked(s, states[i].Next)
			next = append(next, states[i].Next)
		default:
			ended = append(ended, w.removeLocked(s)...)
		}
	}
	w.mu.Unlock()
	end(ended, w.cfg.Ended)
	end(stale, w.cfg.Stale)
	return next
}
