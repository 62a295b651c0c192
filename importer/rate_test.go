package importer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// batch is one call of Import.
type batch struct {
	began, ended time.Time
	n            int
}

// slowSink is a Redis that takes its time.
type slowSink struct {
	*sink
	takes time.Duration
	away  time.Time // until when it does not answer

	mu      sync.Mutex // guards batches
	batches []batch
}

func (s *slowSink) Import(ctx context.Context, records []redsession.LegacyRecord, force bool) ([]redsession.ImportOutcome, error) {
	began := time.Now()
	if began.Before(s.away) {
		return nil, errAway
	}
	<-time.After(s.takes)
	outcomes, err := s.sink.Import(ctx, records, force)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, batch{began, time.Now(), len(records)})
	return outcomes, err
}

func TestWithoutARateRedisHasHalfOfItsTime(t *testing.T) {
	s := &slowSink{sink: newSink(), takes: 5 * time.Millisecond}
	report, err := importer.RunInto(t.Context(), s, made{n: 2000}, importer.Options{})
	if err != nil || report.Imported != 2000 || len(s.batches) < 10 {
		t.Fatalf("got %d in %d batches and error %v, want 2000", report.Imported, len(s.batches), err)
	}
	for i, b := range s.batches[1:] {
		before := s.batches[i]
		if pause, took := b.began.Sub(before.ended), before.ended.Sub(before.began); pause < took-time.Millisecond {
			t.Errorf("batch %d: got a pause of %v after one that took %v, want as long", i+1, pause, took)
		}
	}
}

func TestANegativeRateIsNoLimit(t *testing.T) {
	s := &slowSink{sink: newSink(), takes: 20 * time.Millisecond}
	report, err := importer.RunInto(t.Context(), s, made{n: 2000}, importer.Options{Rate: -1, Workers: 4})
	if err != nil || report.Imported != 2000 {
		t.Fatalf("got %d and error %v, want 2000", report.Imported, err)
	}
	for _, b := range s.batches[1:] {
		if b.began.Before(s.batches[0].ended) {
			return
		}
	}
	t.Error("got one batch at a time, want several")
}

func TestARateLetsNoBurstThroughAfterAnOutage(t *testing.T) {
	const perSecond = 1000
	s := &slowSink{sink: newSink(), away: time.Now().Add(400 * time.Millisecond)}
	report, err := importer.RunInto(t.Context(), s, made{n: 1000}, importer.Options{Rate: perSecond})
	if err != nil || report.Imported != 1000 {
		t.Fatalf("got %d and error %v, want 1000", report.Imported, err)
	}
	for i, first := range s.batches {
		n := 0
		for _, b := range s.batches[i:] {
			if b.began.Sub(first.began) < 100*time.Millisecond {
				n += b.n
			}
		}
		if n > 4*perSecond/10 {
			t.Errorf("got %d within 100ms, want about %d", n, perSecond/10)
		}
	}
}
