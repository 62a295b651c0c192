package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// patience bounds every wait. A server answers after 10 ms; a loaded machine under the race detector needs far longer.
	patience     = 20 * time.Second
	pollInterval = 2 * time.Millisecond
	portAttempts = 5
)

var errPortTaken = errors.New("port is taken")

// flavour is what distinguishes one kind of server from another.
type flavour struct {
	args      []string
	addr, url string
	tls       *tls.Config
}

// launch starts the flavour on a free port, and on another one if a stranger took the port in between.
func launch(t testing.TB, on func(port int) flavour) *Server {
	t.Helper()
	requireRedis(t)
	for range portAttempts {
		s, err := launchOne(t, on(reservePort(t)))
		if err == nil {
			return s
		}
		if !errors.Is(err, errPortTaken) {
			t.Fatalf("redistest: %v", err)
		}
	}
	t.Fatalf("redistest: %d ports that were free were taken when redis-server wanted them", portAttempts)
	return nil
}

func launchOne(t testing.TB, f flavour) (*Server, error) {
	t.Helper()
	s := &Server{Addr: f.addr, URL: f.url, t: t, args: f.args, tls: f.tls, log: filepath.Join(t.TempDir(), "redis.log")}
	t.Cleanup(s.Kill)
	return s, s.start()
}

func requireRedis(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("redis-server")
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("redistest: %v: CI has to install it (apt-get install redis-server)", err)
	default:
		t.Skipf("redistest: %v: install it to run this test (apt-get install redis-server; brew install redis)", err)
	}
}

// start runs the process and returns when it answers. On an error no process is left.
func (s *Server) start() error {
	exited, err := s.spawn()
	if err != nil {
		return fmt.Errorf("starting redis-server: %w", err)
	}
	if err := s.awaitAnswer(exited); err != nil {
		s.Kill()
		return err
	}
	return nil
}

func (s *Server) spawn() (exited chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("redis-server", s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited = make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.process, s.exited = cmd.Process, exited
	return exited, nil
}

func (s *Server) awaitAnswer(exited <-chan struct{}) error {
	deadline := time.Now().Add(patience)
	for {
		answered := s.answers()
		select {
		case <-exited:
			tail := s.logTail()
			if strings.Contains(tail, "in use") {
				return fmt.Errorf("starting redis-server on %s: %w", s.Addr, errPortTaken)
			}
			return fmt.Errorf("redis-server ended at once: %s", tail)
		default:
		}
		if answered {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer to PING within %v: %s", patience, s.logTail())
		}
		time.Sleep(pollInterval)
	}
}

// answers sends one PING. A refusal (NOAUTH) is an answer too, so that every flavour can be asked in the same way.
func (s *Server) answers() bool {
	network := "tcp"
	if filepath.IsAbs(s.Addr) {
		network = "unix"
	}
	conn, err := net.DialTimeout(network, s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if s.tls != nil {
		conn = tls.Client(conn, s.tls)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && !strings.HasPrefix(line, "-LOADING")
}

// await polls until check returns nil, and fails the test with its last error when that takes too long.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("redistest: waiting for %s: %v", what, err)
		}
		time.Sleep(pollInterval)
	}
}
