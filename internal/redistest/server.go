// Package redistest gives tests real Redis servers on free ports of the loopback interface, and a proxy that injects
// faults in front of them. It needs the redis-server binary; a test that asks for a server without it is skipped, and
// fails where the environment variable CI is "true".
package redistest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is one redis-server process. It is killed when its test ends. Its methods may be called from several
// goroutines, Restart only from the test's own.
type Server struct {
	// Addr is host:port, or the path of the unix socket.
	Addr string
	// URL is what a client is configured with: user, password and transport included.
	URL string

	t    testing.TB
	args []string
	log  string
	tls  *tls.Config // nil without TLS

	mu      sync.Mutex
	process *os.Process   // nil when none was started or the last one was ended
	exited  chan struct{} // closed once process has been reaped
}

// Start starts a Redis that stores nothing on disk. The args go to redis-server after the package's own and override
// them.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return launch(t, func(port int) flavour { return plain(t, port, args...) })
}

func plain(t testing.TB, port int, args ...string) flavour {
	t.Helper()
	own := append(volatileArgs(t), "--port", fmt.Sprint(port), "--bind", "127.0.0.1")
	return flavour{addr: loopback(port), url: "redis://" + loopback(port), args: append(own, args...)}
}

func volatileArgs(t testing.TB) []string {
	t.Helper()
	return []string{"--save", "", "--appendonly", "no", "--dir", t.TempDir()}
}

// Client returns a new client with go-redis's default options; the end of the test closes it.
func (s *Server) Client() *redis.Client {
	s.t.Helper()
	options, err := redis.ParseURL(s.URL)
	if err != nil {
		s.t.Fatalf("redistest: parsing the URL of the server: %v", err)
	}
	if s.tls != nil {
		options.TLSConfig = s.tls.Clone()
	}
	client := redis.NewClient(options)
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Kill ends the server with SIGKILL, as a crash would, and waits until it is gone. A server that does not run is left
// alone.
func (s *Server) Kill() {
	s.t.Helper()
	s.end(os.Kill)
}

// Stop ends the server with SIGTERM, so that it shuts down in order, and waits until it is gone.
func (s *Server) Stop() {
	s.t.Helper()
	s.end(terminate)
}

// Restart starts the server again on the same port and directory with the same arguments, after a Stop if it still
// runs, and returns when it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("redistest: restarting: %v", err)
	}
}

// Pause freezes the server with SIGSTOP: the kernel still accepts connections and bytes for it, nothing is answered.
// It returns when the server has come to a halt.
func (s *Server) Pause() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Error("redistest: pausing a server that does not run")
		return
	}
	s.signalLocked(freeze)
	deadline := time.Now().Add(patience)
	for !halted(s.process.Pid) {
		if time.Now().After(deadline) {
			s.t.Error("redistest: the server does not halt on SIGSTOP")
			return
		}
		time.Sleep(pollInterval)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.signalLocked(thaw)
	}
}

func (s *Server) end(signal os.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	s.signalLocked(signal)
	if signal != os.Kill {
		// A paused process takes no other signal before this one.
		s.signalLocked(thaw)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Errorf("redistest: the server does not end on %v", signal)
		s.signalLocked(os.Kill)
		<-s.exited
	}
	s.process = nil
}

func (s *Server) signalLocked(signal os.Signal) {
	s.t.Helper()
	if err := s.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("redistest: signalling the server: %v", err)
	}
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process != nil
}

// logTail returns the end of what the server printed, where a failed start is explained.
func (s *Server) logTail() string {
	const enough = 2000
	text, err := os.ReadFile(filepath.Clean(s.log))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-enough):])
}
