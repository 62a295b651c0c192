package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/redsession/redsession"
)

// counter is one of the Manager's counters, with what it counts.
type counter struct {
	Name, Meaning string
	Value         uint64
}

type operationsView struct {
	Where       string
	Away        bool // a switch was thrown, or Redis is really away
	Length      time.Duration
	Requests    int
	Half, Most  string // latency that 50 and 99 of 100 requests stay within
	SlowRunning int64
	Charts      []chart
	Counters    []counter
}

func (d *demo) operations(w http.ResponseWriter, r *http.Request) {
	d.show(w, redsession.FromContext(r.Context()), http.StatusOK, "operations",
		view{Title: "Operations", Path: "/operations", Body: d.operationsNow(r.Context())})
}

// operationsLive answers with the part of the page that changes. It knows no
// session, so watching prolongs none and hits none.
func (d *demo) operationsLive(w http.ResponseWriter, r *http.Request) {
	d.write(w, http.StatusOK, "operations", "live", d.operationsNow(r.Context()))
}

func (d *demo) operationsNow(ctx context.Context) operationsView {
	v := operationsView{
		Where: d.redis.name, SlowRunning: d.slowRunning.Load(),
		Counters: counters(d.sessions.Stats()),
	}
	v.Away, v.Length, _ = d.outage.state()
	total, half, most := d.latencies.percentiles()
	v.Requests, v.Half, v.Most = total, millis(half), millis(most)
	samples := d.sampler.recent(ctx)
	v.Charts = []chart{
		newChart("Sessions in Redis", samples, func(s sample) float64 { return float64(s.sessions) }, func(n float64) string { return fmt.Sprint(int(n)) }),
		newChart("Round trip to Redis", samples, func(s sample) float64 { return float64(s.trip) }, func(n float64) string { return millis(time.Duration(n)) }),
	}
	if last := len(samples) - 1; d.redis.client != nil && last >= 0 {
		v.Charts = append(v.Charts, newChart("Memory of Redis", samples, func(s sample) float64 { return float64(s.memory) }, mebibytes))
	}
	return v
}

func millis(d time.Duration) string {
	ms, digits := float64(d)/float64(time.Millisecond), 2
	if ms >= 10 {
		digits = 0
	}
	return strconv.FormatFloat(ms, 'f', digits, 64) + "\u00a0ms" // no line break in between
}

func mebibytes(n float64) string { return fmt.Sprintf("%.2f MiB", n/(1<<20)) }

func counters(s redsession.Stats) []counter {
	return []counter{
		{"Hits", "requests whose session was found", s.Hits},
		{"Misses", "requests whose session was not", s.Misses},
		{"Commits", "changes that Redis acknowledged", s.Commits},
		{"Conflicts", "commits merged with another request’s", s.Conflicts},
		{"Gone", "changes refused: the session had ended", s.Gone},
		{"Created", "anonymous sessions stored", s.Created},
		{"Logins", "all factors included", s.Logins},
		{"Logouts", "at the user’s wish", s.Logouts},
		{"Revoked", "ended from another device", s.Revoked},
		{"Rotated", "new ids without a login", s.Rotated},
		{"Replayed", "rotated ids used too late: perhaps stolen", s.Replayed},
		{"Refused", "cookies or records not accepted", s.Refused},
		{"Outages", "of Redis", s.Outages},
		{"Degraded", "requests served from memory meanwhile", s.Degraded},
		{"Failed", "requests that Redis could not serve in time", s.Failed},
	}
}
