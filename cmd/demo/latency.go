package main

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// latencies keeps how long the latest requests took. It is safe for concurrent
// use; its zero value is ready.
type latencies struct {
	mu     sync.Mutex // guards what follows
	latest [256]time.Duration
	total  int
}

// measure returns next with its requests measured.
func (l *latencies) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		next.ServeHTTP(w, r)
		if r.URL.Path == slowPath || needsNoSession(r) {
			return // neither says anything about sessions
		}
		took := time.Since(began)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.latest[l.total%len(l.latest)] = took
		l.total++
	})
}

// percentiles returns the number of requests, and what half and 99 of 100 of the
// latest stayed within.
func (l *latencies) percentiles() (total int, p50, p99 time.Duration) {
	l.mu.Lock()
	total = l.total
	sorted := slices.Clone(l.latest[:min(total, len(l.latest))])
	l.mu.Unlock()
	if len(sorted) == 0 {
		return 0, 0, 0
	}
	slices.Sort(sorted)
	last := len(sorted) - 1
	return total, sorted[last/2], sorted[last*99/100]
}
