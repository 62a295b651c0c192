package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/benchmarks/internal/overhttp"
	"github.com/redsession/redsession/benchmarks/internal/peer"
	"github.com/redsession/redsession/benchmarks/internal/report"
)

func TestMain(m *testing.M) {
	if overhttp.Child() {
		return
	}
	peer.Quiet()
	os.Exit(m.Run())
}

// TestQuickRun asserts what redsession promises and that everything is reported. What the peers do, and how fast
// anything is, is for the program to say.
func TestQuickRun(t *testing.T) {
	p, err := planOf([]string{"-quick"})
	if err != nil {
		t.Fatal(err)
	}
	// A loaded machine under the race detector must not decide what is right.
	p.patience, p.soon = 3*time.Second, 3*time.Second
	r, err := measureAll(t, p, func(what string) { t.Log(what) })
	if err != nil {
		t.Fatal(err)
	}
	checkMatrix(t, r)
	checkReadHit(t, r)
	checkFiles(t, r)
}

func checkMatrix(t *testing.T, r *report.Results) {
	t.Helper()
	if len(r.Matrix) == 0 {
		t.Error("got an empty matrix")
	}
	for _, row := range r.Matrix {
		if len(row.Cells) != len(peer.All()) {
			t.Errorf("%s: got %d cells, want %d", row.Scenario, len(row.Cells), len(peer.All()))
		}
		for _, c := range row.Cells {
			if c.Seen == "" {
				t.Errorf("%s: got no verdict on %s", row.Scenario, c.Peer)
			}
			if c.Peer == peer.Redsession.Name && !c.Right {
				t.Errorf("%s: got %q, want %s", row.Scenario, c.Seen, row.Want)
			}
		}
	}
}

// checkReadHit wants the promise "one round trip" kept.
func checkReadHit(t *testing.T, r *report.Results) {
	t.Helper()
	for _, c := range r.Commands {
		if c.Subject == peer.Redsession.Name && c.Request == "read hit" {
			if c.Names != "EXPIRE, GET" || c.RoundTrips != 1 {
				t.Errorf("a read hit sends %s in %v round trips, want EXPIRE, GET in 1", c.Names, c.RoundTrips)
			}
			return
		}
	}
	t.Error("got no commands of redsession's read hit")
}

func checkFiles(t *testing.T, r *report.Results) {
	t.Helper()
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"results.json", "results.md", "matrix.json", "matrix.md", "read-hit-8.svg", "write-hit-1.svg", "login-8.svg", "http-requests.svg", "http-p99.svg", "memory.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		// A chart names its bars, a table its lines, and the matrix its columns.
		if !strings.Contains(string(text), peer.Redsession.Name) {
			t.Errorf("%s does not name redsession", name)
		}
	}
	for _, heading := range []string{"read hit", "write hit", "login", "over HTTP", "sends to Redis", "memory", "Behaviour"} {
		if !strings.Contains(r.Text(), heading) {
			t.Errorf("the report has no table for %q", heading)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, row := range []struct {
		name  string
		args  []string
		parts []string // none: refused
		out   string
	}{
		{"everything is written to results", nil, parts, "results"},
		{"some parts are only printed", []string{"-only", "matrix,cost"}, []string{partMatrix, partCost}, ""},
		{"a quick run is only printed", []string{"-quick"}, parts, ""},
		{"a folder can be named for any run", []string{"-quick", "-out", "x"}, parts, "x"},
		{"an unknown part is refused", []string{"-only", "speed"}, nil, ""},
		{"no rounds are refused", []string{"-rounds", "0"}, nil, ""},
	} {
		p, err := planOf(row.args)
		if err != nil {
			if row.parts != nil {
				t.Errorf("%s: got %v, want no error", row.name, err)
			}
			continue
		}
		if !slices.Equal(p.parts, row.parts) || p.out != row.out {
			t.Errorf("%s: got parts %v, folder %q, want %v and %q", row.name, p.parts, p.out, row.parts, row.out)
		}
	}
}
