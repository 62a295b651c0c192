package rediserr

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// judge returns what err means, and whether anything in it is known.
func judge(err error, script bool) (m Meaning, known bool) {
	all := branches(err)
	switch {
	case strings.Contains(err.Error(), "redis: all sentinels specified in configuration are unreachable"):
		return judgeSentinels(all), true
	case all != nil:
		return judgeAll(all, script)
	}
	if text, ok := reply(err); ok {
		return judgeReply(text, script), true
	}
	return judgeWay(err)
}

// branches returns the errors that err joins, nil if it is a single one.
func branches(err error) []error {
	for ; err != nil; err = errors.Unwrap(err) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			return joined.Unwrap()
		}
	}
	return nil
}

// judgeAll returns the worst answers of several errors. What is not known, such as a
// sentinel error that only names what was being done, does not count.
func judgeAll(all []error, script bool) (worst Meaning, known bool) {
	notSent := false
	for _, err := range all {
		if err == ErrNotSent {
			notSent = true
			continue
		}
		m, ok := judge(err, script)
		if !ok {
			continue
		}
		if !known {
			worst, known = m, true
			continue
		}
		execution := max(worst.Execution, m.Execution)
		if weight(m.Recovery) > weight(worst.Recovery) {
			worst = m
		}
		worst.Execution = execution
	}
	if notSent && !known {
		worst, known = Meaning{Recovery: Passes, Scope: Connection}, true
	}
	if notSent {
		worst.Execution = NotExecuted
	}
	return worst, known
}

// weight orders recoveries by how little hope they leave.
func weight(r Recovery) int {
	return [...]int{Passes: 0, PassesAroundFailover: 1, Stays: 2}[r]
}

// judgeSentinels returns what it means that no sentinel named the primary. It passes
// if it does for one of them. A sentinel that does not know the primary's name answers
// with redis.Nil.
func judgeSentinels(all []error) Meaning {
	m := Meaning{NotExecuted, Stays, Connection}
	if len(all) == 0 {
		m.Recovery = Passes
	}
	for _, err := range all {
		if Absent(err) {
			continue
		}
		one := Classify(err, false)
		if one.Scope == Caller {
			return Meaning{NotExecuted, Stays, Caller}
		}
		if one.Recovery != Stays {
			m.Recovery = Passes
		}
	}
	return m
}

// judgeWay returns the meaning of an error on the way to Redis.
func judgeWay(err error) (Meaning, bool) {
	var (
		op      *net.OpError
		dns     *net.DNSError
		address *net.AddrError
	)
	execution := MaybeExecuted
	dialled := errors.As(err, &op) && op.Op == "dial"
	if dialled || beforeSending(err) {
		execution = NotExecuted
	}
	switch {
	case errors.Is(err, redis.ErrClosed):
		return Meaning{NotExecuted, Stays, Caller}, true
	case errors.Is(err, context.Canceled):
		return Meaning{execution, Stays, Caller}, true
	case errors.As(err, &dns):
		return Meaning{NotExecuted, lookUpAgain(dns), Connection}, true
	case errors.As(err, &address), dialled && errors.Is(err, fs.ErrPermission), isTLS(err):
		return Meaning{execution, Stays, Connection}, true
	}
	return Meaning{execution, Passes, Connection}, execution == NotExecuted || TimedOut(err) || isNetwork(err)
}

// lookUpAgain says whether a name that could not be resolved may be later.
func lookUpAgain(err *net.DNSError) Recovery {
	if err.IsNotFound && !err.IsTemporary && !err.IsTimeout {
		return Stays
	}
	return Passes
}

// beforeSending tells whether err comes before there is a connection to send by. For
// what go-redis does not export there is only its text.
func beforeSending(err error) bool {
	var (
		distrust *tls.CertificateVerificationError
		plain    tls.RecordHeaderError
	)
	for _, target := range []error{ErrNotSent, redis.ErrPoolTimeout, redis.ErrPoolExhausted} {
		if errors.Is(err, target) {
			return true
		}
	}
	if errors.As(err, &distrust) || errors.As(err, &plain) && plain.Conn != nil {
		return true
	}
	for _, text := range []string{
		"redis: cluster has no nodes",
		"redis: connection is not usable",
		"redis: connection pool has no free turn",
		"redis: timed out trying to mark connection as unusable",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// isTLS tells whether the two sides do not agree on TLS. Alerts have no exported type,
// and go-redis takes off what net wraps around them.
func isTLS(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ") {
			return true
		}
	}
	return false
}

// isNetwork tells whether err is one that a connection gives.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
