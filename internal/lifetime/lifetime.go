// Package lifetime says how long a session may live: the limits of an authentication
// assurance level, and how far a deadline may be moved. It asks nobody.
package lifetime

import "time"

// Limits bound how long a login is good for. Zero is no limit.
type Limits struct {
	Absolute time.Duration // from the moment in which the user proved who they are
	Idle     time.Duration // without a request
}

// limits are the reauthentication timeouts of NIST SP 800-63B-4, sections 2.1.3, 2.2.3 and
// 2.3.3.
var limits = [...]Limits{
	{},
	{Absolute: 30 * 24 * time.Hour},
	{Absolute: 24 * time.Hour, Idle: time.Hour},
	{Absolute: 12 * time.Hour, Idle: 15 * time.Minute},
}

// Highest is the highest level that there is.
const Highest = len(limits) - 1

// Of returns the limits of an authentication assurance level, 1 to Highest. 0, and what is
// no level, has none.
func Of(level int) Limits {
	if level < 0 || level > Highest {
		return Limits{}
	}
	return limits[level]
}

// Within returns d, or the limit if that is shorter. Zero as a limit is none.
func Within(d, limit time.Duration) time.Duration {
	if limit > 0 {
		return min(d, limit)
	}
	return d
}

// Exceeds tells whether d is beyond the limit. Zero as a limit is none.
func Exceeds(d, limit time.Duration) bool { return limit > 0 && d > limit }

// Term is what the end of a session goes by. Times are Unix seconds.
type Term struct {
	Deadline int64         // when the session ends so far
	Ceiling  int64         // what Deadline must never pass; 0 for nothing
	Life     time.Duration // what it gets when its life begins anew
	Proved   int64         // when its user proved who they are; 0 if nobody has
	Limit    time.Duration // how long that proof is good for; 0 for no limit
}

// Extended returns when the session ends if its life begins anew at now: never sooner than
// so far.
func (t Term) Extended(now time.Time) int64 {
	to := now.Add(t.Life).Unix()
	if t.Proved != 0 && t.Limit > 0 {
		to = min(to, t.Proved+int64(t.Limit/time.Second))
	}
	if t.Ceiling != 0 {
		to = min(to, t.Ceiling)
	}
	return max(t.Deadline, to)
}

// Limited returns the term with a ceiling at to, or at the one that it has if that is sooner.
func (t Term) Limited(to int64) Term {
	if t.Ceiling == 0 || to < t.Ceiling {
		t.Ceiling = to
	}
	t.Deadline = min(t.Deadline, t.Ceiling)
	return t
}
