package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/rediserr"
)

// outcome is what one exchange says.
type outcome struct {
	side breaker.Side
	err  error
}

var confirmations = []struct {
	name      string
	probes    [2]error // what probes of reading and writing find
	outcomes  []outcome
	read, can bool // whether reading and writing are allowed afterwards
	events    []string
}{
	{"answers", [2]error{}, []outcome{{breaker.Read, nil}, {breaker.Write, nil}}, true, true, nil},
	{"an absent key is an answer", [2]error{errCut, errCut}, []outcome{{breaker.Read, redis.Nil}}, true, true, nil},
	{"a refusal that stays is an answer", [2]error{errCut, errCut}, []outcome{{breaker.Write, noPerm}}, true, true, nil},
	{"a key that is on the move says nothing", [2]error{errCut, errCut}, []outcome{{breaker.Write, tryAgain}}, true, true, nil},
	{"a caller who gave up says nothing", [2]error{errCut, errCut}, []outcome{{breaker.Read, context.Canceled}, {breaker.Read, redis.ErrClosed}}, true, true, nil},
	{"what was not asked says nothing", [2]error{errCut, errCut}, []outcome{{breaker.Read, fmt.Errorf("loading: %w", breaker.ErrOpen)}, {breaker.Read, breaker.ErrClosed}}, true, true, nil},
	{"one cut connection is a transient failure", [2]error{}, []outcome{{breaker.Read, errCut}}, true, true, []string{"blink"}},
	{"one time-out is a transient failure", [2]error{}, []outcome{{breaker.Read, errTimeout}}, true, true, []string{"blink"}},
	{"a refused write that a fresh connection can do is one", [2]error{}, []outcome{{breaker.Write, readOnly}}, true, true, []string{"blink"}},
	{"a time-out while others are answered is none", [2]error{errCut, errCut}, []outcome{{breaker.Read, nil}, {breaker.Write, errTimeout}}, true, true, nil},
	{"a cut connection is one though others are answered", [2]error{}, []outcome{{breaker.Read, nil}, {breaker.Write, errCut}}, true, true, []string{"blink"}},
	{"nobody answers", [2]error{errCut, errCut}, []outcome{{breaker.Read, errCut}}, false, false, []string{"read down", "write down", "drop"}},
	{"a failed write closes reading too", [2]error{errCut, errCut}, []outcome{{breaker.Write, errCut}}, false, false, []string{"read down", "write down", "drop"}},
	{"a server that loads closes both", [2]error{loading, loading}, []outcome{{breaker.Write, loading}}, false, false, []string{"read down", "write down", "drop"}},
	{"a failed write, while reading works", [2]error{nil, errCut}, []outcome{{breaker.Write, errCut}}, true, false, []string{"write down", "drop"}},
	{"a read-only answer closes writing alone", [2]error{readOnly, readOnly}, []outcome{{breaker.Write, readOnly}}, true, false, []string{"write down", "drop"}},
	{"one that came with a read does too", [2]error{nil, readOnly}, []outcome{{breaker.Read, readOnly}}, true, false, []string{"write down", "drop"}},
	{"missing replicas close writing alone", [2]error{nil, noReplicas}, []outcome{{breaker.Write, noReplicas}}, true, false, []string{"write down", "drop"}},
	{"a probe that ends in its own cancellation proves nothing", [2]error{context.Canceled, context.Canceled}, []outcome{{breaker.Read, errCut}}, false, false, []string{"read down", "write down", "drop"}},
	{"a read that is refused like a write is an answer", [2]error{readOnly, readOnly}, []outcome{{breaker.Read, errCut}}, true, false, []string{"write down", "drop"}},
	{"a refusal that stays ends it", [2]error{noPerm, noPerm}, []outcome{{breaker.Read, errCut}}, true, true, []string{"blink"}},
}

func TestOutageIsWhatAProbeConfirms(t *testing.T) {
	t.Parallel()
	for _, row := range confirmations {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fail(row.probes[breaker.Read], row.probes[breaker.Write])
				for _, o := range row.outcomes {
					w.report(o.side, o.err)
				}
				synctest.Wait()
				w.wantAllowed(row.read, row.can)
				got, want := w.told(), slices.Clone(row.events) // DropIdle comes at any place among them
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("events: got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestOutageIsThreeFailuresInARow(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		outcomes []error
		pause    time.Duration // after each
		want     bool
	}{
		{"two are none", []error{errCut, errCut}, 0, false},
		{"three are one", []error{errCut, errCut, errCut}, 0, true},
		{"an absent key is an answer", []error{errCut, errCut, redis.Nil, errCut, errCut}, 0, false},
		{"an answer in between starts the count again", []error{errCut, errCut, nil, errCut, errCut}, 0, false},
		{"three are one though a probe succeeds after each", []error{errCut, errCut, errCut}, time.Second, true},
		{"long apart they are none", []error{errCut, errCut, errCut}, 10 * time.Second, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				for _, err := range row.outcomes {
					w.report(breaker.Write, err)
					time.Sleep(row.pause)
				}
				time.Sleep(time.Second)
				if got := slices.Contains(w.told(), "write down"); got != row.want {
					t.Errorf("an outage: got %t, want %t", got, row.want)
				}
				w.wantAllowed(true, true)
			})
		})
	}
}

