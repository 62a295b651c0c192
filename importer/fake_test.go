package importer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// sink is what a Manager does with imported sessions, as far as importing shows
// it: it keeps what is there, unless forced, and what ended stays ended.
type sink struct {
	mu      sync.Mutex
	records map[string]redsession.LegacyRecord // by source and id
	ended   map[string]bool
	refuse  map[string]error
	calls   int
	doubled int                                    // stored over a record that was there
	before  func(ctx context.Context, n int) error // each call, numbered from 1; an error is Redis away
}

func newSink() *sink {
	return &sink{records: map[string]redsession.LegacyRecord{}, ended: map[string]bool{}, refuse: map[string]error{}}
}

func (s *sink) Import(ctx context.Context, records []redsession.LegacyRecord, force bool) ([]redsession.ImportOutcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.before != nil {
		if err := s.before(ctx, s.calls); err != nil {
			return nil, err
		}
	}
	outcomes := make([]redsession.ImportOutcome, len(records))
	for i, rec := range records {
		key := rec.Source + " " + rec.ID
		_, there := s.records[key]
		switch {
		case s.refuse[rec.ID] != nil:
			outcomes[i] = redsession.ImportOutcome{Status: redsession.ImportRefused, Err: s.refuse[rec.ID]}
			continue
		case s.ended[rec.ID]:
			outcomes[i].Status = redsession.ImportEnded
			continue
		case there && !force:
			outcomes[i].Status = redsession.ImportExisting
			continue
		case there:
			s.doubled++
		}
		outcomes[i].Status = redsession.ImportStored
		s.records[key] = rec
	}
	return outcomes, nil
}

func (s *sink) only(t *testing.T) redsession.LegacyRecord {
	t.Helper()
	if len(s.records) != 1 {
		t.Fatalf("got %d sessions, want 1", len(s.records))
	}
	for _, rec := range s.records {
		return rec
	}
	panic("unreachable")
}

var errAway = errors.New("redis is away")

// put writes a file, and the folders above it, with its last change an age ago.
func put(t testing.TB, dir, name, body string, age time.Duration) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(-age)
	if err := os.Chtimes(file, written, written); err != nil {
		t.Fatal(err)
	}
}

// run imports into s and fails the test if that fails.
func run(t *testing.T, s importer.Target, source importer.Source, o importer.Options) importer.Report {
	t.Helper()
	report, err := importer.RunInto(t.Context(), s, source, o)
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	sum := report.Imported + report.Existing + report.Ended + report.Expired + report.Failed + report.SkippedTotal()
	if sum != report.Found {
		t.Errorf("got %d found and %d accounted for, want the same:\n%s", report.Found, sum, report)
	}
	return report
}

// about fails the test unless got is within a minute of want.
func about(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if d := got.Sub(want); d < -time.Minute || d > time.Minute {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
