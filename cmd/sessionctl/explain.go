package main

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

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// explain says what went wrong with the Redis at place and what to do. Errors
// of go-redis hold no password.
func explain(err error, place string) string {
	if errors.Is(err, redis.Nil) { // of all sentinels; whoever asks for a key takes nil for an answer
		return place + ": the sentinels name no master of this name: is it right, and behind the hosts in the URL?"
	}
	if text := explainReply(err); text != "" {
		return fmt.Sprintf("%s: %s", place, text)
	}
	var unknown x509.UnknownAuthorityError
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	var header tls.RecordHeaderError
	var timeout net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &unknown):
		return place + ": its certificate is of an authority that this machine does not trust: add ?ca=FILE to the URL, with the authority's PEM file"
	case errors.As(err, &cert):
		return fmt.Sprintf("%s: %s", place, cert)
	case errors.As(err, &header):
		return place + ": this port does not speak TLS: write redis:// instead of rediss://, or give the TLS port"
	case errors.As(err, &dns):
		return fmt.Sprintf("%s: there is no host of the name %s: is the URL right?", place, clean(dns.Name))
	case errors.Is(err, os.ErrNotExist):
		return place + ": there is no such socket: is Redis running, and is the path right?"
	case errors.Is(err, os.ErrPermission):
		return place + ": this user may not open the socket"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &timeout) && timeout.Timeout():
		if strings.HasPrefix(place, "rediss") { // a Redis without TLS waits for the end of a line
			return place + " does not answer in time: does this port speak TLS? --timeout allows for more"
		}
		return place + " does not answer in time: is it overloaded, or does a firewall drop the packets? --timeout allows for more"
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("cannot reach %s (%s): is Redis running there, and is the URL right?", place, op.Err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.As(err, &op):
		return place + " closed the connection: if it wants TLS, write rediss://"
	case strings.Contains(err.Error(), "all sentinels"):
		return fmt.Sprintf("%s: the sentinels name no master (%s): are they running, and is the master's name right?", place, firstLine(err))
	}
	return fmt.Sprintf("%s: %s", place, firstLine(err))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return clean(strings.TrimPrefix(line, "redsession: "))
}

// explainReply explains what Redis itself refused, "" if it was something else.
func explainReply(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	text := reply.Error()
	advice := []struct{ sign, text string }{
		{"WRONGPASS", "Redis refuses this user or password: is the URL right?"},
		{"ERR invalid password", "Redis refuses this password: is the URL right?"},
		{"NOAUTH", "Redis wants a password: put it into the URL, redis://user:password@host:6379/0"},
		{"ERR AUTH", "the URL has a password, and this Redis has none: leave it out"},
		{"LOADING", "Redis has just started and is reading its data from disk: try again in a moment"},
		{"READONLY", "this is a replica, which takes no writes: use the master's address, or redis+sentinel://"},
		{"MASTERDOWN", "this is a replica that has lost its master"},
		{"MISCONF", "Redis takes no writes since it cannot save to disk: `sessionctl doctor` says more"},
		{"OOM", "Redis is full: `sessionctl doctor` says more"},
		{"CLUSTERDOWN", "the cluster is down, since not all of its slots have a master: `redis-cli --cluster check HOST:PORT` says more"},
		{"ERR This instance has cluster support disabled", "this is no cluster: write redis:// (or rediss://)"},
		{"ERR invalid DB index", "there is no database of this number: the number is at the end of the URL"},
		{"ERR DB index is out of range", "there is no database of this number: the number is at the end of the URL"},
	}
	for _, a := range advice {
		if strings.HasPrefix(text, a.sign) {
			return a.text
		}
	}
	if why, ok := server.Denied(err); ok {
		return fmt.Sprintf("Redis does not allow this: %s", why)
	}
	return clean(text)
}
