package store_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/store"
)

// alone is a script that can do nothing but replace a record: what the script of plans is
// measured by.
var alone = redis.NewScript(`
local rev = redis.pcall('GETRANGE', KEYS[1], 6, 13)
if rev == ARGV[1] then
  redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2])
  return 1
end
return redis.call('GET', KEYS[1])`)

// BenchmarkReplace is the write of a request beside one by a script of its own. us/call is
// what Redis itself needs.
func BenchmarkReplace(b *testing.B) {
	srv := redistest.Start(b)
	client, ctx := srv.Client(), context.Background()
	s := newStore(b, client)
	if _, err := s.Check(ctx); err != nil {
		b.Fatal(err)
	}
	data := strings.Repeat("x", 400)
	raw := func(rev string) string { return `{"v":"` + rev + `r","d":{"k":"` + data + `"}}` }
	var sessions atomic.Int64
	writer := func() (id string) {
		id = fmt.Sprintf("%032d", sessions.Add(1))
		client.Set(ctx, space.Session(id), raw("00000001"), time.Hour)
		return id
	}
	for _, way := range []struct {
		name  string
		write func(id string) error
	}{
		{"a script of its own", func(id string) error {
			return alone.EvalSha(ctx, client, []string{space.Session(id)}, "00000001", raw("00000001"), 3600).Err()
		}},
		{"a plan", func(id string) error {
			res, err := s.Run(ctx, &store.Plan{Decide: &store.Replace{ID: id, Rev: "00000001", Raw: raw("00000001"), TTL: time.Hour}})
			if err == nil && res.Refused != nil {
				err = fmt.Errorf("refused")
			}
			return err
		}},
	} {
		alone.Load(ctx, client)
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d at once", way.name, callers), func(b *testing.B) {
				b.ReportAllocs()
				client.ConfigResetStat(ctx)
				if callers == 1 {
					id := writer()
					for b.Loop() {
						if err := way.write(id); err != nil {
							b.Fatal(err)
						}
					}
				} else {
					b.SetParallelism(callers / runtime.GOMAXPROCS(0))
					b.RunParallel(func(pb *testing.PB) {
						id := writer()
						for pb.Next() {
							if err := way.write(id); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ReportMetric(usPerCall(client.Info(ctx, "commandstats").Val()), "us/call")
			})
		}
	}
}

// usPerCall is how long one EVALSHA took Redis.
func usPerCall(info string) (us float64) {
	for line := range strings.Lines(info) {
		if strings.HasPrefix(line, "cmdstat_evalsha:") {
			_, rest, _ := strings.Cut(line, "usec_per_call=")
			_, _ = fmt.Sscanf(rest, "%f", &us)
		}
	}
	return us
}
