package failover_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// strainPages tell who is logged in and a count that only Update changes.
func strainPages() stage.Handlers {
	const count = redsession.Key[int]("count")
	tell := func(w http.ResponseWriter, s *redsession.Session) {
		n, _ := count.Get(s)
		fmt.Fprintf(w, "%q %d %t", s.UserID(), n, s.Degraded())
	}
	return stage.Handlers{
		"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login("alice") },
		"/read":  func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { tell(w, s) },
		"/add": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			count.Update(s, func(n int) int { return n + 1 })
			tell(w, s)
		},
	}
}

// sample is how one request was answered.
type sample struct {
	path         string
	begun, ended time.Time
	status       int
	degraded     bool
	count        int
	wrong        string // what may never happen
}

func (s sample) normal() bool { return s.status == 200 && !s.degraded }

// strain is 50 requests a second of one logged-in browser, every other one a
// write.
type strain struct {
	t       *testing.T
	b       *stage.Browser
	stop    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	samples []sample
}

func newStrain(t *testing.T, b *stage.Browser) *strain {
	s := &strain{t: t, b: b, stop: make(chan struct{})}
	s.running.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-s.stop:
				return
			case <-ticker.C:
				s.running.Go(func() { s.send([]string{"/read", "/add"}[i%2]) })
			}
		}
	})
	t.Cleanup(s.halt)
	return s
}

// halt stops the requests and waits for those on their way.
func (s *strain) halt() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.running.Wait()
}

func (s *strain) send(path string) {
	sm := sample{path: path, begun: time.Now()}
	a, err := s.b.Try(path)
	sm.ended = time.Now()
	if err != nil {
		sm.wrong = err.Error()
	} else {
		sm.judge(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, sm)
}

func (s *sample) judge(a stage.Answer) {
	var user string
	s.status = a.StatusCode
	switch s.status {
	case http.StatusOK:
		if _, err := fmt.Sscanf(a.Text, "%q %d %t", &user, &s.count, &s.degraded); err != nil || user != "alice" {
			s.wrong = "the answer of " + s.path + " is " + a.Text
		}
	case http.StatusServiceUnavailable:
	default:
		s.wrong = fmt.Sprintf("%s was answered %d", s.path, s.status)
	}
	for _, c := range a.SetCookies() {
		if c.MaxAge < 0 || c.Value == "" {
			s.wrong = s.path + " removed the cookie"
		}
	}
}

// since returns the samples of requests that began after that.
func (s *strain) since(begin time.Time) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.samples), func(sm sample) bool { return sm.begun.Before(begin) })
}

// figures are what became of a strain.
type figures struct {
	normal, degraded, failed int
	added, tried             int           // writes: acknowledged, and sent
	gap                      time.Duration // the longest without a normal answer
	slowest                  time.Duration // request
}

func (f figures) String() string {
	return fmt.Sprintf("normal %d, degraded %d, failed %d, slowest %s, longest gap %s", f.normal, f.degraded, f.failed, f.slowest, f.gap)
}

func (s *strain) figures(begin time.Time) figures {
	var f figures
	samples := s.since(begin)
	slices.SortFunc(samples, func(a, b sample) int { return a.ended.Compare(b.ended) })
	var last time.Time
	for _, sm := range samples {
		f.slowest = max(f.slowest, sm.ended.Sub(sm.begun))
		switch {
		case sm.wrong != "":
		case sm.normal():
			if f.normal++; !last.IsZero() {
				f.gap = max(f.gap, sm.ended.Sub(last))
			}
			last = sm.ended
		case sm.degraded:
			f.degraded++
		default:
			f.failed++
		}
		if sm.path == "/add" {
			if f.tried++; sm.status == http.StatusOK {
				f.added++
			}
		}
	}
	return f
}

// awaitNormal waits until n requests that began from now on had normal answers,
// and returns when the first of them came.
func (s *strain) awaitNormal(n int) time.Time {
	s.t.Helper()
	begin := time.Now()
	var first time.Time
	stage.Until(s.t, "normal answers", func() bool {
		found := 0
		for _, sm := range s.since(begin) {
			if sm.normal() {
				if found++; first.IsZero() || sm.ended.Before(first) {
					first = sm.ended
				}
			}
		}
		return found >= n
	})
	return first
}

// wantNothingWrong checks every answer: alice is logged in, in each that is one.
func (s *strain) wantNothingWrong() {
	s.t.Helper()
	for _, sm := range s.since(time.Time{}) {
		if sm.wrong != "" {
			s.t.Errorf("after %s: %s", sm.ended.Sub(sm.begun), sm.wrong)
		}
	}
}
