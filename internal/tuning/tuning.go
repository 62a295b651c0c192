// Package tuning holds the intervals and lower bounds of package redsession that users cannot set, so that tests can:
// nobody should have to wait for seconds to see what happens after them.
package tuning

import (
	"sync"
	"time"
)

// Values are intervals and lower bounds. In what is given to Set, zero means the default.
type Values struct {
	StreamPoll   time.Duration // between two looks at the sessions behind open streams
	Probe        time.Duration // between two signs of life asked of a Redis that does not answer
	EndAgain     time.Duration // between two tries to end what Redis refused to end
	Close        time.Duration // how long Manager.Close may take
	LeastTimeout time.Duration // the shortest timeout of a session that Config allows
	Apart        bool          // the parts of a plan are round trips apart, also where one script could do all
}

var defaults = Values{
	StreamPoll:   2 * time.Second,
	Probe:        100 * time.Millisecond,
	EndAgain:     2 * time.Second,
	Close:        5 * time.Second,
	LeastTimeout: time.Second,
}

var (
	mu      sync.Mutex // guards current
	current = defaults
)

// Current returns the values that the next redsession.New takes. It is safe for concurrent use.
func Current() Values {
	mu.Lock()
	defer mu.Unlock()
	return current
}

// Set replaces the values. Every later redsession.New uses them; a Manager that exists keeps those it was made with.
// Only tests call it, before New, usually in TestMain. It is safe for concurrent use.
func Set(v Values) {
	or := func(d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
	}
	or(&v.StreamPoll, defaults.StreamPoll)
	or(&v.Probe, defaults.Probe)
	or(&v.EndAgain, defaults.EndAgain)
	or(&v.Close, defaults.Close)
	or(&v.LeastTimeout, defaults.LeastTimeout)
	mu.Lock()
	defer mu.Unlock()
	current = v
}
