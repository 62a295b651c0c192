package main

import (
	"context"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

const (
	sampleEvery = 2 * time.Second
	maxSamples  = 90 // three minutes
	// countShare keeps counting, which scans Redis, to a twentieth of the time.
	countShare = 20
	// sampleTime is how long Redis may take to answer all that a sample asks.
	sampleTime = 2 * time.Second
	// tripTime is how long it may take to answer at all.
	tripTime = 300 * time.Millisecond
)

// sample is how Redis was at a moment.
type sample struct {
	at       time.Time
	ok       bool // Redis answered, and what follows is known
	sessions int
	memory   int64 // bytes, 0 if unknown
	trip     time.Duration
}

// sampler remembers how Redis was of late. It is safe for concurrent use.
type sampler struct {
	sessions *redsession.Manager
	redis    *place

	mu      sync.Mutex // guards what follows
	samples []sample   // oldest first
}

// run takes samples until ctx is done.
func (s *sampler) run(ctx context.Context) {
	for {
		began := time.Now()
		s.take(ctx)
		select {
		case <-time.After(max(sampleEvery, countShare*time.Since(began))):
		case <-ctx.Done():
			return
		}
	}
}

// take adds a sample.
func (s *sampler) take(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	now := sample{at: time.Now()}
	now.trip, now.ok = s.tripTo(ctx)
	if now.ok {
		var err error
		now.sessions, err = s.sessions.Count(ctx)
		now.ok = err == nil
	}
	if now.ok {
		now.memory, _ = s.redis.memory(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, now)
	if len(s.samples) > maxSamples {
		s.samples = append(s.samples[:0], s.samples[1:]...)
	}
}

// tripTo measures a round trip, and tells whether there was an answer. It does not wait for
// an outage to end.
func (s *sampler) tripTo(ctx context.Context) (time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, tripTime)
	defer cancel()
	began := time.Now()
	_, err := s.sessions.Sessions(ctx, "") // nobody's
	return time.Since(began), err == nil
}

// recent returns the samples, oldest first, and takes one if there is none of
// the last two intervals.
func (s *sampler) recent(ctx context.Context) []sample {
	s.mu.Lock()
	n := len(s.samples)
	stale := n == 0 || time.Since(s.samples[n-1].at) > 2*sampleEvery
	s.mu.Unlock()
	if stale {
		s.take(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sample(nil), s.samples...)
}
