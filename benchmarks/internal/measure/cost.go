package measure

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Cost is what one request costs. With several goroutines, Nanoseconds is the time between two that end.
type Cost struct {
	Subject     string  `json:"subject"`
	Floor       bool    `json:"floor,omitempty"`
	Kind        Kind    `json:"kind"`
	Goroutines  int     `json:"goroutines"`
	Nanoseconds float64 `json:"ns_per_op"`
	Allocations float64 `json:"allocations_per_op"`
	Bytes       float64 `json:"bytes_per_op"`
	// Ratio is Nanoseconds in redsession's, which are 1.
	Ratio float64 `json:"ratio_to_redsession"`
	// Least and Most are the rounds' extremes of Nanoseconds.
	Least float64 `json:"least_ns_per_op"`
	Most  float64 `json:"most_ns_per_op"`
	// Failed counts the requests of all rounds that were not answered as they should; they are in no other figure but
	// the time. A few come from a machine that is busy with other things.
	Failed int `json:"failed,omitempty"`
}

// tolerated is the part of the requests that may fail.
const tolerated = 0.01

// CostPlan says how long to measure.
type CostPlan struct {
	Goroutines []int
	Rounds     int
	Each       time.Duration // of one subject in one round
}

// row is one line of the result, and the requests that make it.
type row struct {
	cost    Cost
	workers []func() error
	rounds  []Cost
}

// Costs measures every subject at every number of goroutines, kind by kind.
func Costs(subjects []Subject, plan CostPlan, progress func(string)) ([]Cost, error) {
	var costs []Cost
	for _, k := range Kinds() {
		for _, n := range plan.Goroutines {
			progress(fmt.Sprintf("%s, %d goroutines", k, n))
			rows, err := hire(subjects, k, n)
			if err != nil {
				return nil, err
			}
			if err := takeTurns(rows, plan); err != nil {
				return nil, err
			}
			costs = append(costs, settle(rows)...)
		}
	}
	return costs, nil
}

func hire(subjects []Subject, k Kind, n int) ([]*row, error) {
	var rows []*row
	for _, s := range subjects {
		r := &row{cost: Cost{Subject: s.Name, Floor: s.Floor, Kind: k, Goroutines: n}}
		for i := range n {
			w, err := s.Worker(k, i)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", s.Name, k, err)
			}
			if w != nil {
				r.workers = append(r.workers, w)
			}
		}
		if len(r.workers) == n {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// takeTurns runs one round that does not count, so that connections are open, and then those that do. Each round begins
// with another subject.
func takeTurns(rows []*row, plan CostPlan) error {
	for round := range plan.Rounds + 1 {
		d := plan.Each
		if round == 0 {
			d = plan.Each / 10
		}
		for i := range rows {
			r := rows[(i+round)%len(rows)]
			c, err := run(r.workers, d)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", r.cost.Subject, r.cost.Kind, err)
			}
			if round > 0 {
				r.rounds = append(r.rounds, c)
			}
		}
	}
	return nil
}

func settle(rows []*row) []Cost {
	var costs []Cost
	var own float64
	for _, r := range rows {
		c := r.cost
		c.Nanoseconds = medianOf(r.rounds, func(c Cost) float64 { return c.Nanoseconds })
		c.Allocations = medianOf(r.rounds, func(c Cost) float64 { return c.Allocations })
		c.Bytes = medianOf(r.rounds, func(c Cost) float64 { return c.Bytes })
		for _, round := range r.rounds {
			c.Failed += round.Failed
		}
		c.Least, c.Most = extremes(r.rounds, func(c Cost) float64 { return c.Nanoseconds })
		if own == 0 { // redsession comes first
			own = c.Nanoseconds
		}
		c.Ratio = c.Nanoseconds / own
		costs = append(costs, c)
	}
	return costs
}

// tally is what one worker did.
type tally struct {
	done, failed int
	err          error // the last one
}

// run lets all workers work for d.
func run(workers []func() error, d time.Duration) (Cost, error) {
	var over atomic.Bool
	tallies := make([]tally, len(workers))
	var wg sync.WaitGroup
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	stop := time.AfterFunc(d, func() { over.Store(true) })
	defer stop.Stop()
	for i, work := range workers {
		wg.Go(func() {
			var t tally
			for first := true; first || !over.Load(); first = false {
				if err := work(); err != nil {
					t.failed, t.err = t.failed+1, err
				} else {
					t.done++
				}
			}
			tallies[i] = t
		})
	}
	wg.Wait()
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	var all tally
	for _, t := range tallies {
		all = tally{all.done + t.done, all.failed + t.failed, cmp.Or(all.err, t.err)}
	}
	if float64(all.failed) > tolerated*float64(all.done) {
		return Cost{}, fmt.Errorf("%d of %d requests failed: %w", all.failed, all.done+all.failed, all.err)
	}
	total := float64(all.done)
	return Cost{
		Nanoseconds: float64(took.Nanoseconds()) / total,
		Allocations: float64(after.Mallocs-before.Mallocs) / total,
		Bytes:       float64(after.TotalAlloc-before.TotalAlloc) / total,
		Failed:      all.failed,
	}, nil
}

// Times has the workers make n requests between them, as a testing.B wants it.
func Times(workers []func() error, n int) error {
	var next atomic.Int64
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	for i, work := range workers {
		wg.Go(func() {
			for errs[i] == nil && next.Add(1) <= int64(n) {
				errs[i] = work()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
