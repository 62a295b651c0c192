package redsession_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

func TestConcurrentLoadsShareRoundTripsAndGetTheirOwnSessions(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.NewProxy(t, srv.Addr)
	e := &env{url: "redis://" + proxy.Addr, clock: newClock(), events: &eventLog{}}
	const number = redsession.Key[string]("number")
	m, sent := e.counted(t, func(c *redsession.Config) { c.RedisTimeout = 20 * time.Second })
	first := newBrowser(t, serve(t, m, handlers{
		"/set": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) { number.Set(s, r.FormValue("v")) },
		"/get": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			v, _ := number.Get(s)
			fmt.Fprint(w, v)
		},
	}))
	const many = 64
	var browsers []*browser
	for i := range many {
		b := first.with("")
		b.get(fmt.Sprintf("/set?v=%d", i))
		browsers = append(browsers, b)
	}
	proxy.Delay(50 * time.Millisecond)
	sent.take()
	var all sync.WaitGroup
	for i, b := range browsers {
		all.Go(func() {
			if got := b.get("/get").body; got != fmt.Sprint(i) {
				t.Errorf("browser %d got the session of %q", i, got)
			}
		})
	}
	all.Wait()
	if sent.trips > many/2 {
		t.Errorf("got %d round trips for %d loads at once, want them to share", sent.trips, many)
	}
}
