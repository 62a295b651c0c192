package browsertest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// binary is the demo, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if chromium() != "" {
		binary = filepath.Join(dir, "demo")
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the demo: %v\n%s", err, out)
			return 1
		}
	}
	defer stopShared()
	return m.Run()
}

var ready = regexp.MustCompile(`open (https?://\S+)`)

// startDemo starts a demo of the test's own, with a Redis inside, and returns
// its address.
func startDemo(t *testing.T, flags ...string) string {
	t.Helper()
	needBrowser(t)
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "REDSESSION_") })
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	var log bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { read(stderr, &log, address) })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo: %v", err)
		}
		if t.Failed() {
			t.Logf("the demo's log:\n%s", &log)
		}
	})
	base, ok := <-address
	if !ok {
		t.Fatal("the demo ended before it was ready")
	}
	return base
}

// read copies the lines of a demo to log, and hands on the address in the one
// that says that the demo is ready.
func read(lines io.Reader, log *bytes.Buffer, address chan<- string) {
	defer close(address)
	found := false
	for s := bufio.NewScanner(lines); s.Scan(); {
		fmt.Fprintln(log, s.Text())
		if match := ready.FindStringSubmatch(s.Text()); match != nil && !found {
			found = true
			address <- match[1]
		}
	}
}
