// Package rediserr says what an error of go-redis means: whether the command was
// executed, whether the cause passes by itself, and whom it concerns. Everybody who
// has to decide because of an error asks here, so that no two of them disagree.
//
// All functions are pure and may be called concurrently.
package rediserr

import (
	"errors"

	"github.com/redis/go-redis/v9"
)

// Execution says whether the command or the script was executed in spite of the error.
// The values are ordered: what is known least comes last.
type Execution uint8

const (
	// NotExecuted is certain: it may be sent again.
	NotExecuted Execution = iota
	// MaybeExecuted is that nobody can tell, as when a reply is lost.
	MaybeExecuted
	// MaybePartly is that a script may have been executed up to some command in it. So
	// is every error of a script but those that refuse it before it begins (NOSCRIPT,
	// NOPERM, LOADING, MOVED and the like). That is the cautious answer for OOM, MISCONF,
	// READONLY and NOREPLICAS, which Redis gives before a script's first write only.
	MaybePartly
)

// Recovery says whether the cause passes without anybody's help.
type Recovery uint8

const (
	// Stays until somebody repairs it: to wait for it is useless.
	Stays Recovery = iota
	// Passes by itself: a restart, a failover, a network that comes back.
	Passes
	// PassesAroundFailover is what passes shortly after a failover or a reconnect, and
	// stays at any other time.
	PassesAroundFailover
)

// Scope says what the error is about, and so what else will fail.
type Scope uint8

const (
	// Caller is the caller alone: it cancelled its context, or closed the client.
	Caller Scope = iota
	// Connection is the way to Redis: no node answered, or it lets this client in by no
	// means (address, TLS, password, database number, protocol).
	Connection
	// Node is that a node answers, and serves nobody (LOADING), or does not serve this
	// command to this user (NOPERM, a command that it does not have).
	Node
	// Writes is that the node reads but does not write.
	Writes
	// Key is this key, or this one command.
	Key
	// Bug is a mistake of this program or of its configuration: wrong arguments, keys of
	// different slots, a script that fails, a cluster asked by a client for one server
	// (MOVED).
	Bug
)

// Meaning is the three answers about one error. Its zero value is the mildest: nothing
// was executed, and only the caller is concerned.
type Meaning struct {
	Execution Execution
	Recovery  Recovery
	Scope     Scope
}

// ErrNotSent marks, by fmt.Errorf("%w: %w", ErrNotSent, err), an error whose command
// is known never to have been sent. The other two answers are those for err; for
// ErrNotSent alone they are Passes and Connection.
var ErrNotSent = errors.New("not sent")

// Classify says what err means. With script, err is that of EVAL or EVALSHA. A nil
// error and an absent key mean MaybeExecuted, Stays and Caller: nothing is wrong, and
// nothing is to be sent again.
//
// A reply that nobody knows is MaybeExecuted, Stays and Node. An error on the way to
// Redis that nobody knows is MaybeExecuted, Passes and Connection. Of joined errors
// the worst answers count; only sentinels are alternatives, of which one is enough.
//
// The deadline of a context is taken for silence of Redis, since the error does not
// tell whose deadline it was.
func Classify(err error, script bool) Meaning {
	if err == nil || Absent(err) {
		return Meaning{MaybeExecuted, Stays, Caller}
	}
	m, known := judge(err, script)
	if !known {
		m = Meaning{MaybeExecuted, Passes, Connection}
	}
	if script && m.Execution == MaybeExecuted {
		m.Execution = MaybePartly
	}
	return m
}

// Absent tells whether err is the reply that there is no such key. It is false for a
// redis.Nil among joined errors: sentinels that do not know the primary's name answer
// so, which must not be taken for a session that does not exist.
func Absent(err error) bool {
	return errors.Is(err, redis.Nil) && branches(err) == nil
}

// WrongType tells whether err is the reply that the key holds a value of another type.
func WrongType(err error) bool { return repliedWith(err, "WRONGTYPE") }

// NoScript tells whether err is the reply that Redis does not know the script's hash,
// after a restart or SCRIPT FLUSH. Nothing of the script was executed.
func NoScript(err error) bool { return repliedWith(err, "NOSCRIPT") }

// TimedOut tells whether time ran out: that of a context, of the network, or of the
// wait for a connection of the pool. It says nothing about Redis if others were
// answered meanwhile: then it is this process that is slow or has too few connections.
func TimedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// Reply returns Redis's own words and whether err is an answer of Redis rather than an
// error on the way to it; the answer to a handshake counts. The text is at most
// maxReply bytes of one line and safe for logs: it holds no key, value or argument.
func Reply(err error) (text string, ok bool) {
	if text, ok = reply(err); !ok {
		return "", false
	}
	return redact(text), true
}

// reply returns what Redis answered as it came.
func reply(err error) (string, bool) {
	var answer redis.Error
	if !errors.As(err, &answer) || error(answer) == redis.Nil {
		return "", false
	}
	return answer.Error(), true
}

func repliedWith(err error, code string) bool {
	text, ok := reply(err)
	if !ok {
		return false
	}
	rest, _ := unwrapReply(text)
	return begins(rest, code)
}
