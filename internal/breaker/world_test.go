package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/redsession/redsession/internal/breaker"
)

const (
	timeout    = 500 * time.Millisecond
	outageWait = 5 * time.Second
	probeEvery = 100 * time.Millisecond
)

// reply is an error that Redis answered with.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

const (
	readOnly   = reply("READONLY You can't write against a read only replica.")
	noReplicas = reply("NOREPLICAS Not enough good replicas to write.")
	loading    = reply("LOADING Redis is loading the dataset in memory")
	noPerm     = reply("NOPERM this user has no permissions to run the 'set' command")
	tryAgain   = reply("TRYAGAIN Multiple keys request during rehashing of slot")
)

var (
	errCut     = io.EOF
	errTimeout = context.DeadlineExceeded
)

// world is a Breaker, in a bubble of synctest, with a Redis that is only told of. It is the
// Breaker's topology as well.
type world struct {
	*breaker.Breaker
	t *testing.T

	mu        sync.Mutex
	fails     [2]error      // what probes of each side find
	hangs     chan struct{} // while it is there, probes end when it is closed
	cluster   bool
	owner     string // of all keys but ""
	primaries []string
	places    int
	reloads   int
	probes    []string
	probedAt  []time.Time
	events    []string // OnChange, OnBlink, DropIdle and what a test adds
	changing  func()   // called by OnChange
	blinking  func()   // called by OnBlink
	dropping  func()   // called by DropIdle
}

// inBubble runs fn with a world of its own, in which time passes only while everybody
// waits.
func inBubble(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, places: 2}
		w.Breaker = breaker.New(breaker.Config{
			Topology: w, Timeout: timeout, Wait: outageWait, ProbeEvery: probeEvery, Probe: w.probe,
			OnChange: func(_ context.Context, c breaker.Change) {
				w.note(changeText(c))
				w.call(&w.changing)
			},
			OnBlink: func(context.Context) {
				w.note("blink")
				w.call(&w.blinking)
			},
			DropIdle: func() {
				w.call(&w.dropping)
				w.note("drop")
			},
		})
		time.Sleep(time.Hour) // nothing was answered lately
		fn(t, w)
		w.Close()
	})
}

func changeText(c breaker.Change) string {
	side := [...]string{breaker.Read: "read", breaker.Write: "write"}[c.Side]
	if c.Down {
		return side + " down"
	}
	return side + " up"
}

func (w *world) call(fn *func()) {
	w.mu.Lock()
	call := *fn
	w.mu.Unlock()
	if call != nil {
		call()
	}
}

func (w *world) probe(ctx context.Context, _ redis.UniversalClient, side breaker.Side, key string) error {
	w.mu.Lock()
	err, hangs := w.fails[side], w.hangs
	w.probes = append(w.probes, fmt.Sprint([...]string{"read ", "write "}[side], key))
	w.probedAt = append(w.probedAt, time.Now())
	w.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// fail makes probes of reading and of writing find these errors from now on.
func (w *world) fail(read, write error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails = [2]error{read, write}
}

// set changes the world.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) note(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
}

// report reports an exchange that ends now.
func (w *world) report(side breaker.Side, err error) {
	w.Report(w.t.Context(), "key", side, time.Now(), err)
}

// goDown makes Redis fail with err, and returns when the Breaker knows.
func (w *world) goDown(err error) {
	w.fail(err, err)
	w.report(breaker.Write, err)
	synctest.Wait()
}

// comeBack makes Redis answer, and returns when the Breaker knows.
func (w *world) comeBack() {
	w.fail(nil, nil)
	time.Sleep(probeEvery)
	synctest.Wait()
}

// await waits as a request does that has the whole budget.
func (w *world) await(cause error) (leave func(), err error) {
	return w.Await(w.t.Context(), "key", breaker.Write, "", breaker.NewBudget(outageWait), cause)
}

// told returns the events so far, in order, without those named, and forgets them all.
func (w *world) told(except ...string) []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	events := slices.DeleteFunc(w.events, func(e string) bool { return slices.Contains(except, e) })
	w.events = nil
	return events
}

// wantTold wants just these events to have come, and forgets them.
func (w *world) wantTold(want ...string) {
	w.t.Helper()
	if got := w.told(); !slices.Equal(got, want) {
		w.t.Errorf("events: got %q, want %q", got, want)
	}
}

func (w *world) wantAllowed(read, write bool) {
	w.t.Helper()
	for side, want := range map[breaker.Side]bool{breaker.Read: read, breaker.Write: write} {
		err := w.Allow(w.t.Context(), "key", side)
		if (err == nil) != want || err != nil && !errors.Is(err, breaker.ErrOpen) {
			w.t.Errorf("side %d: got %v, want it allowed: %t", side, err, want)
		}
	}
}

func (w *world) Cluster() bool { return w.cluster }

func (w *world) Primary(_ context.Context, key string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key == "" {
		return ""
	}
	return w.owner
}

func (w *world) IsPrimary(_ context.Context, addr string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.primaries == nil {
		return false, errCut
	}
	return slices.Contains(w.primaries, addr), nil
}

func (w *world) Reload(context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reloads++
}

func (w *world) Connect(context.Context, string) (*redis.Client, error) {
	return redis.NewClient(&redis.Options{
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, // else it looks up its own name
	}), nil
}

func (w *world) PoolSize(string) int { return w.places }