func TestOutageEndsBySides(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		w.wantAllowed(false, false)
		w.fail(nil, noReplicas)
		time.Sleep(probeEvery)
		synctest.Wait()
		w.wantAllowed(true, false)
		w.report(breaker.Read, nil)
		w.wantAllowed(true, false)
		w.comeBack()
		w.wantAllowed(true, true)
		if got, want := w.told("drop"), []string{"read down", "write down", "read up", "write up"}; !slices.Equal(got, want) {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestOutageIsNotEndedByAnAnswerUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		w.report(breaker.Write, nil)
		w.wantAllowed(false, false)
	})
}

func TestOutageIsNotMadeByFreshConnectionsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		answer := make(chan struct{})
		w.set(func() { w.hangs = answer })
		w.fail(errCut, errCut)
		w.report(breaker.Write, errCut)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		w.report(breaker.Write, nil) // by a pooled connection, while the probe dials in vain
		close(answer)
		w.wantTold("blink")
		w.wantAllowed(true, true)
	})
}

func TestOutageIsNotMadeByAProbeThatBeganBeforeAnAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		answer := make(chan struct{})
		w.set(func() { w.hangs = answer })
		w.fail(errCut, errCut)
		w.report(breaker.Write, errCut)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		w.report(breaker.Write, nil)
		w.report(breaker.Write, errCut)
		close(answer)
		synctest.Wait()
		w.wantAllowed(true, true)
		time.Sleep(probeEvery)
		synctest.Wait()
		w.wantAllowed(false, false)
	})
}

func TestOutageIsNotMadeByWhatWasSentBeforeItEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		sent := time.Now()
		time.Sleep(time.Millisecond)
		w.goDown(errCut)
		w.comeBack()
		w.told()
		for range 3 {
			w.Report(t.Context(), "key", breaker.Read, sent, errCut)
		}
		w.wantTold()
		w.wantAllowed(true, true)
	})
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	if !errors.Is(breaker.ErrOpen, rediserr.ErrNotSent) {
		t.Error("ErrOpen does not wrap ErrNotSent")
	}
	if m := rediserr.Classify(breaker.ErrOpen, true); m.Execution != rediserr.NotExecuted || m.Recovery != rediserr.Passes {
		t.Errorf("ErrOpen: got %+v, want that it was not executed and passes", m)
	}
	if m := rediserr.Classify(breaker.ErrClosed, true); m.Recovery != rediserr.Stays || m.Scope != rediserr.Caller {
		t.Errorf("ErrClosed: got %+v, want that it stays and concerns the caller", m)
	}
}

func TestAllowAllocatesNothing(t *testing.T) {
	b := breaker.New(breaker.Config{Topology: &world{places: 1}})
	defer b.Close()
	ctx, sent := context.Background(), time.Now()
	b.Report(ctx, "key", breaker.Read, sent, nil)
	if got := testing.AllocsPerRun(100, func() {
		_ = b.Allow(ctx, "key", breaker.Read)
		b.Report(ctx, "key", breaker.Read, sent, nil)
	}); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func TestOutageIsToldToThoseWhomItRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		err   error
		probe error // of writing
		want  rediserr.Recovery
		says  bool // what failed
	}{
		{"a cut connection", errCut, errCut, rediserr.Passes, true},
		{"a time-out", errTimeout, errTimeout, rediserr.Passes, true},
		{"a read-only replica", readOnly, readOnly, rediserr.PassesAroundFailover, true},
		{"a probe that ended in its own cancellation", errCut, context.Canceled, rediserr.Passes, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fail(row.probe, row.probe)
				w.report(breaker.Write, row.err)
				synctest.Wait()
				err := w.Allow(t.Context(), "key", breaker.Write)
				if !errors.Is(err, breaker.ErrOpen) || errors.Is(err, row.probe) != row.says {
					t.Errorf("got %v, want ErrOpen, with the cause %v: %t", err, row.probe, row.says)
				}
				if m := rediserr.Classify(err, true); m.Execution != rediserr.NotExecuted || m.Recovery != row.want {
					t.Errorf("got %+v, want that it was not executed, and the recovery %v", m, row.want)
				}
			})
		})
	}
}

func TestOutageIsNotAConnectionThatDropIdleClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fail(nil, readOnly)
		sent := time.Now()
		w.dropping = func() { w.Report(t.Context(), "key", breaker.Read, sent, errCut) }
		w.report(breaker.Write, readOnly)
		synctest.Wait()
		w.Report(t.Context(), "key", breaker.Read, sent.Add(-1), errCut)
		synctest.Wait()
		w.wantAllowed(true, false)
		budget := breaker.NewBudget(outageWait)
		if _, err := w.Await(t.Context(), "key", breaker.Write, "", budget, readOnly); !errors.Is(err, readOnly) {
			t.Errorf("got %v, want no wait: no failover is under way", err)
		}
	})
}
