package redistest_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/redistest"
)

func TestServerDiesWithATestThatEndsWithoutCleanup(t *testing.T) {
	const role = "REDISTEST_DIES"
	if os.Getenv(role) != "" {
		fmt.Printf("\naddr=%s\n", redistest.Start(t).Addr)
		os.Exit(0)
	}
	t.Parallel()
	requireServer(t)
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), role+"=1")
	out, err := child.Output()
	if err != nil {
		t.Fatalf("running the child: %v", err)
	}
	_, addr, found := bytes.Cut(out, []byte("\naddr="))
	if !found {
		t.Fatalf("the child started no server: %s", out)
	}
	addr, _, _ = bytes.Cut(addr, []byte("\n"))
	eventually(t, "the server to be gone", func() bool {
		conn, err := net.DialTimeout("tcp", string(addr), time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// requireServer skips the test where there is no redis-server.
func requireServer(t *testing.T) {
	t.Helper()
	redistest.Start(t).Kill()
}
