package outage_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// TestOutageIsNotTooManyRequests has more requests than the one connection can
// carry in time. Some time out; that is no reason to refuse those who come later.
func TestOutageIsNotTooManyRequests(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.NewProxy(t, srv.Addr)
	e := stage.NewEnv("redis://"+proxy.Addr+"?pool_size=1", nil)
	m := e.Manager(t, func(c *redsession.Config) { c.RedisTimeout = 500 * time.Millisecond })
	const key = redsession.Key[int]("n")
	b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{
		"/set": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { key.Set(s, 1) },
	}))
	// A request takes two of these delays and a new connection three, which is far
	// from the timeout even on a slow machine; it is the queue that takes too long.
	proxy.Delay(25 * time.Millisecond)
	var all sync.WaitGroup
	var mu sync.Mutex
	status := make(map[int]int)
	for range 40 {
		all.Go(func() {
			code := b.With("").Get("/set").StatusCode
			mu.Lock()
			defer mu.Unlock()
			status[code]++
		})
	}
	all.Wait()
	if status[http.StatusServiceUnavailable] < 10 || status[http.StatusOK] == 0 {
		t.Errorf("got %v, want most of the requests to time out, and not all", status)
	}
	if began := e.Events.Of(redsession.EventOutageBegan); len(began) > 0 {
		t.Errorf("got %d outages, want none: Redis answered all the time", len(began))
	}
	proxy.Delay(0)
	if a := b.Get("/set"); a.StatusCode != http.StatusOK {
		t.Errorf("got %d once the others are gone, want 200", a.StatusCode)
	}
}
