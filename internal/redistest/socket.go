package redistest

import (
	"os"
	"path/filepath"
	"testing"
)

// StartUnix starts a Redis that listens on a unix socket only.
func StartUnix(t testing.TB) *Server {
	t.Helper()
	requireRedis(t)
	// A socket's path has at most 103 bytes on some systems; the name of the test in t.TempDir can be longer.
	dir, err := os.MkdirTemp("", "rs")
	if err != nil {
		t.Fatalf("redistest: creating the folder of the socket: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	s, err := launchOne(t, flavour{
		addr: socket,
		url:  "unix://" + socket,
		args: append(volatileArgs(t), "--port", "0", "--unixsocket", socket),
	})
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return s
}
