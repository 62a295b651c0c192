package capacity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ownServer is a redis-server of our own. It listens on a socket in a folder that
// nobody else may enter: a port would be open to every user of the machine.
type ownServer struct {
	url    string
	dir    string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
}

const (
	startPatience = 10 * time.Second
	pollInterval  = 5 * time.Millisecond
)

// startServer starts an empty Redis that keeps nothing on disk.
func startServer(ctx context.Context) (*ownServer, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("no redis-server in the PATH: install it, or name an empty Redis by --url")
	}
	dir, err := os.MkdirTemp("", "capacity")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the temporary Redis: %w", err)
	}
	socket := filepath.Join(dir, "redis.sock")
	s := &ownServer{url: "unix://" + socket, dir: dir, exited: make(chan struct{})}
	s.cmd = exec.Command(binary, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "600", "--dir", dir,
		"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--loglevel", "warning", "--logfile", s.log())
	apart(s.cmd)
	if err := s.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("starting redis-server: %w", err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.await(ctx, socket); err != nil {
		err = s.explain(err)
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *ownServer) log() string { return filepath.Join(s.dir, "redis.log") }

// await returns when the server answers.
func (s *ownServer) await(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for {
		if _, err := os.Stat(socket); err == nil && client.Ping(ctx).Err() == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("starting redis-server: it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("starting redis-server: %w", ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// stop ends the server, which has nothing to save, and removes its folder.
func (s *ownServer) stop() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	_ = os.RemoveAll(s.dir)
}

// explain says instead of err how the server ended, if it did.
func (s *ownServer) explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.exited:
	default:
		return err
	}
	text, _ := os.ReadFile(s.log())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("redis-server has ended (%s), perhaps for lack of memory: %v; it said last: %q", s.cmd.ProcessState, err, lines[len(lines)-1])
}
