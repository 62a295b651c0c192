// Package capacity measures how much memory sessions take in Redis: it fills a
// Redis step by step with the records that the library itself writes, and says
// how it grows and what more sessions will need.
package capacity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrUsage is the errors.Is target of a mistake in Options.
var ErrUsage = errors.New("wrong use")

type usageError string

func (e usageError) Error() string        { return string(e) }
func (e usageError) Is(target error) bool { return target == ErrUsage }

// Options says what to measure, and where the result goes.
type Options struct {
	URL        string // "" starts a redis-server of its own, which is gone afterwards
	Prefix     string // of the keys
	Steps      []int  // numbers of sessions to measure at
	Forecast   []int  // numbers of sessions to say the memory for
	ValueBytes int    // of JSON data in each session: 0, or 8 to 1 MiB
	NoIndex    bool   // no entry in the user's index
	Anonymous  bool   // nobody has logged in, so there is no index either
	Out        string // chart, .svg or .png; "" for none
	CSV        string // table; "" for none
	JSON       bool   // the report as JSON instead of a table
	Yes        bool   // also fill a Redis that is not empty, or more than seems to fit
	Keep       bool   // leave what was written in the Redis at URL

	Stdout, Stderr io.Writer // result; progress and remarks
	Terminal       bool      // Stderr is one: show a progress bar
	// Available is how many bytes of memory this machine has to give; nil asks the
	// system.
	Available func(context.Context) (uint64, error)
}

const mostValueBytes = 1 << 20

func (o *Options) check() error {
	if len(o.Steps) == 0 {
		return usageError("no numbers of sessions: want for example 100k,1m,8m")
	}
	for _, n := range slices.Concat(o.Steps, o.Forecast) {
		if n < 1 {
			return usageError(fmt.Sprintf("%d sessions cannot be measured: want at least 1", n))
		}
	}
	if o.ValueBytes != 0 && o.ValueBytes < leastValueBytes || o.ValueBytes > mostValueBytes {
		return usageError(fmt.Sprintf("%d bytes of data: want 0, or %d to %d", o.ValueBytes, leastValueBytes, mostValueBytes))
	}
	if ext := strings.ToLower(filepath.Ext(o.Out)); o.Out != "" && ext != ".svg" && ext != ".png" {
		return usageError(fmt.Sprintf("a chart named %q: want a name that ends in .svg or .png", o.Out))
	}
	// Minutes of filling must not end in a folder that is not there.
	for _, file := range []string{o.Out, o.CSV} {
		if info, err := os.Stat(filepath.Dir(file)); file != "" && (err != nil || !info.IsDir()) {
			return usageError(fmt.Sprintf("%s: there is no folder %s", file, filepath.Dir(file)))
		}
	}
	if o.Keep && o.URL == "" {
		return usageError("nothing to keep without a URL: the temporary Redis goes away with its sessions")
	}
	return nil
}

// Run measures and writes what o asks for. When ctx ends it stops, cleans up,
// writes what it has measured so far and returns the error of ctx. A mistake in o
// is ErrUsage, and nothing was done.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	o.Steps, o.Forecast = ascending(o.Steps), ascending(o.Forecast)
	if o.Available == nil {
		o.Available = availableMemory
	}
	report, err := measure(ctx, o)
	if report == nil || len(report.Steps) == 0 {
		return err
	}
	report.conclude(o.Forecast)
	return errors.Join(err, write(o, report))
}

func ascending(numbers []int) []int {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

func measure(ctx context.Context, o Options) (*Report, error) {
	if o.URL != "" {
		return measureAt(ctx, o, o.URL)
	}
	own, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer own.stop()
	report, err := measureAt(ctx, o, own.url)
	return report, own.explain(err)
}

// measureAt fills the Redis at url and returns what it has measured, with an
// error too.
func measureAt(ctx context.Context, o Options, url string) (report *Report, err error) {
	at, err := connect(url)
	if err != nil {
		return nil, err
	}
	defer at.close()
	before, err := at.state(ctx)
	if err != nil {
		return nil, err
	}
	if o.Prefix, err = lend(o, before); err != nil {
		return nil, err
	}
	made, err := newSource(o)
	if err != nil {
		return nil, err
	}
	if err := checkRoom(ctx, o, at, before, made); err != nil {
		return nil, err
	}
	f := &filler{url: url, made: made, progress: newProgress(o)}
	if o.URL != "" && !o.Keep {
		defer func() { err = errors.Join(err, clearUp(context.WithoutCancel(ctx), o, f)) }()
	}
	report = newReport(o, before, made)
	for _, n := range o.Steps {
		step, err := measureStep(ctx, at, f, before, n)
		if err != nil {
			return report, fmt.Errorf("measuring %s sessions: %w", Short(n), err)
		}
		report.Steps = append(report.Steps, step)
		fmt.Fprintln(o.Stderr, step)
	}
	return report, nil
}

// lend returns the prefix to write under, if the Redis may be written to.
func lend(o Options, before state) (prefix string, err error) {
	if before.Keys == 0 {
		return o.Prefix, nil
	}
	if !o.Yes {
		return "", fmt.Errorf("this Redis holds keys (%d): give one that is empty, or none for a temporary one; --yes fills this one all the same and deletes only what it wrote", before.Keys)
	}
	const apart = "capacity:" // no session of the measurement is one of the system
	fmt.Fprintf(o.Stderr, "This Redis holds keys (%d): writing under %s, which costs %d bytes a key.\n", before.Keys, o.Prefix+apart, len(apart))
	return o.Prefix + apart, nil
}

// clearUp deletes what f wrote, and says so at once if it cannot: who pressed
// Ctrl-C is shown no other error.
func clearUp(ctx context.Context, o Options, f *filler) error {
	err := f.clear(ctx)
	if err != nil {
		fmt.Fprintln(o.Stderr, err)
	}
	return err
}

func measureStep(ctx context.Context, at *place, f *filler, before state, n int) (Step, error) {
	from, began := f.written(), time.Now()
	if err := f.fillTo(ctx, n); err != nil {
		return Step{}, err
	}
	took := time.Since(began)
	now, err := at.settled(ctx)
	if err != nil {
		return Step{}, err
	}
	if now.Evicted > before.Evicted {
		return Step{}, fmt.Errorf("it evicted %d keys: its memory is full, and its policy %s lets sessions go", now.Evicted-before.Evicted, now.Policy)
	}
	return Step{
		Sessions: n, UsedMemory: now.Used, RSS: now.RSS,
		BytesPerSession: float64(now.Used-before.Used) / float64(n),
		Seconds:         took.Seconds(), Rate: float64(n-from) / took.Seconds(),
		FileBytes: uint64(n) * f.made.fileBytes(),
	}, nil
}
