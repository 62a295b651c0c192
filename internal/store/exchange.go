package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/rediserr"
)

// Error is what went wrong at the door. Its text holds no key, no argument and no
// value.
type Error struct {
	Command string // what was sent, by its name
	Key     string // under which the node was looked for; not part of the text
	Side    breaker.Side
	Meaning rediserr.Meaning
	text    string
	cause   error
}

// Error names the command and what was said.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Command, e.text) }

// Unwrap returns what go-redis said.
func (e *Error) Unwrap() error { return e.cause }

// MeaningOf tells what an error of a Store means. An error that is none of a Store's
// concerns the caller, and was executed nowhere.
func MeaningOf(err error) rediserr.Meaning {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Meaning
	}
	return rediserr.Meaning{}
}

// exchange is what is about to be sent.
type exchange struct {
	command string
	key     string // by which the node is found
	side    breaker.Side
	script  bool
	node    bool            // goes to one node of a cluster, whatever has its keys: the breaker is not asked, nor told
	fill    func(*exchange) // makes pipe and parts, anew for each try; nil for a single command
	pipe    redis.Pipeliner
	parts   []part // of pipe, whose nodes may be several
}

// part is a command of a pipeline.
type part struct {
	key string // by which its node is found
	cmd redis.Cmder
}

// failed is the error of the part, but for what is no error: that nothing lies there, or
// something else; or that Redis does not know the script yet.
func (p part) failed() error {
	if err := foreignIsNoError(p.cmd.Err()); err != nil && !rediserr.NoScript(err) {
		return err
	}
	return nil
}

// patience is the key of a context's Budget.
type patience struct{}

// Patient returns a context whose exchanges wait while an outage is young, as long as
// budget lasts. A command that may have been executed is not sent again. With nil they do
// not wait, as without Patient.
func Patient(ctx context.Context, budget *breaker.Budget) context.Context {
	return context.WithValue(ctx, patience{}, budget)
}

// exchangePipeline is exchange for the pipeline that fill makes: it adds commands to e.pipe,
// and to e.parts those that count.
func (s *Store) exchangePipeline(ctx context.Context, e exchange, fill func(*exchange)) error {
	e.fill = fill
	return s.exchange(ctx, e, nil)
}

// exchange sends e by send, unless a node of it is known to be away, and tells the breaker
// how it went. If ctx is Patient it may call send again. Once ctx is over, what send fills
// must not be looked at: with a client that does not honour contexts, send may still be
// running.
func (s *Store) exchange(ctx context.Context, e exchange, send func(context.Context) error) error {
	budget, _ := ctx.Value(patience{}).(*breaker.Budget)
	for leave := func() {}; ; {
		err := s.exchangeOnce(ctx, &e, send)
		leave()
		if err == nil || budget == nil || s.breaker == nil || e.side == breaker.Write && MeaningOf(err).Execution != rediserr.NotExecuted {
			return err
		}
		again, inVain := s.breaker.Await(ctx, e.key, e.side, "", budget, err)
		if inVain != nil {
			return err
		}
		leave = again
	}
}

func (s *Store) exchangeOnce(ctx context.Context, e *exchange, send func(context.Context) error) error {
	if e.fill != nil {
		pipe := s.client.Pipeline()
		e.pipe, e.parts = pipe, nil
		e.fill(e)
		send = func(ctx context.Context) error { return execute(ctx, pipe) }
	}
	if err := s.allow(ctx, e); err != nil { // which may say what failed before, with a meaning of its own
		return s.newError(*e, err)
	}
	done := func(int, error) {}
	if s.trace != nil {
		ctx, done = s.trace(ctx, e.names())
	}
	sent := time.Now()
	err := s.topology.Bounded(ctx, send)
	if rediserr.Absent(err) {
		err = nil
	}
	if e.pipe != nil && !(s.unbounded && ctx.Err() != nil) {
		err = s.reportParts(ctx, e, sent, err)
	} else {
		s.report(ctx, *e, sent, err)
	}
	err = s.wrap(*e, err)
	done(0, err)
	return err
}

// names are those of the commands.
func (e *exchange) names() []string {
	if e.pipe == nil {
		return []string{e.command}
	}
	var names []string
	for _, cmd := range e.pipe.Cmds() {
		names = append(names, strings.ToUpper(cmd.Name()))
	}
	return names
}

func (s *Store) allow(ctx context.Context, e *exchange) error {
	if s.breaker == nil || e.node {
		return nil
	}
	if !s.topology.Cluster() || len(e.parts) == 0 {
		return s.breaker.Allow(ctx, e.key, e.side)
	}
	for _, p := range e.parts {
		if err := s.breaker.Allow(ctx, p.key, e.side); err != nil {
			e.key = p.key
			return err
		}
	}
	return nil
}

// reportParts tells the breaker how each node of a pipeline did, so that none is blamed
// for another, and returns the first error. e is then about what that concerns. What
// happened to several commands of a node is told once: a connection that was cut is one
// failure, however many commands it took along.
func (s *Store) reportParts(ctx context.Context, e *exchange, sent time.Time, err error) (first error) {
	if errors.Is(err, rediserr.ErrNotSent) {
		s.report(ctx, *e, sent, err)
		return err
	}
	type news struct{ node, failure string }
	told := make(map[news]bool)
	for _, p := range e.parts {
		failed := p.failed()
		if failed != nil && first == nil {
			first, e.key = failed, p.key
		}
		if s.breaker == nil {
			continue
		}
		is := news{node: s.topology.Primary(ctx, p.key)}
		if failed != nil {
			told[is] = true // what was answered beside it, as a read is, tells nothing more
			is.failure = failed.Error()
		}
		if told[is] {
			continue
		}
		told[is] = true
		s.report(ctx, exchange{command: e.command, key: p.key, side: e.side, script: e.script}, sent, failed)
	}
	return first
}

func (s *Store) report(ctx context.Context, e exchange, sent time.Time, err error) {
	if s.breaker != nil && !e.node {
		s.breaker.Report(ctx, e.key, e.side, sent, s.wrap(e, err))
	}
}

func (s *Store) wrap(e exchange, err error) error {
	// An Error further in is of another exchange: the breaker refuses this one for it.
	if _, wrapped := err.(*Error); wrapped || err == nil {
		return err
	}
	return s.newError(e, err)
}

func (s *Store) newError(e exchange, err error) error {
	return &Error{Command: e.command, Key: e.key, Side: e.side, Meaning: rediserr.Classify(err, e.script), text: s.describe(err), cause: err}
}

// describe says what went wrong without a key, an argument or a value.
func (s *Store) describe(err error) string {
	reply, replied := rediserr.Reply(err)
	switch explained := s.topology.Explain(err); {
	case explained != err: // a cluster's node under the URL of one server
		return explained.Error()
	case replied:
		return reply
	}
	before, _, _ := strings.Cut(err.Error(), `"`) // go-redis quotes what it cannot read: part of a value, if a connection is out of step
	return strings.TrimRight(before, " :")
}
