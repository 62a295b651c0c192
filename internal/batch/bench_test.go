package batch_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/batch"
	"github.com/redsession/redsession/internal/redistest"
)

type load struct {
	get    *redis.StringCmd
	expire *redis.BoolCmd
}

// BenchmarkLoad compares ways to send a GET and an EXPIRE for each of many
// callers: a pipeline each, shared pipelines with so many under way, and
// go-redis's own AutoPipeline.
func BenchmarkLoad(b *testing.B) {
	srv := redistest.Start(b)
	client := srv.Client()
	ctx := context.Background()
	client.Set(ctx, "key", make([]byte, 480), time.Hour)
	newLoad := func() *load {
		return &load{redis.NewStringCmd(ctx, "get", "key"), redis.NewBoolCmd(ctx, "expire", "key", 3600)}
	}
	exec := func(_ time.Time, loads []*load) {
		pipe := client.Pipeline()
		for _, l := range loads {
			_ = pipe.BatchProcess(ctx, l.get, l.expire)
		}
		_, _ = pipe.Exec(ctx)
	}
	ways := []struct {
		name string
		do   func(*load)
	}{
		{"pipeline each", func(l *load) { exec(time.Time{}, []*load{l}) }},
	}
	for _, flights := range []int{1, 2, 4, 8} {
		g := batch.New(flights, 64, exec)
		ways = append(ways, struct {
			name string
			do   func(*load)
		}{fmt.Sprintf("%d flights", flights), func(l *load) { _ = g.Do(ctx, time.Now().Add(time.Minute), l) }})
	}
	auto, err := client.AutoPipeline()
	if err != nil {
		b.Fatal(err)
	}
	defer auto.Close()
	ways = append(ways, struct {
		name string
		do   func(*load)
	}{"AutoPipeline", func(l *load) {
		done := make(chan struct{})
		go func() { _ = auto.Process(ctx, l.expire); close(done) }()
		_ = auto.Process(ctx, l.get)
		<-done
	}})
	for _, callers := range []int{1, 8, 64, 256} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%d callers/%s", callers, way.name), func(b *testing.B) {
				b.ReportAllocs()
				one := func() {
					l := newLoad()
					if way.do(l); l.get.Err() != nil || !l.expire.Val() {
						b.Error(l.get.Err())
					}
				}
				if callers == 1 {
					for b.Loop() {
						one()
					}
					return
				}
				b.SetParallelism(callers / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			})
		}
	}
}
