package breaker

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/rediserr"
)

const wait = 5 * time.Second

// at returns a time on the clock of these tests.
func at(d time.Duration) time.Time { return time.Unix(1_000_000, 0).Add(d) }

const (
	stays  = rediserr.Stays
	passes = rediserr.Passes
	around = rediserr.PassesAroundFailover
)

var never time.Time

func failing(s state, began time.Duration) health { return health{state: s, began: at(began)} }

func refusing(s state, began time.Duration) health {
	return health{state: s, began: at(began), around: true}
}

var admissions = []struct {
	name      string
	recovery  rediserr.Recovery
	wait      time.Duration
	left      time.Duration
	health    health
	disturbed time.Time // now is 0
	patience  time.Duration
	err       error
}{
	{"what stays is not waited for", stays, wait, wait, failing(down, -1), at(-1), 0, errStays},
	{"nobody waits if Wait is zero", passes, 0, wait, health{}, never, 0, errSpent},
	{"nobody waits if Wait is negative", passes, -1, wait, health{}, never, 0, errSpent},
	{"nobody waits without a budget", passes, wait, 0, health{}, never, 0, errSpent},
	{"nobody waits with an overdrawn budget", passes, wait, -1, failing(down, 0), never, 0, errSpent},
	{"a side that is up is waited for as long as the budget lasts", passes, wait, time.Second, health{}, never, time.Second, nil},
	{"a suspicion is waited for", passes, wait, wait, failing(suspect, -time.Second), never, 4 * time.Second, nil},
	{"a young outage is waited for up to its age", passes, wait, wait, failing(down, -2*time.Second), never, 3 * time.Second, nil},
	{"a budget may end earlier", passes, wait, time.Second, failing(down, -2*time.Second), never, time.Second, nil},
	{"an outage as old as Wait is not waited for", passes, wait, wait, failing(down, -wait), never, 0, errOld},
	{"a refusal of writes without a failover is not waited for", around, wait, wait, refusing(down, 0), never, 0, errNoFailover},
	{"nor is it if the last one is long ago", around, wait, wait, refusing(down, -time.Second), at(-wait), 0, errNoFailover},
	{"around a failover it is waited for", around, wait, wait, refusing(down, -time.Second), at(-2 * time.Second), 4 * time.Second, nil},
	{"it is waited for if writing works by now", around, wait, wait, health{}, at(-2 * time.Second), wait, nil},
	{"an outage by such a refusal is not waited for by others", passes, wait, wait, refusing(down, 0), never, 0, errNoFailover},
	{"an outage by such a refusal is waited for around a failover", passes, wait, wait, refusing(down, 0), at(-1), wait, nil},
	{"what such a refusal was before says nothing", passes, wait, wait, refusing(up, 0), never, wait, nil},
}

func TestAwaitAdmits(t *testing.T) {
	t.Parallel()
	for _, row := range admissions {
		t.Run(row.name, func(t *testing.T) {
			s := situation{now: at(0), wait: row.wait, left: row.left, recovery: row.recovery, health: row.health, disturbed: row.disturbed}
			patience, err := s.admit()
			if patience != row.patience || !errors.Is(err, row.err) {
				t.Errorf("got %v, %v, want %v, %v", patience, err, row.patience, row.err)
			}
		})
	}
}

// step is something that one side of a primary goes through.
type step struct {
	at   time.Duration
	what func(h *health, now time.Time)
}

// failSent is an exchange that failed, sent so long before.
func failSent(before time.Duration) func(*health, time.Time) {
	return func(h *health, now time.Time) { h.fail(failure{sent: now.Add(-before), now: now, err: io.EOF}) }
}

// failAnswered is likewise, of a side that answered so long before.
func failAnswered(sent, answered time.Duration) func(*health, time.Time) {
	return func(h *health, now time.Time) {
		h.fail(failure{sent: now.Add(-sent), answered: now.Add(-answered), now: now, err: io.EOF})
	}
}

func failProbe(h *health, now time.Time) { h.failProbe(failure{sent: now, now: now, err: io.EOF}) }
func answer(h *health, _ time.Time)      { h.answer() }
func prove(h *health, now time.Time)     { h.prove(now) }

func TestOutageBegins(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, row := range []struct {
		name  string
		steps []step
		state state
		began time.Duration
	}{
		{"a suspicion begins when the exchange was sent", []step{{s, failSent(s / 2)}}, suspect, s / 2},
		{"an outage begins when the first exchange was sent", []step{{s, failSent(s / 2)}, {2 * s, failProbe}}, down, s / 2},
		{"one that was sent earlier moves it back", []step{{s, failSent(0)}, {s, failSent(s / 2)}}, suspect, s / 2},
		{"one that was sent later does not move it", []step{{s, failSent(s)}, {2 * s, failSent(0)}}, suspect, 0},
		{"it moves back in an outage too", []step{{s, failSent(0)}, {s, failProbe}, {s, failSent(s)}}, down, 0},
		{"it does not begin before the last answer", []step{{s, failAnswered(s, s/4)}}, suspect, s * 3 / 4},
		{"an answer ends a suspicion", []step{{s, failSent(0)}, {s, answer}}, up, s},
		{"a probe ends a suspicion", []step{{s, failSent(0)}, {s, prove}}, up, s},
		{"after an outage it takes three failures again", []step{{s, failSent(0)}, {s, failSent(0)}, {s, failSent(0)}, {s, prove}, {2 * s, failSent(0)}}, suspect, 2 * s},
		{"an answer does not end an outage", []step{{s, failSent(0)}, {s, failProbe}, {s, answer}}, down, s},
		{"a probe ends an outage", []step{{s, failSent(0)}, {s, failProbe}, {s, prove}}, up, s},
		{"a failed probe of a side that is up says nothing", []step{{s, failSent(0)}, {s, answer}, {s, failProbe}}, up, s},
		{"after a suspicion another begins", []step{{s, failSent(0)}, {s, prove}, {2 * s, failSent(0)}}, suspect, 2 * s},
		{"what was sent before the end is none", []step{{s, failSent(0)}, {s, prove}, {2 * s, failSent(2 * s)}}, up, s},
		{"an outage within 10 s continues the last one", []step{{s, failSent(0)}, {s, failProbe}, {2 * s, prove}, {11 * s, failSent(0)}, {11 * s, failProbe}}, down, s},
		{"and so does a third one", []step{
			{s, failSent(0)}, {s, failProbe}, {2 * s, prove}, {11 * s, failSent(0)}, {11 * s, failProbe}, {12 * s, prove}, {21 * s, failSent(0)}, {21 * s, failProbe},
		}, down, s},
		{"an outage after 10 s is young", []step{{s, failSent(0)}, {s, failProbe}, {2 * s, prove}, {12 * s, failSent(0)}, {12 * s, failProbe}}, down, 12 * s},
		{"a suspicion within 10 s is young until it is confirmed", []step{{s, failSent(0)}, {s, failProbe}, {2 * s, prove}, {3 * s, failSent(0)}}, suspect, 3 * s},
		{"a suspicion that came to nothing is not continued", []step{{s, failSent(0)}, {s, prove}, {2 * s, failSent(0)}, {2 * s, failProbe}}, down, 2 * s},
	} {
		t.Run(row.name, func(t *testing.T) {
			var h health
			for _, step := range row.steps {
				step.what(&h, at(step.at))
			}
			if h.state != row.state || !h.began.Equal(at(row.began)) {
				t.Errorf("got state %d since %v, want %d since %v", h.state, h.began.Sub(at(0)), row.state, row.began)
			}
		})
	}
}
