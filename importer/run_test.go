package importer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
	"github.com/redsession/redsession/importer/internal/odoogen"
)

// made is a source of n sessions of an application's own.
type made struct {
	n     int
	fails map[int]error // what the Read of that session returns
	walk  error         // after the last
}

func (made) Name() string { return "made" }

func (m made) Sessions(context.Context) iter.Seq2[importer.Read, error] {
	return func(yield func(importer.Read, error) bool) {
		for i := range m.n {
			read := func() (redsession.LegacyRecord, []string, error) {
				if err := m.fails[i]; err != nil {
					return redsession.LegacyRecord{}, nil, err
				}
				return redsession.LegacyRecord{
					Source: "made", ID: fmt.Sprint(i), ExpiresAt: time.Now().Add(time.Hour), Values: map[string]any{"n": int64(i)},
				}, nil, nil
			}
			if !yield(read, nil) {
				return
			}
		}
		if m.walk != nil {
			yield(nil, m.walk)
		}
	}
}

func TestASourceOfOnesOwn(t *testing.T) {
	s := newSink()
	s.refuse["5"] = errors.New("too large")
	s.ended["6"] = true
	source := made{n: 1000, fails: map[int]error{
		1: &importer.Skipped{Reason: "other-tenant"},
		2: &importer.Skipped{Reason: "other-tenant", Err: errors.New("of tenant b")},
		3: errors.New("no such column"),
	}}
	report := run(t, s, source, importer.Options{})
	if report.Imported != 995 || report.Ended != 1 || report.Failed != 2 || report.Skipped["other-tenant"] != 2 {
		t.Errorf("got\n%s\nwant 995 imported, 1 ended, 2 failed, 2 of another tenant", report)
	}
	for _, want := range []string{"too large", "no such column", "of tenant b"} {
		if report.Notes[want] != 1 {
			t.Errorf("got the notes %v, want one %q", report.Notes, want)
		}
	}
}

func TestForce(t *testing.T) {
	s := newSink()
	s.ended["6"] = true
	run(t, s, made{n: 10}, importer.Options{})
	if again := run(t, s, made{n: 10}, importer.Options{}); again.Existing != 9 || s.doubled != 0 {
		t.Errorf("got %d existing and %d overwritten, want 9 and 0", again.Existing, s.doubled)
	}
	if forced := run(t, s, made{n: 10}, importer.Options{Force: true}); forced.Imported != 9 || forced.Ended != 1 || s.doubled != 9 {
		t.Errorf("forced: got %d imported, %d ended, %d overwritten, want 9, 1, 9", forced.Imported, forced.Ended, s.doubled)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	s := newSink()
	report := run(t, s, made{n: 10}, importer.Options{DryRun: true})
	if report.Imported != 10 || s.calls != 0 || !strings.Contains(report.String(), "to import") {
		t.Errorf("got %d and %d calls, want 10 and none:\n%s", report.Imported, s.calls, report)
	}
}

func TestRemarksAreBounded(t *testing.T) {
	source := made{n: 500, fails: map[int]error{}}
	for i := range 500 {
		source.fails[i] = fmt.Errorf("trouble %d", i)
	}
	if report := run(t, newSink(), source, importer.Options{}); len(report.Notes) != 50 || report.Failed != 500 {
		t.Errorf("got %d remarks on %d failures, want 50 on 500", len(report.Notes), report.Failed)
	}
}

func TestAPanicIsOneFailedSession(t *testing.T) {
	user := func(rec redsession.LegacyRecord) string {
		return rec.Values["n"].(string) // it is a number
	}
	report := run(t, newSink(), made{n: 3}, importer.Options{UserID: user})
	if report.Failed != 3 {
		t.Errorf("got %d failed, want 3", report.Failed)
	}
}

func TestProgress(t *testing.T) {
	var last importer.Report
	running := atomic.Bool{}
	report := run(t, newSink(), made{n: 1000}, importer.Options{Progress: func(r importer.Report) {
		if running.Swap(true) {
			t.Error("got two calls at the same time, want one")
		}
		last = r
		running.Store(false)
	}})
	if last.String() != report.String() {
		t.Errorf("got the last progress\n%s\nwant the report\n%s", last, report)
	}
}

func TestRate(t *testing.T) {
	report := run(t, newSink(), made{n: 21}, importer.Options{Rate: 200})
	if report.Elapsed < 100*time.Millisecond {
		t.Errorf("got 21 sessions in %v, want at least 100ms at 200 a second", report.Elapsed)
	}
}

func TestCancellationKeepsTheReport(t *testing.T) {
	t.Parallel()
	dir, s := t.TempDir(), newSink()
	if _, err := odoogen.Generate(dir, 2000, 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(_ context.Context, n int) error {
		if n == 3 {
			cancel()
		}
		return nil
	}
	report, err := importer.RunInto(ctx, s, importer.Odoo(dir), importer.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if report.Imported != len(s.records) || report.Imported == 0 || report.Imported > 1800 {
		t.Errorf("got %d imported in the report and %d in Redis, want the same, some and not all", report.Imported, len(s.records))
	}
}

func TestAShortOutageIsWaitedFor(t *testing.T) {
	s := newSink()
	s.before = func(_ context.Context, n int) error {
		if n == 2 || n == 3 {
			return errAway
		}
		return nil
	}
	if report := run(t, s, made{n: 1000}, importer.Options{Workers: 1}); report.Imported != 1000 {
		t.Errorf("got %d imported, want 1000", report.Imported)
	}
}

// partly stores the first half of its second call, says so, and is away.
type partly struct {
	*sink
	mu sync.Mutex
	n  int
}

func (p *partly) Import(ctx context.Context, records []redsession.LegacyRecord, force bool) ([]redsession.ImportOutcome, error) {
	p.mu.Lock()
	p.n++
	second := p.n == 2
	p.mu.Unlock()
	if !second {
		return p.sink.Import(ctx, records, force)
	}
	outcomes, err := p.sink.Import(ctx, records[:len(records)/2], force)
	return append(outcomes, make([]redsession.ImportOutcome, len(records)-len(records)/2)...), errors.Join(err, errAway)
}

func TestWhatAnOutageLeftBehindIsRepeated(t *testing.T) {
	p := &partly{sink: newSink()}
	if report := run(t, p, made{n: 1000}, importer.Options{Workers: 1}); report.Imported != 1000 || report.Existing != 0 {
		t.Errorf("got %d imported and %d existing, want 1000 and 0", report.Imported, report.Existing)
	}
}

func TestAWalkThatFailsIsAnError(t *testing.T) {
	failed := errors.New("disk on fire")
	report, err := importer.RunInto(t.Context(), newSink(), made{n: 10, walk: failed}, importer.Options{})
	if !errors.Is(err, failed) || report.Found != 10 {
		t.Errorf("got %v after %d, want %v after 10", err, report.Found, failed)
	}
}

func TestEstimate(t *testing.T) {
	dir := t.TempDir()
	if _, err := odoogen.Generate(dir, 300, 1); err != nil {
		t.Fatal(err)
	}
	server, client := startRedis(t)
	for i := range 7 {
		_ = server.Set(fmt.Sprint("sess:", i), "x")
	}
	for source, want := range map[importer.Source]int{importer.Odoo(dir): 300, importer.ConnectRedis(client, ""): 7} {
		if n, err := importer.Estimate(t.Context(), source); n != want || err != nil {
			t.Errorf("%s: got %d and error %v, want %d", source.Name(), n, err, want)
		}
	}
}
