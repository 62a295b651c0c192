package lifetime_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession/internal/lifetime"
)

const day = 24 * time.Hour

func TestOf(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		level int
		want  lifetime.Limits
	}{
		{"no level has no limits", 0, lifetime.Limits{}},
		{"AAL1 has an absolute one", 1, lifetime.Limits{Absolute: 30 * day}},
		{"AAL2 has both", 2, lifetime.Limits{Absolute: day, Idle: time.Hour}},
		{"AAL3 has shorter ones", 3, lifetime.Limits{Absolute: 12 * time.Hour, Idle: 15 * time.Minute}},
		{"beyond the highest there is nothing", lifetime.Highest + 1, lifetime.Limits{}},
		{"below the lowest there is nothing", -1, lifetime.Limits{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := lifetime.Of(row.level); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name             string
		d, limit, within time.Duration
		exceeds          bool
	}{
		{"no limit", day, 0, day, false},
		{"under the limit", time.Hour, day, time.Hour, false},
		{"at the limit", day, day, day, false},
		{"beyond the limit", day + 1, day, day, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := lifetime.Within(row.d, row.limit); got != row.within {
				t.Errorf("got %s within it, want %s", got, row.within)
			}
			if got := lifetime.Exceeds(row.d, row.limit); got != row.exceeds {
				t.Errorf("got exceeds %t, want %t", got, row.exceeds)
			}
		})
	}
}

func TestExtended(t *testing.T) {
	t.Parallel()
	const now = 1000
	for _, row := range []struct {
		name string
		term lifetime.Term
		want int64
	}{
		{"its life begins anew", lifetime.Term{Deadline: 1010, Life: time.Minute}, 1060},
		{"it never ends sooner than so far", lifetime.Term{Deadline: 2000, Life: time.Minute}, 2000},
		{"it stops at the ceiling", lifetime.Term{Deadline: 1010, Life: time.Minute, Ceiling: 1040}, 1040},
		{"a ceiling further up does nothing", lifetime.Term{Deadline: 1010, Life: time.Minute, Ceiling: 5000}, 1060},
		{"a ceiling that is reached leaves it as it is", lifetime.Term{Deadline: 1010, Life: time.Minute, Ceiling: 1010}, 1010},
		{"it stops where the proof is too old", lifetime.Term{Deadline: 1010, Life: time.Minute, Proved: 990, Limit: 30 * time.Second}, 1020},
		{"a proof that is too old already leaves it as it is", lifetime.Term{Deadline: 1010, Life: time.Minute, Proved: 900, Limit: 30 * time.Second}, 1010},
		{"nobody has proved anything", lifetime.Term{Deadline: 1010, Life: time.Minute, Limit: 30 * time.Second}, 1060},
		{"the sooner of both counts", lifetime.Term{Deadline: 1010, Life: time.Minute, Ceiling: 1015, Proved: 990, Limit: 30 * time.Second}, 1015},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := row.term.Extended(time.Unix(now, 0)); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestLimited(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name              string
		term              lifetime.Term
		to                int64
		ceiling, deadline int64
	}{
		{"sooner than the deadline", lifetime.Term{Deadline: 100}, 50, 50, 50},
		{"later than the deadline, for whoever extends it", lifetime.Term{Deadline: 100}, 200, 200, 100},
		{"sooner than the limit before", lifetime.Term{Deadline: 60, Ceiling: 60}, 50, 50, 50},
		{"later than the limit before", lifetime.Term{Deadline: 60, Ceiling: 60}, 70, 60, 60},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := row.term.Limited(row.to)
			if got.Ceiling != row.ceiling || got.Deadline != row.deadline {
				t.Errorf("got ceiling %d and deadline %d, want %d and %d", got.Ceiling, got.Deadline, row.ceiling, row.deadline)
			}
			if again := got.Limited(row.to); again != got {
				t.Errorf("got %v the second time, want %v", again, got)
			}
		})
	}
}
