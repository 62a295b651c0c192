// Package overhttp measures subjects end to end: a server in one process, a load generator in another, keep-alive
// connections between them, and Redis. Processes of their own keep the generator's allocations and collections out of the
// server's figures.
package overhttp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/redsession/redsession/benchmarks/internal/floor"
	"github.com/redsession/redsession/benchmarks/internal/peer"
)

// Result is what a read hit gives end to end.
type Result struct {
	Subject     string        `json:"subject"`
	Floor       bool          `json:"floor,omitempty"`
	Connections int           `json:"connections"`
	PerSecond   float64       `json:"requests_per_second"`
	P50         time.Duration `json:"p50_ns"`
	P99         time.Duration `json:"p99_ns"`
	// Ratio is PerSecond in redsession's, which are 1; RatioP99 is the same of P99.
	Ratio    float64 `json:"ratio_to_redsession"`
	RatioP99 float64 `json:"p99_ratio_to_redsession"`
	// Failed counts the requests of all rounds that were not answered as they should.
	Failed int `json:"failed,omitempty"`
}

// Plan says how to load the servers.
type Plan struct {
	Connections int
	Rounds      int
	Each        time.Duration // of one subject in one round
	Generator   string        // Go or Wrk
}

// The load generators.
const (
	Go  = "go"  // this program
	Wrk = "wrk" // which takes less of the cores that the servers share with it
)

// childVariable tells a process of this program what it is to be: "serve" or "load".
const childVariable = "REDSESSION_BENCHMARKS_CHILD"

// Child does the work of a child process and returns true, if this process is one. Programs and tests call it first.
func Child() bool {
	var work func(*bufio.Reader) error
	switch os.Getenv(childVariable) {
	case "serve":
		work = serve
	case "load":
		work = load
	default:
		return false
	}
	if err := work(bufio.NewReader(os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// child is a running child process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start runs this program as a child, and gives it its orders on standard input.
func start(role string, orders any) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if err := json.NewEncoder(in).Encode(orders); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// hear reads one answer.
func (c *child) hear(answer any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a child process gave no answer: %w", err)
	}
	return json.Unmarshal(line, answer)
}

// end closes the child's standard input, which ends it, and waits.
func (c *child) end() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// orders reads what the parent wants.
func orders(in *bufio.Reader, into any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

func answer(a any) error { return json.NewEncoder(os.Stdout).Encode(a) }

// served is a subject whose server runs.
type served struct {
	result Result
	server *child
	url    string
	rounds []loaded
}

// Measure starts a server for each subject, the peers and the floors, and loads one at a time, in turns.
func Measure(redisAddr string, plan Plan, progress func(string)) (results []Result, err error) {
	var subjects []*served
	defer func() {
		for _, s := range subjects {
			err = errors.Join(err, s.server.end())
		}
	}()
	for _, name := range names() {
		server, err := start("serve", serveOrders{Subject: name, Redis: redisAddr})
		if err != nil {
			return nil, err
		}
		s := &served{server: server, result: Result{Subject: name, Connections: plan.Connections}}
		subjects = append(subjects, s)
		_, err = peer.Named(name)
		s.result.Floor = err != nil
		if err := server.hear(&s.url); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for round := range plan.Rounds {
		progress(fmt.Sprintf("%d connections, round %d", plan.Connections, round+1))
		for i := range subjects {
			s := subjects[(i+round)%len(subjects)]
			l, err := s.load(plan)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.result.Subject, err)
			}
			s.rounds = append(s.rounds, l)
		}
	}
	for _, s := range subjects {
		results = append(results, s.settle(results))
	}
	return results, nil
}

func names() (names []string) {
	for _, p := range peer.All() {
		names = append(names, p.Name)
	}
	for _, f := range floor.All() {
		names = append(names, f.Name)
	}
	return names
}

func (s *served) load(plan Plan) (l loaded, err error) {
	o := loadOrders{Address: s.url, Connections: plan.Connections, Lasts: plan.Each}
	if plan.Generator == Wrk {
		return wrk(o)
	}
	generator, err := start("load", o)
	if err != nil {
		return l, err
	}
	err = generator.hear(&l)
	return l, errors.Join(err, generator.end())
}

// settle takes the medians of the rounds; the first of the results is redsession's.
func (s *served) settle(before []Result) Result {
	r := s.result
	r.PerSecond = median(s.rounds, func(l loaded) float64 { return l.PerSecond })
	r.P50 = median(s.rounds, func(l loaded) time.Duration { return l.P50 })
	r.P99 = median(s.rounds, func(l loaded) time.Duration { return l.P99 })
	for _, l := range s.rounds {
		r.Failed += l.Failed
	}
	own := r
	if len(before) > 0 {
		own = before[0]
	}
	r.Ratio = r.PerSecond / own.PerSecond
	r.RatioP99 = float64(r.P99) / float64(own.P99)
	return r
}

func median[N float64 | time.Duration](rounds []loaded, pick func(loaded) N) N {
	values := make([]N, 0, len(rounds))
	for _, l := range rounds {
		values = append(values, pick(l))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
