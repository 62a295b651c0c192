package capacity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/cmd/sessionctl/internal/capacity"
	"github.com/redsession/redsession/internal/redistest"
)

// steps are small: what is tested is not Redis.
var steps = []int{2000, 4000, 6000}

func options(url string) capacity.Options {
	return capacity.Options{URL: url, Prefix: "session:", Steps: steps, ValueBytes: 300, JSON: true, Stdout: io.Discard, Stderr: io.Discard}
}

// report runs o and decodes what it prints.
func report(t *testing.T, o capacity.Options) capacity.Report {
	t.Helper()
	var out bytes.Buffer
	o.Stdout = &out
	if err := capacity.Run(t.Context(), o); err != nil {
		t.Fatalf("measuring: %v", err)
	}
	var r capacity.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("decoding the report: %v", err)
	}
	return r
}

func size(t *testing.T, s *redistest.Server) int64 {
	t.Helper()
	n, err := s.Client().DBSize(t.Context()).Result()
	if err != nil {
		t.Fatalf("DBSIZE: %v", err)
	}
	return n
}

func TestEveryStepIsMeasuredAndWhatWasWrittenIsDeleted(t *testing.T) {
	s := redistest.Start(t)
	o := options(s.URL)
	o.Forecast = []int{6000, 12_000}
	r := report(t, o)
	if len(r.Steps) != len(steps) {
		t.Fatalf("got %d steps, want %d", len(r.Steps), len(steps))
	}
	for i, step := range r.Steps {
		if step.Sessions != steps[i] || step.UsedMemory <= r.UsedBefore || step.RSS == 0 || step.Rate <= 0 {
			t.Errorf("step %d: got %+v, want what %d sessions take", i, step, steps[i])
		}
		if step.FileBytes != uint64(steps[i])*4096 {
			t.Errorf("step %d: got %d bytes as files, want a block each", i, step.FileBytes)
		}
	}
	if r.Line == nil || r.Line.RSquared < 0.99 {
		t.Errorf("got the line %+v, want one that fits", r.Line)
	}
	if len(r.Forecast) != 1 || r.Forecast[0].UsedMemory <= r.Steps[2].UsedMemory {
		t.Errorf("got the forecast %+v, want one for 12000 alone, above what was measured", r.Forecast)
	}
	if n := size(t, s); n != 0 {
		t.Errorf("got %d keys left, want none", n)
	}
}

func TestWhatIsWrittenAreSessionsOfTheLibrary(t *testing.T) {
	s := redistest.Start(t)
	o := options(s.URL)
	o.Steps, o.Keep = []int{50}, true
	r := report(t, o)
	admin, err := redsession.NewAdmin(redsession.Config{URL: s.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("NewAdmin: %v", err)
	}
	defer admin.Close()
	n := 0
	for info, err := range admin.All(t.Context()) {
		if err != nil {
			t.Fatalf("listing: %v", err)
		}
		n++
		if info.Bytes > r.RecordBytes+10 || info.Bytes < r.RecordBytes-10 || info.TTL <= 0 || info.RemoteAddr == "" || info.UserAgent == "" {
			t.Errorf("got %+v, want a login of %d bytes", info, r.RecordBytes)
		}
		if list, err := admin.Sessions(t.Context(), info.UserID); err != nil || len(list) != 1 || list[0].ID != info.ID {
			t.Errorf("sessions of %s: got %v and error %v, want the one", info.UserID, list, err)
		}
	}
	if n != 50 {
		t.Errorf("got %d sessions, want 50", n)
	}
}

func TestDataHaveTheLengthThatWasAskedFor(t *testing.T) {
	s := redistest.Start(t)
	lengths := map[int]int{}
	for _, n := range []int{0, 8, 9, 63, 300, 1000, 4000} {
		o := options(s.URL)
		o.Steps, o.ValueBytes = []int{1}, n
		lengths[n] = report(t, o).RecordBytes
	}
	for n, got := range lengths {
		if want := lengths[300] - 300 + max(n, len("{}")); got != want {
			t.Errorf("%d bytes of data: got a record of %d, want %d", n, got, want)
		}
	}
}

// cutter is a Stderr that ends the context once the first step was measured.
type cutter struct {
	io.Writer
	cut func()
}

func (c cutter) Write(p []byte) (int, error) {
	c.cut()
	return c.Writer.Write(p)
}

func TestCtrlCShowsWhatWasMeasuredAndCleansUp(t *testing.T) {
	s := redistest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	o := options(s.URL)
	o.Stdout, o.Stderr = &out, cutter{io.Discard, cancel}
	if err := capacity.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	var r capacity.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Steps) != 1 {
		t.Errorf("got %d steps and error %v, want the one that was done", len(r.Steps), err)
	}
	if n := size(t, s); n != 0 {
		t.Errorf("got %d keys left, want none", n)
	}
}

func TestTheTemporaryRedisIsGoneAfterwards(t *testing.T) {
	redistest.Start(t) // skips without the binary
	for _, stopped := range []bool{false, true} {
		dir := shortDir(t)
		t.Setenv("TMPDIR", dir)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := options("")
		if stopped {
			o.Stderr = cutter{io.Discard, cancel}
		}
		if err := capacity.Run(ctx, o); (err != nil) != stopped {
			t.Errorf("stopped %t: got %v", stopped, err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("stopped %t: got %v left in the temporary folder (%v), want nothing", stopped, left, err)
		}
	}
}

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheEstimateIsNearWhatIsMeasured(t *testing.T) {
	s := redistest.Start(t)
	for _, tt := range []struct {
		name       string
		valueBytes int
		noIndex    bool
		anonymous  bool
	}{
		{"logins", 300, false, false},
		{"logins without an index", 300, true, false},
		{"anonymous sessions", 300, false, true},
		{"large sessions", 4000, false, false},
		{"empty sessions", 0, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(s.URL)
			o.ValueBytes, o.NoIndex, o.Anonymous, o.Steps = tt.valueBytes, tt.noIndex, tt.anonymous, []int{6000}
			got := report(t, o).Steps[0].BytesPerSession
			estimate, err := capacity.EstimatedBytes(o)
			if err != nil {
				t.Fatal(err)
			}
			if ratio := float64(estimate) / got; ratio < 0.8 || ratio > 1.35 {
				t.Errorf("got an estimate of %d bytes, want it near the %.0f measured", estimate, got)
			}
		})
	}
}

func TestAClusterIsMeasuredAsAWhole(t *testing.T) {
	c := redistest.StartCluster(t)
	one := report(t, options(redistest.Start(t).URL))
	all := report(t, options(c.URL))
	got, want := all.Steps[2].BytesPerSession, one.Steps[2].BytesPerSession
	if got < want*0.8 || got > want*1.6 { // a cluster keeps the keys of each slot as well
		t.Errorf("got %.0f bytes a session, want about the %.0f of a single server", got, want)
	}
}
