package rediserr_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/rediserr"
)

const (
	stays, passes, aroundFailover = rediserr.Stays, rediserr.Passes, rediserr.PassesAroundFailover

	caller, connection = rediserr.Caller, rediserr.Connection
	node, writes       = rediserr.Node, rediserr.Writes
	key, bug           = rediserr.Key, rediserr.Bug
)

func refused(r rediserr.Recovery, s rediserr.Scope) rediserr.Meaning {
	return rediserr.Meaning{rediserr.NotExecuted, r, s}
}

func maybe(r rediserr.Recovery, s rediserr.Scope) rediserr.Meaning {
	return rediserr.Meaning{rediserr.MaybeExecuted, r, s}
}

func partly(r rediserr.Recovery, s rediserr.Scope) rediserr.Meaning {
	return rediserr.Meaning{rediserr.MaybePartly, r, s}
}

func check(t *testing.T, err error, script bool, want rediserr.Meaning) {
	t.Helper()
	if got := rediserr.Classify(err, script); got != want {
		t.Errorf("%v, script %v: got %+v, want %+v", err, script, got, want)
	}
}

const noSentinel = "redis: all sentinels specified in configuration are unreachable"

// sentinels is what go-redis returns when no sentinel names the primary.
func sentinels(each ...error) error {
	return fmt.Errorf(noSentinel+": %w", errors.Join(each...))
}

func dial(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
func read(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }

func TestWay(t *testing.T) {
	t.Parallel()
	var (
		errno    = func(n syscall.Errno) error { return os.NewSyscallError("connect", n) }
		distrust = &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
		timeout  = os.ErrDeadlineExceeded
	)
	for _, row := range []struct {
		name    string
		err     error
		command rediserr.Meaning
	}{
		{"no error is nothing to act on", nil, maybe(stays, caller)},
		{"an absent key is nothing to act on", redis.Nil, maybe(stays, caller)},
		{"the caller cancelled", context.Canceled, maybe(stays, caller)},
		{"the caller cancelled while dialling", dial(context.Canceled), refused(stays, caller)},
		{"the client is closed", redis.ErrClosed, refused(stays, caller)},
		{"a deadline passed", context.DeadlineExceeded, maybe(passes, connection)},
		{"no connection became free", redis.ErrPoolTimeout, refused(passes, connection)},
		{"the pool is exhausted", redis.ErrPoolExhausted, refused(passes, connection)},
		{"the cluster's nodes are unknown", errors.New("redis: cluster has no nodes"), refused(passes, connection)},

		{"nobody listens", dial(errno(syscall.ECONNREFUSED)), refused(passes, connection)},
		{"there is no route", dial(errno(syscall.EHOSTUNREACH)), refused(passes, connection)},
		{"a dial takes too long", dial(timeout), refused(passes, connection)},
		{"the socket's file is not there, as during a restart", dial(errno(syscall.ENOENT)), refused(passes, connection)},
		{"the socket may not be opened", dial(errno(syscall.EACCES)), refused(stays, connection)},
		{"the address has no port", dial(&net.AddrError{Err: "missing port in address", Addr: "redis"}), refused(stays, connection)},
		{"an answer takes too long", read(timeout), maybe(passes, connection)},
		{"an answer takes too long, without what net wraps around it", timeout, maybe(passes, connection)},
		{"a write takes too long", &net.OpError{Op: "write", Err: timeout}, maybe(passes, connection)},
		{"the connection is reset", read(errno(syscall.ECONNRESET)), maybe(passes, connection)},
		{"the connection is reset, without what net wraps around it", syscall.ECONNRESET, maybe(passes, connection)},
		{"the connection ends", io.EOF, maybe(passes, connection)},
		{"the connection ends inside a reply", io.ErrUnexpectedEOF, maybe(passes, connection)},
		{"the connection was closed under the command", net.ErrClosed, maybe(passes, connection)},
		{"what came is no reply", errors.New(`redis: can't parse "HTTP/1.1 400 Bad Request"`), maybe(passes, connection)},

		{"there is no such host", dial(&net.DNSError{Err: "no such host", Name: "redis", IsNotFound: true}), refused(stays, connection)},
		{"the name server misbehaves", dial(&net.DNSError{Err: "server misbehaving", Name: "redis", IsTemporary: true}), refused(passes, connection)},
		{"the name server does not answer", dial(&net.DNSError{Err: "i/o timeout", Name: "redis", IsTimeout: true}), refused(passes, connection)},
		{"the name server refuses for now", &net.DNSError{Err: "no such host", IsNotFound: true, IsTemporary: true}, refused(passes, connection)},

		{"nobody vouches for the certificate", distrust, refused(stays, connection)},
		{"the certificate has expired", &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, refused(stays, connection)},
		{"the port does not speak TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake", Conn: &net.TCPConn{}}, refused(stays, connection)},
		{"a record of TLS is garbled", tls.RecordHeaderError{Msg: "unsupported SSLv2 handshake received"}, maybe(stays, connection)},
		{"the server's TLS is too old", errors.New("tls: server selected unsupported protocol version 301"), maybe(stays, connection)},
		{"the server sends an alert", &net.OpError{Op: "remote error", Err: tls.AlertError(42)}, maybe(stays, connection)},

		{"the sentinels are away", sentinels(dial(errno(syscall.ECONNREFUSED)), timeout), refused(passes, connection)},
		{"the sentinels do not know the name", sentinels(redis.Nil, redis.Nil), refused(stays, connection)},
		{"the sentinels want a password", sentinels(answered("NOAUTH Authentication required.")), refused(stays, connection)},
		{"one sentinel is away, one wants a password", sentinels(answered("NOAUTH Authentication required."), io.EOF), refused(passes, connection)},
		{"the caller cancelled while sentinels were asked", sentinels(context.Canceled, context.Canceled), refused(stays, caller)},
		{"the sentinels are away, without a reason", errors.New(noSentinel), refused(passes, connection)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			check(t, row.err, false, row.command)
			script := row.command
			if script.Execution == rediserr.MaybeExecuted && row.err != nil && !rediserr.Absent(row.err) {
				script.Execution = rediserr.MaybePartly
			}
			check(t, row.err, true, script)
		})
	}
}

