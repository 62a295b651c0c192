// Program benchmarks measures redsession beside other session libraries and bare Redis clients, and runs the libraries
// through the failures that users meet. README.md says how, and how to read what it prints.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/benchmarks/internal/bed"
	"github.com/redsession/redsession/benchmarks/internal/behaviour"
	"github.com/redsession/redsession/benchmarks/internal/measure"
	"github.com/redsession/redsession/benchmarks/internal/overhttp"
	"github.com/redsession/redsession/benchmarks/internal/peer"
	"github.com/redsession/redsession/benchmarks/internal/report"
	"github.com/redsession/redsession/internal/redistest"
)

// The parts that -only picks from.
const (
	partCost     = "cost"
	partHTTP     = "http"
	partCommands = "commands"
	partMemory   = "memory"
	partMatrix   = "matrix"
)

var parts = []string{partCost, partHTTP, partCommands, partMemory, partMatrix}

// plan is what to do and for how long.
type plan struct {
	parts          []string
	rounds         int
	cost, http     time.Duration
	patience, soon time.Duration
	goroutines     []int
	connections    int
	generator      string
	sessions       int
	out            string // no files if empty
}

func main() {
	if overhttp.Child() {
		return
	}
	p, err := planOf(os.Args[1:])
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	peer.Quiet()
	b := &bed.Bed{}
	defer b.Close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		b.Fatal("interrupted")
	}()
	r, err := measureAll(b, p, func(what string) { fmt.Fprintln(os.Stderr, "…", what) })
	if err != nil {
		b.Fatal(err)
	}
	fmt.Print(r.Text())
	if p.out == "" {
		return
	}
	if err := r.Write(p.out); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("\nwritten to %s\n", p.out)
}

func planOf(args []string) (plan, error) {
	p := plan{parts: parts, goroutines: []int{1, 8, 64, 256}}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	only := flags.String("only", "", "comma-separated `parts`: "+strings.Join(parts, ", "))
	quick := flags.Bool("quick", false, "one short round of everything: checks the program, its figures say nothing")
	flags.IntVar(&p.rounds, "rounds", 5, "interleaved rounds; the medians are reported")
	flags.DurationVar(&p.cost, "each", 300*time.Millisecond, "how long each subject runs in a round of cost")
	flags.DurationVar(&p.http, "http", 2*time.Second, "how long each subject runs in a round of http")
	flags.IntVar(&p.connections, "connections", 64, "keep-alive connections of http")
	flags.StringVar(&p.generator, "generator", generator(), "load `generator` of http: "+overhttp.Go+" or "+overhttp.Wrk)
	flags.IntVar(&p.sessions, "sessions", 100_000, "sessions of memory")
	flags.DurationVar(&p.patience, "patience", 5*time.Second, "how long matrix waits for an answer while Redis is frozen")
	flags.DurationVar(&p.soon, "soon", time.Second, "how long matrix lets a user wait while Redis is away")
	flags.StringVar(&p.out, "out", "", "`folder` for JSON, tables and charts (results, unless -only or -quick is given)")
	if err := flags.Parse(args); err != nil {
		return p, err
	}
	if *only != "" {
		p.parts = strings.Split(*only, ",")
	}
	if *only == "" && !*quick && p.out == "" {
		p.out = "results"
	}
	if *quick {
		p = p.quick()
	}
	return p, p.check()
}

func (p plan) quick() plan {
	p.rounds, p.cost, p.http, p.patience = 1, 10*time.Millisecond, 50*time.Millisecond, 2*time.Second
	p.goroutines, p.connections, p.sessions, p.generator = []int{1, 8}, 8, 500, overhttp.Go
	return p
}

func (p plan) check() error {
	var err error
	for _, part := range p.parts {
		if !slices.Contains(parts, part) {
			err = fmt.Errorf("-only %s: the parts are %s", part, strings.Join(parts, ", "))
		}
	}
	if p.rounds < 1 || p.cost <= 0 || p.http <= 0 || p.patience <= 0 || p.soon <= 0 || p.connections < 1 || p.sessions < 1 {
		err = fmt.Errorf("rounds, durations and counts must be positive")
	}
	if p.generator != overhttp.Go && p.generator != overhttp.Wrk {
		err = fmt.Errorf("-generator %s: want %s or %s", p.generator, overhttp.Go, overhttp.Wrk)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return err
}

// generator prefers wrk where it is installed.
func generator() string {
	if _, err := exec.LookPath("wrk"); err == nil {
		return overhttp.Wrk
	}
	return overhttp.Go
}

// measureAll does the parts of the plan, each on an empty Redis.
func measureAll(t testing.TB, p plan, progress func(string)) (*report.Results, error) {
	begin := time.Now()
	srv := redistest.Start(t)
	admin := srv.Client()
	info, err := admin.Info(context.Background(), "server").Result()
	if err != nil {
		return nil, err
	}
	version := regexp.MustCompile(`redis_version:(\S+)`).FindStringSubmatch(info)
	if version == nil {
		version = []string{"", "unknown"}
	}
	r := &report.Results{Date: begin.UTC(), Machine: report.Here(), Versions: report.Versions(version[1]), Run: report.Run{Rounds: p.rounds, Each: p.cost}}
	for _, part := range parts {
		if !slices.Contains(p.parts, part) {
			continue
		}
		if err := admin.FlushAll(context.Background()).Err(); err != nil {
			return nil, err
		}
		if err := p.do(t, part, srv, r, progress); err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
	}
	r.Run.Took = time.Since(begin)
	return r, nil
}

func (p plan) do(t testing.TB, part string, srv *redistest.Server, r *report.Results, progress func(string)) (err error) {
	say := func(what string) { progress(part + ": " + what) }
	switch part {
	case partCost:
		r.Costs, err = p.costs(srv.Addr, say)
	case partHTTP:
		r.Run.Generator = p.generator
		r.HTTP, err = overhttp.Measure(srv.Addr, overhttp.Plan{Connections: p.connections, Rounds: p.rounds, Each: p.http, Generator: p.generator}, say)
	case partCommands:
		say("counting")
		r.Commands, err = measure.CountCommands(t, srv, peer.All())
	case partMemory:
		r.Memory, err = measure.Memories(srv.Addr, measure.MemoryPlan{Sessions: p.sessions, Rounds: p.rounds}, say)
	case partMatrix:
		r.Matrix, err = behaviour.Run(t, peer.All(), behaviour.Options{Patience: p.patience, Soon: p.soon, Progress: say})
	}
	return err
}

func (p plan) costs(addr string, say func(string)) ([]measure.Cost, error) {
	subjects, closeAll, err := measure.Open(addr)
	if err != nil {
		_ = closeAll()
		return nil, err
	}
	costs, err := measure.Costs(subjects, measure.CostPlan{Goroutines: p.goroutines, Rounds: p.rounds, Each: p.cost}, say)
	if err != nil {
		_ = closeAll()
		return nil, err
	}
	return costs, closeAll()
}
