package outage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/outage"
	"github.com/redsession/redsession/internal/record"
)

const maxStale = 5 * time.Minute

var errAway = errors.New("connection refused")

// stage is a Cache with a clock that the test moves, and what it ended in Redis.
type stage struct {
	*outage.Cache
	mu    sync.Mutex
	now   time.Time
	away  map[string]bool // ids that cannot be ended
	calls []string        // ids that End was called for
}

func newStage(change ...func(*outage.Config)) *stage {
	s := &stage{now: time.Unix(1_800_000_000, 0), away: make(map[string]bool)}
	cfg := outage.Config{MaxEntries: 100, MaxBytes: 1 << 20, MaxStale: maxStale, MaxEnded: 100, EndAgainFor: time.Minute, Now: s.clock, End: s.end, Again: time.Hour}
	for _, c := range change {
		c(&cfg)
	}
	s.Cache = outage.New(cfg)
	return s
}

func (s *stage) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stage) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *stage) end(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, id)
	if s.away[id] || s.away["all"] {
		return errAway
	}
	return nil
}

// fail makes endings of these ids fail, or no more.
func (s *stage) fail(away bool, ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.away[id] = away
	}
}

// endings returns the ids that End was called for since the last call, sorted.
func (s *stage) endings() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.calls)
	calls := strings.Join(s.calls, " ")
	s.calls = nil
	return calls
}

// recalls tells whether there is something to read at id.
func (s *stage) recalls(id string) bool {
	_, _, _, ok := s.Recall(id)
	return ok
}

// of is a record of that user's, "" for an anonymous one.
func (s *stage) of(user string) *record.Record {
	return &record.Record{User: user, Idle: 3600, Deadline: s.clock().Unix() + 86400}
}

func TestOutageRecallsWhatRedisConfirmed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		rec  func(*record.Record)
		pass time.Duration
		do   func(*stage)
		want bool
	}{
		{"just now", nil, 0, nil, true},
		{"within the bound", nil, maxStale, nil, true},
		{"before the bound", nil, maxStale + 1, nil, false},
		{"and again since", nil, maxStale + 1, func(s *stage) { s.Confirm("a", "raw", s.of("alice")) }, true},
		{"and the same again since", nil, maxStale + 1, func(s *stage) { s.Same("a", "raw") }, true},
		{"and something else since, which is not known", nil, maxStale + 1, func(s *stage) { s.Same("a", "other") }, false},
		{"but its idle timeout is over", func(r *record.Record) { r.Idle = 60 }, time.Minute + 1, nil, false},
		{"and its idle timeout is not over", func(r *record.Record) { r.Idle = 60 }, time.Minute, nil, true},
		{"but its deadline is over", func(r *record.Record) { r.Deadline = 1_800_000_060 }, time.Minute, nil, false},
		{"and forgot", nil, 0, func(s *stage) { s.Forget("a") }, false},
		{"and another one that is forgotten", nil, 0, func(s *stage) { s.Forget("b") }, true},
		{"but it ended", nil, 0, func(s *stage) { s.Ended("b", "a") }, false},
		{"but it ended under its origin", func(r *record.Record) { r.Origin = "first" }, 0, func(s *stage) { s.Ended("first") }, false},
		{"and another one that ended", func(r *record.Record) { r.Origin = "first" }, 0, func(s *stage) { s.Ended("b") }, true},
		{"but its user logged out", nil, 0, func(s *stage) { s.Block("a") }, false},
		{"but it is blocked under its origin", func(r *record.Record) { r.Origin = "first" }, 0, func(s *stage) { s.Block("first") }, false},
		{"but a logout overtook the load", nil, 0, func(s *stage) { s.Ended("a"); s.Confirm("a", "raw", s.of("alice")) }, false},
		{"but a logout that Redis does not have overtook the load", nil, 0, func(s *stage) { s.Block("a"); s.Confirm("a", "raw", s.of("alice")) }, false},
		{"but the logout has reached Redis since", nil, 0, func(s *stage) { s.Block("a"); s.Unblock("a"); s.Confirm("a", "raw", s.of("alice")) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			rec, confirmed := s.of("alice"), s.clock()
			if row.rec != nil {
				row.rec(rec)
			}
			s.Confirm("a", "raw", rec)
			s.pass(row.pass)
			if row.do != nil {
				row.do(s)
				confirmed = s.clock()
			}
			raw, at, _, ok := s.Recall("a")
			if ok != row.want || ok && (raw != "raw" || !at.Equal(confirmed)) {
				t.Errorf("got %q of %v, %t, want %t", raw, at, ok, row.want)
			}
		})
	}
}

