package redistest

import (
	"sync"
	"time"
)

// Wave is what clients sent side by side, to whatever nodes: the commands that reached Redis, as Proxy.Commands lists
// them. It costs as much time as one round trip.
type Wave [][]string

// Waves returns the waves in which do, and what else uses the proxies meanwhile, sent its commands. All that was sent
// before the first reply to one of them arrived is one wave. To see that, the proxies hold replies back while do runs,
// until nothing has been sent for quiet: so a wave takes a little longer than that. What is sent after do has returned is
// not in the result. Commands that Proxy.Commands leaves out do not count and are not held back.
//
// Only one call may use a proxy at a time.
func Waves(do func(), proxies ...*Proxy) []Wave {
	w := &waves{}
	for _, p := range proxies {
		p.watch(w)
	}
	defer func() {
		for _, p := range proxies {
			p.watch(nil)
		}
	}()
	do()
	return w.sofar()
}

// quiet is how long nothing is sent before a wave counts as complete: far longer than a busy machine takes to start the
// goroutines that send it, and to open their connections.
const quiet = 50 * time.Millisecond

// waves divides what several proxies pass into waves. Its methods may be called from several goroutines, and on nil,
// which counts nothing.
type waves struct {
	mu   sync.Mutex
	list []Wave
	open bool      // the last of list takes more in, as no reply has arrived
	last time.Time // when something was sent
}

// sent notes commands of one connection before Redis can answer them.
func (w *waves) sent(commands [][]string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		w.list, w.open = append(w.list, nil), true
	}
	present := &w.list[len(w.list)-1]
	*present = append(*present, commands...)
	w.last = time.Now()
}

// hold returns when a reply may arrive, which ends the present wave, or when stop is closed.
func (w *waves) hold(stop <-chan struct{}) {
	if w == nil {
		return
	}
	for {
		left := w.left()
		if left <= 0 {
			return
		}
		select {
		case <-time.After(left):
		case <-stop:
			return
		}
	}
}

// left is how long a reply has to wait at least. It ends the wave if that is no longer.
func (w *waves) left() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := quiet - time.Since(w.last)
	if left <= 0 {
		w.open = false
	}
	return left
}

func (w *waves) sofar() []Wave {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Wave, len(w.list))
	copy(list, w.list)
	return list
}
