//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd || solaris || illumos

package redisurl

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// SyscallConn is what go-redis asks an idle connection for before it uses it again: it
// reads a byte of the socket without consuming it, and expects none. On TLS that byte
// would prove nothing, since servers send session tickets unasked (RFC 8446, 4.6.1), so
// go-redis does not look there. This connection looks for itself: the error says that it
// is of no use any more, and go-redis then makes another one.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	switch {
	case c.socket == nil: // neither kind that net.Dialer makes is without one
		return nil, errNoSocket
	case c.secure == nil:
		return c.socket, nil
	}
	return lookedAt{}, c.check(c.socket)
}

const (
	// glance is long enough to take in what the kernel holds already.
	glance = time.Millisecond
	// mostGlances bounds the look at a server that never stops sending.
	mostGlances = 20
)

var errNoSocket = errors.New("not a socket")

var errUnasked = errors.New("the server sent data that nobody asked for")

// check takes in what TLS itself has to say, if anything has come. It returns an error
// if the connection was ended or the server said more than that.
func (c *conn) check(socket syscall.RawConn) error {
	for range mostGlances {
		_ = c.raw.SetReadDeadline(time.Time{})
		if waiting, err := peek(socket); err != nil || !waiting {
			return err
		}
		_ = c.raw.SetReadDeadline(time.Now().Add(glance))
		if _, err := c.secure.Read(make([]byte, 1)); err == nil {
			break
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return errUnasked
}

// peek tells whether the kernel holds data for socket, and returns an error if the
// connection is over.
func peek(socket syscall.RawConn) (waiting bool, err error) {
	var n int
	var failed error
	err = socket.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, failed = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(failed, syscall.EAGAIN) || errors.Is(failed, syscall.EINTR):
		return false, nil
	case failed != nil:
		return false, failed
	case n == 0:
		return false, io.EOF
	}
	return true, nil
}

// lookedAt is a socket that was found in order: there is nothing left to read of it.
type lookedAt struct{}

func (lookedAt) Control(func(uintptr)) error    { return nil }
func (lookedAt) Read(func(uintptr) bool) error  { return nil }
func (lookedAt) Write(func(uintptr) bool) error { return nil }