func TestOutageRecallsWhatWasNotProlongedUntilItsEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(*stage)
		pass time.Duration
		want bool
	}{
		{"until then", func(s *stage) { s.Until("a", s.clock().Add(time.Minute)) }, time.Minute, true},
		{"not later", func(s *stage) { s.Until("a", s.clock().Add(time.Minute)) }, time.Minute + 1, false},
		{"an end beyond what it has changes nothing", func(s *stage) { s.Until("a", s.clock().Add(1000*time.Hour)) }, maxStale + 1, false},
		{"prolonged since, as usual", func(s *stage) { s.Until("a", s.clock().Add(time.Minute)); s.Same("a", "raw") }, time.Minute + 1, true},
		{"another session's end", func(s *stage) { s.Until("b", s.clock()) }, time.Minute, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			s.Confirm("a", "raw", s.of("alice"))
			row.do(s)
			s.pass(row.pass)
			if got := s.recalls("a"); got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}

func TestOutageRecallsNothingWithoutABound(t *testing.T) {
	t.Parallel()
	s := newStage(func(c *outage.Config) { c.MaxStale = 0 })
	s.Confirm("a", "raw", s.of("alice"))
	if s.recalls("a") {
		t.Error("got a session, want none")
	}
}

func TestOutageTheSameBytesNeedNotBeReadAgain(t *testing.T) {
	t.Parallel()
	s := newStage()
	rec := s.of("alice")
	s.Confirm("a", "raw", rec)
	for _, row := range []struct {
		name, id, raw string
		want          *record.Record
	}{
		{"the same", "a", "raw", rec},
		{"other bytes", "a", "new", nil},
		{"the same bytes under another id", "b", "raw", nil},
	} {
		if got := s.Same(row.id, row.raw); got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
	newer := s.of("alice")
	s.Confirm("a", "new", newer)
	if s.Same("a", "raw") != nil || s.Same("a", "new") != newer {
		t.Error("got what was there before, want what was confirmed last")
	}
	s.Ended("a")
	if s.Same("a", "new") != nil {
		t.Error("got a session that has ended")
	}
}

func TestOutageForgetsAnonymousAndLargeSessionsFirst(t *testing.T) {
	t.Parallel()
	small, large, huge := strings.Repeat("x", 300), strings.Repeat("x", 60_000), strings.Repeat("x", 1<<20)
	for _, row := range []struct {
		name string
		fill func(s *stage, id string)
	}{
		{"anonymous sessions", func(s *stage, id string) { s.Confirm(id, small, s.of("")) }},
		{"large anonymous sessions", func(s *stage, id string) { s.Confirm(id, large, s.of("")) }},
		{"large sessions of users", func(s *stage, id string) { s.Confirm(id, large, s.of("mallory")) }},
		{"half-open logins", func(s *stage, id string) {
			rec := s.of("mallory")
			rec.Pending = true
			s.Confirm(id, small, rec)
		}},
		{"one that is larger than all there is", func(s *stage, id string) { s.Confirm(id, huge, s.of("mallory")) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			s.Confirm("alice", small, s.of("alice"))
			for n := range 560 {
				row.fill(s, fmt.Sprint(n))
			}
			if !s.recalls("alice") {
				t.Error("got the user who is logged in forgotten, want the others")
			}
		})
	}
}

func TestOutageForgetsWhatWasNotUsedForLongest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		user   string
		size   int
		bounds func(*outage.Config)
	}{
		{"users by number", "alice", 10, func(c *outage.Config) { c.MaxEntries = 3 }},
		{"anonymous ones by number", "", 10, func(c *outage.Config) { c.MaxEntries = 3 }},
		{"users by bytes", "alice", 1000, func(c *outage.Config) { c.MaxBytes = 8000 }},
		{"anonymous ones by bytes", "", 1000, func(c *outage.Config) { c.MaxBytes = 8000 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(row.bounds)
			raw := strings.Repeat("x", row.size)
			for _, id := range []string{"a", "b", "c"} {
				s.Confirm(id, "older", s.of(""))
				s.Confirm(id, raw, s.of(row.user))
			}
			s.Same("a", raw)
			s.Confirm("d", raw, s.of(row.user))
			for id, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
				if got := s.recalls(id); got != want {
					t.Errorf("got %s recalled %t, want %t", id, got, want)
				}
			}
			for _, id := range []string{"a", "c", "d"} {
				s.Forget(id)
			}
			for _, id := range []string{"e", "f", "g"} { // there is room for as many as before
				s.Confirm(id, raw, s.of(row.user))
			}
			if !s.recalls("e") || !s.recalls("f") || !s.recalls("g") {
				t.Error("got one of three forgotten after three made room")
			}
		})
	}
}

func TestOutageASessionTooLargeToBeRememberedPushesOutNone(t *testing.T) {
	t.Parallel()
	s := newStage()
	s.Confirm("small", "raw", s.of(""))
	s.Confirm("large", "raw", s.of(""))
	s.Confirm("large", strings.Repeat("x", 1<<20), s.of(""))
	if !s.recalls("small") || s.recalls("large") {
		t.Error("got the small session forgotten, or the large one as it was before")
	}
}

func TestOutageRemembersNoneWhereThereIsNoRoom(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*outage.Config){
		"entries": func(c *outage.Config) { c.MaxEntries = 0 },
		"bytes":   func(c *outage.Config) { c.MaxBytes = 0 },
	} {
		s := newStage(change)
		s.Confirm("a", "raw", s.of("alice"))
		if s.recalls("a") {
			t.Errorf("no %s: got a session, want none", name)
		}
	}
}

// What was written without its user is remembered in the place of what was there, and no longer than that.
func TestRewriteIsNoConfirmation(t *testing.T) {
	t.Parallel()
	s := newStage()
	rec := &record.Record{Idle: 3600, Deadline: s.clock().Unix() + 86400}
	s.Rewrite("unknown", "new", rec)
	if _, _, _, ok := s.Recall("unknown"); ok {
		t.Error("got a session remembered that was not before")
	}
	s.Confirm("a", "old", rec)
	s.pass(maxStale - time.Second)
	s.Rewrite("a", "new", rec)
	if raw, _, _, ok := s.Recall("a"); raw != "new" || !ok {
		t.Errorf("got %q, %t, want what was written", raw, ok)
	}
	s.pass(2 * time.Second)
	if raw, _, _, ok := s.Recall("a"); ok {
		t.Errorf("got %q after MaxStale, want nothing", raw)
	}
}
