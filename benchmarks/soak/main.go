// Program soak runs mixed load at full speed against its own redis-server and then looks at what is left: as many
// goroutines, as much memory and as many keys as before, and no error but those that a session's end explains.
//
//	cd benchmarks && go run -race ./soak -for 10m -users 1000
//
// It exits with 1 if something is left over or went wrong, with 2 if it is used wrongly.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/benchmarks/internal/bed"
	"github.com/redsession/redsession/benchmarks/internal/peer"
	"github.com/redsession/redsession/internal/redistest"
)

// plan is how much load for how long.
type plan struct {
	load, warmUp   time.Duration
	users, clients int
}

func main() {
	var p plan
	flag.DurationVar(&p.load, "for", 10*time.Minute, "how long the load runs")
	flag.DurationVar(&p.warmUp, "warm-up", 10*time.Second, "how long it runs before the state at the start is taken, so that pools are filled")
	flag.IntVar(&p.users, "users", 1000, "users; each comes with several devices")
	flag.IntVar(&p.clients, "clients", 64, "requests at a time")
	flag.Parse()
	if p.load <= 0 || p.warmUp <= 0 || p.users < 1 || p.clients < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "soak: durations and counts must be positive, and there are no arguments")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	peer.Quiet()
	b := &bed.Bed{}
	ok, err := p.run(ctx, b)
	if err != nil {
		b.Fatal("soak: ", err)
	}
	b.Close()
	if !ok {
		os.Exit(1)
	}
}

// run tells whether nothing went wrong and nothing is left.
func (p plan) run(ctx context.Context, b *bed.Bed) (bool, error) {
	srv := redistest.Start(b)
	client := srv.Client()
	var t tally
	before := inspect(ctx, client, "before", nil)

	s, err := open(srv.URL, p.users, &t)
	if err != nil {
		return false, err
	}
	say("warming up for %s", p.warmUp)
	s.drive(ctx, p.clients, p.warmUp)
	if err := s.coolDown(ctx, client, 0); err != nil {
		return false, err
	}
	start := inspect(ctx, client, "start", s)
	say("load for %s: %d users, %d requests at a time", p.load, p.users, p.clients)
	s.drive(ctx, p.clients, p.load)
	busy := inspect(ctx, client, "under load", s)
	if err := s.coolDown(ctx, client, start.goroutines); err != nil {
		return false, err
	}
	end := inspect(ctx, client, "end", s)
	if err := s.close(); err != nil {
		t.wrong("closing: %v", err)
	}
	s = nil
	settle(before.goroutines)
	closed := inspect(ctx, client, "closed", nil)

	t.print(os.Stdout)
	printStates(os.Stdout, before, start, busy, end, closed)
	for _, left := range leftOver(before, start, end, closed) {
		t.wrong("%s", left)
	}
	return t.verdict(os.Stdout), ctx.Err()
}

// leftOver says what the load has left behind.
func leftOver(before, start, end, closed state) (found []string) {
	// What a garbage collector does not give back at once: pools, finalizers, the tally itself.
	const slack = 4 << 20
	// What a Manager may remember of sessions for an outage, twice, as there are two.
	const remembered = 2 * 64 << 20
	for _, row := range []struct {
		what       string
		got, limit int64
	}{
		{"goroutines at the end", int64(end.goroutines), int64(start.goroutines)},
		{"goroutines after Close", int64(closed.goroutines), int64(before.goroutines)},
		{"keys at the end", end.keys, start.keys},
		{"bytes of heap at the end", end.heap, start.heap + slack + remembered},
		{"bytes of heap after Close", closed.heap, before.heap + slack},
	} {
		if row.got > row.limit {
			found = append(found, fmt.Sprintf("%s: %d, want at most %d", row.what, row.got, row.limit))
		}
	}
	return found
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "… "+format+"\n", args...) }

// coolDown ends all sessions and waits until Redis is empty and no more goroutines than goroutines are left, 0 for any.
// Tombstones stay until their grace is over.
func (s *site) coolDown(ctx context.Context, client *redis.Client, goroutines int) error {
	s.client.CloseIdleConnections()
	for _, m := range s.managers {
		if _, err := m.RevokeAll(ctx); err != nil {
			return fmt.Errorf("revoking all: %w", err)
		}
	}
	for deadline := time.Now().Add(absolute + 30*time.Second); ; time.Sleep(100 * time.Millisecond) {
		n, err := client.DBSize(ctx).Result()
		if err != nil {
			return err
		}
		if n == 0 || time.Now().After(deadline) {
			break
		}
	}
	settle(goroutines)
	return nil
}
