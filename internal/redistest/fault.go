package redistest

import "time"

// faults are what a Proxy does wrong at present.
type faults struct {
	cutReply, cutRequest func(args []string) bool
	reply                func(args []string) (string, bool)
	truncate             func(args []string) (int, bool)
	delay                time.Duration
	blackhole            bool
}

// fate is what becomes of one command and its reply.
type fate struct {
	counted  bool
	answered bool   // by the proxy, with answer; the command is not forwarded
	answer   string // raw RESP
	limit    int    // how many bytes of Redis's reply pass; negative: all
	last     bool   // the connection ends here
}

func (f faults) judge(c command) fate {
	passed := fate{counted: !c.isHandshake() && !c.isUpkeep(), limit: -1}
	if c.isHandshake() {
		return passed
	}
	if f.cutRequest != nil && f.cutRequest(c.args) {
		return fate{counted: passed.counted, answered: true, last: true}
	}
	if f.reply != nil {
		if answer, ok := f.reply(c.args); ok {
			return fate{counted: passed.counted, answered: true, answer: answer}
		}
	}
	if f.truncate != nil {
		if n, ok := f.truncate(c.args); ok {
			return fate{counted: passed.counted, limit: max(n, 0), last: true}
		}
	}
	if f.cutReply != nil && f.cutReply(c.args) {
		return fate{counted: passed.counted, limit: 0, last: true}
	}
	return passed
}
