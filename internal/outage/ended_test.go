package outage_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/outage"
)

func TestOutageWhatEndedIsEndedAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(*stage)
		want string
	}{
		{"after a lost connection, what ended in the last minute", func(s *stage) {
			s.Ended("old")
			s.pass(time.Minute + 1)
			s.Ended("late", "origin")
			s.pass(time.Minute)
		}, "late origin"},
		{"after a long outage, what ended a minute before it and since", func(s *stage) {
			s.Ended("old")
			s.pass(time.Minute + 1)
			s.Ended("before")
			s.pass(time.Minute)
			s.OutageBegan()
			s.pass(10 * time.Minute)
			s.OutageBegan() // of another server
			s.Ended("since")
			s.pass(10 * time.Minute)
		}, "before since"},
		{"the first ending counts, not one that was told of again", func(s *stage) {
			s.Ended("a")
			s.pass(time.Minute + 1)
			s.Ended("a")
		}, ""},
		{"what is blocked, however long ago that was", func(s *stage) {
			s.Block("a")
			s.pass(24 * time.Hour)
		}, "a"},
		{"what is blocked and ended under its origin, each once", func(s *stage) {
			s.Ended("origin")
			s.Block("a")
		}, "a origin"},
		{"nothing", func(*stage) {}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			row.do(s)
			s.EndAgain(t.Context())
			if got := s.endings(); got != row.want {
				t.Errorf("got %q ended again, want %q", got, row.want)
			}
		})
	}
}

func TestOutageWhatCouldNotBeEndedAgainIsTriedTheNextTime(t *testing.T) {
	t.Parallel()
	s := newStage()
	s.Ended("a1", "a2", "b1")
	s.OutageBegan()
	s.Block("b2")
	s.fail(true, "b1", "b2")
	s.pass(10 * time.Minute)
	s.EndAgain(t.Context())
	if got, want := s.endings(), "a1 a2 b1 b2"; got != want {
		t.Errorf("got %q tried, want %q: one server that is away keeps nothing else", got, want)
	}
	if !s.Blocked("b2") {
		t.Error("got a session let go that has not ended")
	}
	s.pass(10 * time.Minute)
	s.OutageBegan() // it is the same one still
	s.fail(false, "b1", "b2")
	s.EndAgain(t.Context())
	if got, want := s.endings(), "a1 a2 b1 b2"; got != want || s.Blocked("b2") {
		t.Errorf("got %q tried, want %q", got, want)
	}
	s.pass(10 * time.Minute)
	s.EndAgain(t.Context())
	if got := s.endings(); got != "" {
		t.Errorf("got %q ended once more, want nothing: all is done", got)
	}
}

func TestOutageEndsNothingAgainOnceItIsTooLate(t *testing.T) {
	t.Parallel()
	s := newStage()
	s.Ended("a")
	s.Block("b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.EndAgain(ctx)
	if got := s.endings(); got != "" || !s.Blocked("b") {
		t.Errorf("got %q ended, want nothing", got)
	}
}

func TestOutageBlockedUntilAnEndingReachedRedis(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		do      func(*stage)
		blocked bool
		ended   bool
	}{
		{"at once", func(*stage) {}, true, false},
		{"while an ending is only begun", func(s *stage) { s.Ended("a") }, true, true},
		{"while another session is ended", func(s *stage) { s.Block("b"); s.Unblock("b") }, true, false},
		{"until it is told of", func(s *stage) { s.Unblock("a") }, false, true},
		{"until it is ended again", func(s *stage) { s.EndAgain(context.Background()) }, false, true},
		{"while it cannot be ended again", func(s *stage) { s.fail(true, "a"); s.EndAgain(context.Background()) }, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			if s.Blocked("a") || !s.Block("a") || !s.Block("a") {
				t.Fatal("got it blocked before, or not blocked")
			}
			if row.do(s); s.Blocked("a") != row.blocked || s.HasEnded("a") != row.ended {
				t.Errorf("got blocked %t, ended %t, want %t, %t", s.Blocked("a"), s.HasEnded("a"), row.blocked, row.ended)
			}
		})
	}
	s := newStage()
	if s.Unblock("never blocked"); s.HasEnded("never blocked") {
		t.Error("got a session ended that was never blocked")
	}
}

func TestOutageEndingsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStage(func(c *outage.Config) { c.MaxEnded = 4 })
	s.Ended("a", "b")
	s.pass(time.Minute + 1)
	s.Ended("c", "d")
	s.pass(time.Second)
	s.Ended("e") // no room but that of what a failover cannot undo
	s.Ended("f", "g")
	var kept []string
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		if s.HasEnded(id) {
			kept = append(kept, id)
		}
	}
	if got, want := strings.Join(kept, " "), "c d e f"; got != want {
		t.Errorf("got %q remembered, want %q", got, want)
	}
	s.pass(maxStale)
	s.Ended("h")
	if !s.HasEnded("h") || s.HasEnded("c") {
		t.Error("got endings kept that nothing can undo, want room for a new one")
	}
	for n := range 4 {
		if !s.Block(fmt.Sprint(n)) {
			t.Errorf("got no room for logout %d of 4", n)
		}
	}
	if s.Block("5") || s.Blocked("5") || !s.Block("0") {
		t.Error("got a fifth blocked, or the first no more")
	}
}

func TestOutageCloseEndsWhatIsBlocked(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		away  time.Duration // how long Redis still is
		block []string
		left  int
		took  time.Duration
	}{
		{"nothing is blocked", 0, nil, 0, 0},
		{"Redis is there", 0, []string{"a", "b"}, 0, 0},
		{"Redis comes back in time", 2 * time.Second, []string{"a", "b"}, 0, 2 * time.Second},
		{"Redis does not", time.Hour, []string{"a", "b"}, 2, 5 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				for _, id := range row.block {
					s.Block(id)
				}
				s.fail(true, "all")
				back := time.AfterFunc(row.away, func() { s.fail(false, "all") })
				defer back.Stop()
				synctest.Wait()
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				left := s.Close(ctx)
				if took := time.Since(began); left != row.left || took < row.took || took > row.took+time.Second {
					t.Errorf("got %d left after %v, want %d after %v", left, took, row.left, row.took)
				}
				if s.Block("c") {
					t.Error("got a logout taken after Close, which nobody would make")
				}
				if again := s.Close(ctx); again != 0 {
					t.Errorf("got %d left by a second Close, want none told of twice", again)
				}
			})
		})
	}
}

// A refusal that does not pass by itself is no outage, and nobody tells when it is over.
func TestOutageBlockedIsEndedWithoutAnyOutage(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		block int
		most  int // tries at a time while nothing can be ended
	}{
		{"one session", 1, 1},
		{"more than are ended at a time", 20, 8},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStage(func(c *outage.Config) { c.Again = 2 * time.Second })
				blockAll := func() {
					for n := range row.block {
						s.Block(fmt.Sprint(n))
					}
				}
				for round := range 2 { // the second time after nothing was blocked for a while
					s.fail(true, "all")
					blockAll()
					time.Sleep(time.Second)
					if got := s.endings(); got != "" {
						t.Errorf("round %d: got %q tried at once, want it after 2 s", round, got)
					}
					time.Sleep(4 * time.Second)
					if n := len(strings.Fields(s.endings())); n != 2*row.most {
						t.Errorf("round %d: got %d tries in 5 s, want %d", round, n, 2*row.most)
					}
					s.fail(false, "all")
					time.Sleep(2 * time.Second)
					synctest.Wait()
					if s.SomeBlocked() || len(strings.Fields(s.endings())) != row.block {
						t.Errorf("round %d: got sessions that are still blocked, want each ended once", round)
					}
					time.Sleep(time.Minute)
				}
				s.fail(true, "all")
				blockAll()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if left := s.Close(ctx); left != row.block {
					t.Errorf("got %d left by Close, want %d", left, row.block)
				}
				s.endings()
				time.Sleep(time.Minute)
				if got := s.endings(); got != "" {
					t.Errorf("got %q tried after Close, want nothing", got)
				}
			})
		})
	}
}

func TestOutageCacheIsUsedConcurrently(t *testing.T) {
	t.Parallel()
	s := newStage(func(c *outage.Config) { c.MaxEntries, c.MaxEnded = 5, 20 })
	var users sync.WaitGroup
	for n := range 8 {
		users.Go(func() {
			for i := range 200 {
				id := fmt.Sprint((n + i) % 10)
				s.Confirm(id, "raw", s.of("alice"))
				s.Same(id, "raw")
				s.Recall(id)
				switch i % 20 {
				case 0:
					s.Block(id)
				case 5:
					s.Ended(id, "origin of "+id)
				case 10:
					s.OutageBegan()
				case 15:
					s.EndAgain(t.Context())
				}
				if s.Blocked(id) && s.recalls(id) {
					t.Errorf("got blocked session %s recalled", id)
				}
			}
		})
	}
	users.Wait()
	if left := s.Close(t.Context()); left != 0 {
		t.Errorf("got %d left, want none", left)
	}
}
