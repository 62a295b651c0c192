package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession/cmd/sessionctl/internal/live"
)

func topCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "top", Category: "Redis", Usage: "watch what happens, live",
		UsageText: "sessionctl top [--interval 2s] [--count N]",
		Description: `Shows what Redis does, anew every two seconds, until Ctrl-C, and then how it was
all in all. Redis counts for every program and prefix on it:
   hits      EXPIRE, which every request with a session sends once
   writes    SETEX: sessions created, changed and rotated
   logins    ZADD: logins, and timed rotations of logged-in sessions
   errors    replies that were errors, and connections that were refused
   sessions  counted in the background by SCAN, now and then; so are the users, of
             whom some may have logged out

Examples:
   sessionctl top
   sessionctl top --interval 10s --count 6 > watch.tsv
   sessionctl top --json --count 1 | jq .hits_per_second

Elsewhere than on a terminal, one line a refresh, tab-separated, below a heading,
and at the end the mean and the peak.

JSON, one object a refresh: {"time","sessions","users","counted_at",
"hits_per_second","writes_per_second","logins_per_second","commands_per_second",
"errors_per_second","expired_per_second","evicted_per_second","memory_bytes",
"maxmemory_bytes","clients","ping_ms"}; sessions and users are null until they
have been counted.`,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: 2 * time.Second, Usage: "time between two looks"},
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after so many refreshes (0: never)"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error { return c.top(ctx, cmd) },
	}
}

const shortestInterval = 100 * time.Millisecond

func (c *console) top(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	interval, count := cmd.Duration("interval"), cmd.Int("count")
	if interval < shortestInterval {
		return usagef("--interval is %s, want %s or more", interval, shortestInterval)
	}
	if count < 0 {
		return usagef("--count is %d, want 0 for no end, or more", count)
	}
	t, err := c.open(ctx, cmd)
	if err != nil {
		return err
	}
	defer t.close()
	before, err := live.Read(ctx, t.client)
	if err != nil {
		return err
	}
	counting, stop := context.WithCancel(ctx)
	census := live.StartCounting(counting, t.client, t.prefix)
	defer census.Wait()
	defer stop()
	w := &watch{c: c, every: interval, census: census}
	switch {
	case cmd.Bool("json"):
		w.show = w.showJSON
	case c.width > 0:
		w.show = w.showScreen
		_, _ = io.WriteString(c.out, enterScreen)
		defer func() { _, _ = io.WriteString(c.out, leaveScreen+w.summary()) }()
	default:
		w.show = w.showLine
		_, _ = fmt.Fprintln(c.out, lineHead)
		defer func() { _, _ = io.WriteString(c.out, w.lastLines()) }()
	}
	return w.loop(ctx, t, before, count)
}

// watch is a run of top.
type watch struct {
	c      *console
	every  time.Duration
	census *live.Counting
	show   func(look) error
	n      int
	sum    look
	peak   look
}

// look is one refresh.
type look struct {
	Time     string `json:"time"`
	Sessions *int   `json:"sessions"`
	Users    *int   `json:"users"`
	Counted  string `json:"counted_at,omitempty"`
	live.Rates
	Memory    int64   `json:"memory_bytes"`
	MaxMemory int64   `json:"maxmemory_bytes"`
	Clients   int64   `json:"clients"`
	PingMS    float64 `json:"ping_ms"`

	counted time.Time
}

// loop looks until count or ctx ends it. A look that fails is shown, and the
// next one may not: to see Redis come back is what one watches for.
func (w *watch) loop(ctx context.Context, t *target, before live.Counters, count int) error {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for tries := 1; ; tries++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now, err := live.Read(ctx, t.client)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			w.showFailure(err)
		} else if err := w.add(now, before); err != nil {
			return err
		} else {
			before = now
		}
		if tries == count {
			return err
		}
	}
}

// add shows a look and keeps what the summary needs.
func (w *watch) add(now, before live.Counters) error {
	l := look{
		Time: stamp(time.Now()), Rates: now.Since(before),
		Memory: now.Memory, MaxMemory: now.MaxMemory, Clients: now.Clients, PingMS: milliseconds(now.Ping),
	}
	if census, ok := w.census.Last(); ok {
		l.Sessions, l.Users, l.Counted, l.counted = &census.Sessions, &census.Users, stamp(census.At), census.At
		w.sum.Sessions, w.sum.Users, w.sum.counted = l.Sessions, l.Users, l.counted
	}
	w.n++
	w.sum.Time, w.sum.MaxMemory = l.Time, l.MaxMemory
	for _, m := range measures {
		*m.of(&w.sum) += *m.of(&l)
		*m.of(&w.peak) = max(*m.of(&w.peak), *m.of(&l))
	}
	w.sum.Memory, w.sum.Clients = w.sum.Memory+l.Memory, w.sum.Clients+l.Clients
	w.peak.Memory, w.peak.Clients = max(w.peak.Memory, l.Memory), max(w.peak.Clients, l.Clients)
	return w.show(l)
}

// mean is what the looks were on average.
func (w *watch) mean() look {
	l := w.sum
	for _, m := range measures {
		*m.of(&l) /= float64(max(1, w.n))
	}
	l.Memory, l.Clients = l.Memory/int64(max(1, w.n)), l.Clients/int64(max(1, w.n))
	return l
}

func (w *watch) showJSON(l look) error { return w.c.printJSON(l) }

func (w *watch) showFailure(err error) {
	text := explain(err, w.c.place)
	if w.c.width > 0 && w.n > 0 {
		_, _ = io.WriteString(w.c.out, "\r"+clearLine+w.c.paint(text, failColour)+"\r")
		return
	}
	w.c.note("sessionctl: %s", text)
}

// measures are the numbers that are averaged, in the order of showing.
var measures = []struct {
	name string
	of   func(*look) *float64
}{
	{"hits/s", func(l *look) *float64 { return &l.Hits }},
	{"writes/s", func(l *look) *float64 { return &l.Writes }},
	{"logins/s", func(l *look) *float64 { return &l.Logins }},
	{"commands/s", func(l *look) *float64 { return &l.Commands }},
	{"errors/s", func(l *look) *float64 { return &l.Errors }},
	{"expired/s", func(l *look) *float64 { return &l.Expired }},
	{"evicted/s", func(l *look) *float64 { return &l.Evicted }},
	{"ping ms", func(l *look) *float64 { return &l.PingMS }},
}
