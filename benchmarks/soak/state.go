package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"
)

// state is what there is at one moment.
type state struct {
	when        string
	goroutines  int
	heap        int64 // bytes in use after a collection
	keys        int64
	eternal     int64 // keys without a TTL
	usedMemory  string
	connections int // that the sites keep to Redis
}

// inspect looks at this process and at Redis. s may be nil.
func inspect(ctx context.Context, client *redis.Client, when string, s *site) state {
	var mem runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools and finalizers held
	runtime.ReadMemStats(&mem)
	st := state{when: when, goroutines: runtime.NumGoroutine(), heap: int64(mem.HeapAlloc)}
	st.keys = client.DBSize(ctx).Val()
	for keys := client.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		if client.TTL(ctx, keys.Val()).Val() == -1 {
			st.eternal++
		}
	}
	_, used, _ := strings.Cut(client.Info(ctx, "memory").Val(), "used_memory_human:")
	st.usedMemory, _, _ = strings.Cut(used, "\r\n")
	if s != nil {
		if st.eternal > 0 {
			s.tally.wrong("%s: %d keys never expire", when, st.eternal)
		}
		for _, c := range s.redis {
			st.connections += int(c.PoolStats().TotalConns)
		}
	}
	return st
}

// settle waits until no more than so many goroutines are left, for 10 seconds: a connection's end takes its time.
func settle(goroutines int) {
	for deadline := time.Now().Add(10 * time.Second); goroutines > 0 && runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
}

func printStates(w io.Writer, states ...state) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nstate\tgoroutines\theap KiB\tkeys\twithout TTL\tRedis memory\tconnections\t")
	for _, s := range states {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%d\t\n", s.when, s.goroutines, s.heap>>10, s.keys, s.eternal, s.usedMemory, s.connections)
	}
	t.Flush()
}