func TestWrappedAndJoined(t *testing.T) {
	t.Parallel()
	unknown := errors.New("the moon is full")
	late := read(os.ErrDeadlineExceeded)
	for _, row := range []struct {
		name string
		err  error
		want rediserr.Meaning
	}{
		{"not sent, without a reason", rediserr.ErrNotSent, refused(passes, connection)},
		{"not sent, with the reason wrapped once more", fmt.Errorf("saving: %w", fmt.Errorf("%w: %w", rediserr.ErrNotSent, io.EOF)), refused(passes, connection)},
		{"not sent for a reason that stays", fmt.Errorf("%w: %w", rediserr.ErrNotSent, answered("WRONGPASS no")), refused(stays, connection)},
		{"not sent for an unknown reason", fmt.Errorf("%w: %w", rediserr.ErrNotSent, unknown), refused(passes, connection)},
		{"not sent since the caller cancelled", fmt.Errorf("%w: %w", rediserr.ErrNotSent, context.Canceled), refused(stays, caller)},

		{"a wrapped error is what it wraps", fmt.Errorf("saving: %w", late), maybe(passes, connection)},
		{"a wrapped reply is what it wraps", fmt.Errorf("saving: %w", answered("OOM no")), refused(stays, writes)},
		{"what only names the deed does not count", fmt.Errorf("%w: %w", unknown, answered("OOM no")), refused(stays, writes)},
		{"of joined errors one lost its reply", errors.Join(fmt.Errorf("%w: %w", rediserr.ErrNotSent, io.EOF), late), maybe(passes, connection)},
		{"of joined errors one stays", errors.Join(late, answered("NOPERM no")), maybe(stays, node)},
		{"of joined errors one passes around a failover alone", errors.Join(answered("LOADING"), answered("READONLY no")), refused(aroundFailover, writes)},
		{"an unknown error passes", unknown, maybe(passes, connection)},
		{"joined unknown errors pass", errors.Join(unknown, unknown), maybe(passes, connection)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			check(t, row.err, false, row.want)
		})
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		err  error
		want bool
	}{
		{"redis.Nil is absence", redis.Nil, true},
		{"redis.Nil wrapped is absence", fmt.Errorf("loading: %w", redis.Nil), true},
		{"no error is none", nil, false},
		{"a reply is none", answered("ERR no"), false},
		{"sentinels that do not know the name are none", sentinels(redis.Nil), false},
		{"redis.Nil among others is none", errors.Join(redis.Nil, io.EOF), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := rediserr.Absent(row.err); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestQuestionsAboutOneReply(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name                string
		err                 error
		wrongType, noScript bool
	}{
		{"WRONGTYPE", answered("WRONGTYPE Operation against a key"), true, false},
		{"WRONGTYPE wrapped", fmt.Errorf("loading: %w", answered("WRONGTYPE no")), true, false},
		{"WRONGTYPE behind ERR", answered("ERR WRONGTYPE no"), true, false},
		{"NOSCRIPT", answered("NOSCRIPT No matching script. Please use EVAL."), false, true},
		{"go-redis's own NOSCRIPT", redis.ErrNoScript, false, true},
		{"another reply", answered("ERR no"), false, false},
		{"an error with the same text that is no reply", errors.New("NOSCRIPT"), false, false},
		{"absence", redis.Nil, false, false},
		{"no error", nil, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if rediserr.WrongType(row.err) != row.wrongType || rediserr.NoScript(row.err) != row.noScript {
				t.Errorf("got %v and %v", rediserr.WrongType(row.err), rediserr.NoScript(row.err))
			}
		})
	}
}

func TestTimedOut(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		err  error
		want bool
	}{
		{"a deadline", context.DeadlineExceeded, true},
		{"a dial", dial(os.ErrDeadlineExceeded), true},
		{"a read", fmt.Errorf("saving: %w", read(os.ErrDeadlineExceeded)), true},
		{"the wait for a connection", redis.ErrPoolTimeout, true},
		{"an exhausted pool", redis.ErrPoolExhausted, true},
		{"a lookup", &net.DNSError{IsTimeout: true}, true},
		{"a cancelled context is none", context.Canceled, false},
		{"a refused dial is none", dial(syscall.ECONNREFUSED), false},
		{"the end of a connection is none", io.EOF, false},
		{"a reply is none", answered("BUSY"), false},
		{"no error is none", nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := rediserr.TimedOut(row.err); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestReplyTellsAnswersFromTheWay(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, redis.Nil, io.EOF, context.Canceled, redis.ErrClosed, rediserr.ErrNotSent} {
		if text, ok := rediserr.Reply(err); ok || text != "" {
			t.Errorf("%v: got %q, %v", err, text, ok)
		}
	}
	long := answered("ERR " + strings.Repeat("word ", 1000))
	if text, ok := rediserr.Reply(fmt.Errorf("saving: %w", long)); !ok || len(text) > 200 {
		t.Errorf("got %d bytes, %v", len(text), ok)
	}
}
