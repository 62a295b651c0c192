package importer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

// Options of an import. The zero value is a good choice.
type Options struct {
	// Force overwrites sessions that were imported before. What was logged out or
	// revoked stays so all the same. Once imports again with it.
	Force bool
	// DryRun reads and counts everything, and writes nothing.
	DryRun bool
	// UserID returns the user who is logged in, "" for none, instead of the
	// source's default. It is called from several goroutines.
	UserID func(redsession.LegacyRecord) string
	// Progress is called about four times a second and at the end, never twice at
	// the same time.
	Progress func(Report)
	// Rate is the most sessions to find in a second, to spare a Redis or a disk that
	// has other work. 0 leaves Redis at least half of its time: one batch is on its way
	// at a time, and after each comes a pause as long as it took. A negative Rate is no
	// limit.
	Rate int
	// Workers is how many goroutines read, decode and write: twice the processors,
	// and 4 at least, unless set.
	Workers int
	// NoWait makes Once return ErrElsewhere instead of waiting for another server.
	NoWait bool
}

// Run imports the sessions of a source now. It may run again and beside itself:
// sessions that are there already stay as they are, unless forced.
//
// The report counts what was found and why something was not imported, and is
// valid, as far as the import came, with an error too: when ctx ended, when the
// source cannot be read at all, or when Redis stayed away for about ten seconds.
// Then run it again; nothing is doubled.
func Run(ctx context.Context, m *redsession.Manager, source Source, o Options) (Report, error) {
	return run(ctx, m, source, o)
}

// target is where sessions go: a *redsession.Manager.
type target interface {
	Import(ctx context.Context, records []redsession.LegacyRecord, force bool) ([]redsession.ImportOutcome, error)
}

func run(ctx context.Context, to target, source Source, o Options) (Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	im := &importing{
		to: to, source: source, o: o, tally: newTally(o.DryRun), stop: cancel,
		reads: make(chan Read, maxBatch), batch: maxBatch,
	}
	workers := o.Workers
	if workers <= 0 {
		workers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if o.Rate > 0 {
		im.batch = min(max(o.Rate/20, 1), maxBatch)
		im.finding, im.sending = newPacer(o.Rate, im.batch), newPacer(o.Rate, im.batch)
	}
	endProgress := im.progress()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { im.work(ctx) })
	}
	im.walk(ctx)
	group.Wait()
	report := endProgress()
	if err := context.Cause(ctx); err != nil {
		return report, fmt.Errorf("importer: importing from %s: %w", source.Name(), err)
	}
	return report, nil
}

// A batch goes to Redis in one go. Its weight bounds the memory of a worker.
const (
	maxBatch  = 200
	maxWeight = 4 << 20
)

// importing is one run.
type importing struct {
	to     target
	source Source
	o      Options
	tally  *tally
	stop   context.CancelCauseFunc
	reads  chan Read
	batch  int
	turn   sync.Mutex // held while a batch is on its way that leaves Redis half of its time

	finding, sending *pacer // nil without a Rate
}

// progress calls Options.Progress until the function it returns is called, which
// returns the last report.
func (im *importing) progress() (end func() Report) {
	if im.o.Progress == nil {
		return im.tally.snapshot
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(time.Second / 4)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				im.o.Progress(im.tally.snapshot())
			}
		}
	})
	return func() Report {
		close(done)
		group.Wait()
		report := im.tally.snapshot()
		im.o.Progress(report)
		return report
	}
}

// walk feeds the workers.
func (im *importing) walk(ctx context.Context) {
	defer close(im.reads)
	for read, err := range im.source.Sessions(ctx) {
		if err != nil {
			im.stop(err)
			return
		}
		if im.finding.wait(ctx, 1) != nil {
			return
		}
		select {
		case im.reads <- read:
			im.tally.count(func(r *Report) { r.Found++ })
		case <-ctx.Done():
			return
		}
	}
}

// work decodes sessions and sends them in batches.
func (im *importing) work(ctx context.Context) {
	var batch []redsession.LegacyRecord
	weight := 0
	flush := func() {
		if len(batch) > 0 {
			if err := im.send(ctx, batch); err != nil {
				im.stop(err)
			}
		}
		batch, weight = make([]redsession.LegacyRecord, 0, im.batch), 0
	}
	for read := range im.reads {
		if ctx.Err() != nil {
			return
		}
		rec, ok := im.decode(read)
		if !ok {
			continue
		}
		batch = append(batch, rec)
		if weight += weigh(rec.Values); len(batch) >= im.batch || weight > maxWeight {
			flush()
		}
	}
	if ctx.Err() == nil {
		flush()
	}
}

// decode returns the next record for a batch, and counts it if it is none.
func (im *importing) decode(read Read) (rec redsession.LegacyRecord, ok bool) {
	defer func() {
		if p := recover(); p != nil { // in a UserID, or in a Source of the application's own
			im.tally.unread(fmt.Errorf("panic while reading a session: a %T", p))
			ok = false
		}
	}()
	rec, notes, err := read()
	if err != nil {
		im.tally.unread(err)
		return rec, false
	}
	if im.o.UserID != nil {
		rec.UserID = im.o.UserID(rec)
	}
	empty, expired := len(rec.Values) == 0 && rec.UserID == "", past(rec)
	im.tally.count(func(r *Report) {
		for _, n := range notes {
			r.note(n)
		}
		switch {
		case empty:
			r.Skipped[Empty]++
		case expired:
			r.Expired++
		case im.o.DryRun:
			r.Imported++
		}
	})
	return rec, !empty && !expired && !im.o.DryRun
}

// past tells whether a session is over.
func past(rec redsession.LegacyRecord) bool {
	return !rec.ExpiresAt.IsZero() && !rec.ExpiresAt.After(time.Now())
}

// send imports a batch, and waits for a Redis that is away.
func (im *importing) send(ctx context.Context, batch []redsession.LegacyRecord) error {
	for wait := 250 * time.Millisecond; ; wait *= 2 {
		outcomes, err := im.importPaced(ctx, batch)
		done := 0
		im.tally.count(func(r *Report) {
			for done < min(len(outcomes), len(batch)) && outcomes[done].Status != 0 {
				r.outcome(outcomes[done])
				done++
			}
		})
		batch = batch[done:]
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && len(batch) > 0:
			return errors.New("records without an outcome")
		case err == nil:
			return nil
		case wait > 4*time.Second:
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// weigh returns about how many bytes of memory a value takes.
func weigh(v any) int {
	const word = 16
	switch v := v.(type) {
	case string:
		return word + len(v)
	case []byte:
		return 2*word + len(v)
	case []any:
		sum := 2 * word
		for _, item := range v {
			sum += weigh(item)
		}
		return sum
	case map[string]any:
		sum := 4 * word
		for key, item := range v {
			sum += 2*word + len(key) + weigh(item)
		}
		return sum
	}
	return word
}

// Estimate returns how many sessions a source has at most, for a progress bar, by
// walking over it without reading: some seconds for a million files.
func Estimate(ctx context.Context, source Source) (int, error) {
	if s, ok := source.(interface {
		estimate(context.Context) (int, error)
	}); ok {
		return s.estimate(ctx)
	}
	n := 0
	for _, err := range source.Sessions(ctx) {
		if err != nil {
			return n, fmt.Errorf("importer: estimating %s: %w", source.Name(), err)
		}
		n++
	}
	return n, ctx.Err()
}
