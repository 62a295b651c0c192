package main

import (
	"fmt"
	"testing"

	"github.com/redsession/redsession/benchmarks/internal/measure"
	"github.com/redsession/redsession/internal/redistest"
)

// BenchmarkRequest is the part "cost" for the tools that read the output of go test -bench.
func BenchmarkRequest(b *testing.B) {
	srv := redistest.Start(b)
	subjects, closeAll, err := measure.Open(srv.Addr)
	b.Cleanup(func() {
		if err := closeAll(); err != nil {
			b.Error(err)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range measure.Kinds() {
		for _, s := range subjects {
			for _, n := range []int{1, 8, 64, 256} {
				if s.Floor && kind != measure.ReadHit {
					continue
				}
				b.Run(fmt.Sprintf("%s/%s/goroutines=%d", kind, s.Name, n), func(b *testing.B) {
					workers := hire(b, s, kind, n)
					b.ReportAllocs()
					b.ResetTimer()
					if err := measure.Times(workers, b.N); err != nil {
						b.Fatal(err)
					}
				})
			}
		}
	}
}

func hire(b *testing.B, s measure.Subject, kind measure.Kind, n int) (workers []func() error) {
	b.Helper()
	for i := range n {
		w, err := s.Worker(kind, i)
		if err != nil {
			b.Fatalf("%s: %v", s.Name, err)
		}
		workers = append(workers, w)
	}
	return workers
}
