package breaker

import (
	"errors"
	"time"

	"github.com/redsession/redsession/internal/rediserr"
)

const (
	// tripAfter failures in a row are an outage, whatever the probes say: a pool whose
	// connections all lead nowhere fails, while a fresh connection works.
	tripAfter = 3
	// flapping is how soon after the end of an outage the next one continues it, and how
	// close failures in a row follow each other.
	flapping = 10 * time.Second
)

// effect is what an error says about the primary that gave it.
type effect uint8

const (
	nothing       effect = iota // the caller gave up, or was refused here
	answered                    // it works
	away                        // it can be neither read nor written
	writesRefused               // it cannot be written
)

// effectOf returns what err says, as the outcome of an exchange.
func effectOf(err error) effect {
	if err == nil || rediserr.Absent(err) {
		return answered
	}
	switch m := rediserr.Classify(err, false); {
	case m.Scope == rediserr.Caller || errors.Is(err, ErrOpen):
		return nothing
	case m.Recovery == rediserr.Stays:
		return answered
	case m.Scope == rediserr.Connection || m.Scope == rediserr.Node:
		return away
	case m.Scope == rediserr.Writes:
		return writesRefused
	default:
		return answered // a key on the move, for example
	}
}

// sides returns the sides that fail.
func (e effect) sides() []Side {
	switch e {
	case away:
		return []Side{Read, Write}
	case writesRefused:
		return []Side{Write}
	default:
		return nil
	}
}

// state is what is known of one side of a primary.
type state uint8

const (
	up      state = iota
	suspect       // an exchange failed; probes find out
	down          // an outage
)

// failure is an exchange, or a probe, that failed.
type failure struct {
	sent, now time.Time
	answered  time.Time // when this side last answered an exchange
	err       error
	around    bool // it passes only around a failover
}

func newFailure(sent, now time.Time, err error) failure {
	around := rediserr.Classify(err, false).Recovery == rediserr.PassesAroundFailover
	return failure{sent: sent, now: now, err: err, around: around}
}

// health is what is known of one side of a primary. Its methods do no more than change
// it, so that every rule about the beginning and the end of an outage stands here.
type health struct {
	state    state
	failures int       // of exchanges, in a row
	failedAt time.Time // when the last of them failed
	began    time.Time // of the suspicion or outage: when the first exchange that failed was sent
	provenAt time.Time // when a probe last cleared the side
	err      error     // the latest failure
	around   bool      // it passes only around a failover
	last     struct{ began, ended time.Time }
}

// fail records that an exchange failed, and tells whether an outage begins with it. What
// was sent before a probe cleared the side says nothing new.
func (h *health) fail(f failure) (opened bool) {
	if f.sent.Before(h.provenAt) {
		return false
	}
	if f.now.Sub(h.failedAt) >= flapping {
		h.failures = 0
	}
	h.failures++
	h.failedAt, h.err, h.around = f.now, f.err, f.around
	began := later(f.sent, f.answered)
	switch {
	case h.state == up:
		h.state, h.began = suspect, began
	case began.Before(h.began):
		h.began = began
	}
	return h.state == suspect && h.failures >= tripAfter && h.open()
}

// failProbe records that a probe failed, and tells whether an outage begins with it. If
// exchanges were answered meanwhile, only fresh connections fail: that is no outage.
func (h *health) failProbe(f failure) (opened bool) {
	if h.state == up || f.answered.After(f.sent) {
		return false
	}
	h.err, h.around = f.err, f.around
	return h.state == suspect && h.open()
}

func (h *health) open() bool {
	h.state = down
	if !h.last.ended.IsZero() && h.began.Sub(h.last.ended) < flapping {
		h.began = h.last.began
	}
	return true
}

// answer records that an exchange was answered. That ends a suspicion, but no outage.
func (h *health) answer() {
	h.failures = 0
	if h.state == suspect {
		h.state = up
	}
}

// prove records that a probe was answered, and tells whether an outage ends with it. The
// failures in a row remain after a suspicion: the connection that failed was not the
// probe's, and the next one of the pool may fail too.
func (h *health) prove(now time.Time) (ended bool) {
	if h.state == up {
		return false
	}
	if ended = h.state == down; ended {
		h.last.began, h.last.ended = h.began, now
		h.failures = 0
	}
	h.state, h.provenAt = up, now
	return ended
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
