package load_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestLoadSharesRoundTripsAndGivesEachItsOwnSession(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	proxy := redistest.NewProxy(t, srv.Addr)
	e := stage.NewEnv("redis://"+proxy.Addr, nil)
	const number = redsession.Key[string]("number")
	m, sent := e.Counted(t, func(c *redsession.Config) { c.RedisTimeout = 20 * time.Second })
	first := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{
		"/set": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) { number.Set(s, r.FormValue("v")) },
		"/get": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			v, _ := number.Get(s)
			fmt.Fprint(w, v)
		},
	}))
	const many = 64
	var browsers []*stage.Browser
	for i := range many {
		b := first.With("")
		b.Get(fmt.Sprintf("/set?v=%d", i))
		browsers = append(browsers, b)
	}
	proxy.Delay(50 * time.Millisecond)
	sent.Take()
	var all sync.WaitGroup
	for i, b := range browsers {
		all.Go(func() {
			if got := b.Get("/get").Text; got != fmt.Sprint(i) {
				t.Errorf("browser %d got the session of %q", i, got)
			}
		})
	}
	all.Wait()
	if sent.Trips() > many/2 {
		t.Errorf("got %d round trips for %d loads at once, want them to share", sent.Trips(), many)
	}
}
