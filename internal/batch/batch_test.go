package batch_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/batch"
)

// op is what the tests put through a Group.
type op struct{ n, answer int }

// air lets a test see each round trip set out, and land it.
type air struct {
	*batch.Group[*op]
	trips chan trip
}

type trip struct {
	ends time.Time
	ops  []*op
	land chan func() // what is to happen instead of the answers, or nil
}

func newAir(flights, load int) *air {
	a := &air{trips: make(chan trip, 100)}
	a.Group = batch.New(flights, load, func(deadline time.Time, ops []*op) {
		t := trip{deadline, slices.Clone(ops), make(chan func())}
		a.trips <- t
		if instead := <-t.land; instead != nil {
			instead()
			return
		}
		for _, o := range ops {
			o.answer = o.n * 10
		}
	})
	return a
}

// caller is one call of Do.
type caller struct {
	op   *op
	err  error
	died any
	done chan struct{}
}

func (a *air) call(ctx context.Context, n int) *caller {
	c := &caller{op: &op{n: n}, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer func() { c.died = recover() }()
		c.err = a.Do(ctx, time.Now().Add(time.Hour), c.op)
	}()
	return c
}

func (c *caller) answered(t *testing.T) {
	t.Helper()
	if <-c.done; c.err != nil || c.died != nil || c.op.answer != c.op.n*10 {
		t.Errorf("caller %d got answer %d, error %v, panic %v, want its answer", c.op.n, c.op.answer, c.err, c.died)
	}
}

// waits makes callers, one after the other, who wait while all flights are out.
func (a *air) waits(ctx context.Context, t *testing.T, numbers ...int) []*caller {
	t.Helper()
	var callers []*caller
	for _, n := range numbers {
		before := a.Waiting()
		callers = append(callers, a.call(ctx, n))
		for a.Waiting() == before {
			select {
			case tr := <-a.trips:
				t.Fatalf("caller %d set out with %d operations, want it to wait", n, len(tr.ops))
			default:
				runtime.Gosched()
			}
		}
	}
	return callers
}

func numbers(ops []*op) []int {
	var list []int
	for _, o := range ops {
		list = append(list, o.n)
	}
	return list
}

func TestACallerWhoIsAloneWaitsForNobody(t *testing.T) {
	a := newAir(2, 10)
	first, second := a.call(t.Context(), 1), a.call(t.Context(), 2)
	for range 2 {
		tr := <-a.trips
		if len(tr.ops) != 1 {
			t.Errorf("got %v in one round trip, want one operation each while there are flights", numbers(tr.ops))
		}
		tr.land <- nil
	}
	first.answered(t)
	second.answered(t)
}

func TestThoseWhoWaitShareTheNextRoundTrip(t *testing.T) {
	a := newAir(1, 3)
	first := a.call(t.Context(), 1)
	tr := <-a.trips
	waiting := a.waits(t.Context(), t, 2, 3, 4, 5)
	tr.land <- nil
	first.answered(t)
	for _, want := range [][]int{{2, 3, 4}, {5}} {
		tr = <-a.trips
		if got := numbers(tr.ops); !slices.Equal(got, want) {
			t.Errorf("got %v in one round trip, want %v", got, want)
		}
		tr.land <- nil
	}
	for _, c := range waiting {
		c.answered(t)
	}
	alone := a.call(t.Context(), 6)
	tr = <-a.trips
	tr.land <- nil
	alone.answered(t)
}

func TestACancelledCallerInTheMiddleOfABatchHurtsNobody(t *testing.T) {
	a := newAir(1, 10)
	first := a.call(t.Context(), 1)
	tr := <-a.trips
	ctx, cancel := context.WithCancel(t.Context())
	gone := a.waits(ctx, t, 2)[0]
	others := a.waits(t.Context(), t, 3, 4)
	tr.land <- nil
	first.answered(t)
	tr = <-a.trips // with 2 on board
	cancel()
	if <-gone.done; !errors.Is(gone.err, context.Canceled) {
		t.Errorf("got %v, want the caller's own cancellation", gone.err)
	}
	if got := numbers(tr.ops); !slices.Equal(got, []int{2, 3, 4}) || time.Until(tr.ends) < time.Minute {
		t.Errorf("got %v under way until %v, want all three, for as long as the leader has", got, tr.ends)
	}
	tr.land <- nil
	for _, c := range others {
		c.answered(t)
	}
}

func TestACancelledCallerLeavesTheQueue(t *testing.T) {
	a := newAir(1, 10)
	first := a.call(t.Context(), 1)
	tr := <-a.trips
	ctx, cancel := context.WithCancel(t.Context())
	gone := a.waits(ctx, t, 2)[0]
	other := a.waits(t.Context(), t, 3)[0]
	cancel()
	<-gone.done
	tr.land <- nil
	first.answered(t)
	tr = <-a.trips
	if got := numbers(tr.ops); !slices.Equal(got, []int{3}) {
		t.Errorf("got %v under way, want the one who still waits", got)
	}
	tr.land <- nil
	other.answered(t)
}

func TestALeaderWhoGaveUpHandsTheLeadOn(t *testing.T) {
	for range 200 { // the lead and the cancellation come at the same moment
		a := newAir(1, 10)
		first := a.call(t.Context(), 1)
		tr := <-a.trips
		ctx, cancel := context.WithCancel(t.Context())
		others := a.waits(t.Context(), t, 2)
		leader := a.waits(ctx, t, 3)[0]
		go cancel()
		tr.land <- nil
		first.answered(t)
		tr = <-a.trips
		tr.land <- nil
		others[0].answered(t)
		if <-leader.done; leader.err != nil && !errors.Is(leader.err, context.Canceled) {
			t.Errorf("got %v, want an answer or the cancellation", leader.err)
		}
		last := a.call(t.Context(), 4)
		tr = <-a.trips
		tr.land <- nil
		last.answered(t)
	}
}

// dawdler is a context that is over by the time its caller looks.
type dawdler struct {
	context.Context
	look, over chan struct{}
}

func (d dawdler) Done() <-chan struct{} {
	<-d.look
	return d.over
}
func (d dawdler) Err() error { return context.DeadlineExceeded }

// Callers that came together give up together, as when Redis is frozen. The lead
// must not be handed on to one that has gone: its place would never be free again.
func TestTheLeadIsNotHandedToACallerWhoHasGone(t *testing.T) {
	for range 20 { // a leader with both the lead and its end before it takes either
		a := newAir(1, 10)
		first := a.call(t.Context(), 1)
		tr := <-a.trips
		ctx, cancel := context.WithCancel(t.Context())
		waiter := a.waits(ctx, t, 2)[0]
		late := dawdler{t.Context(), make(chan struct{}), make(chan struct{})}
		leader := a.waits(late, t, 3)[0]
		tr.land <- nil
		first.answered(t)
		cancel()
		<-waiter.done
		close(late.over)
		close(late.look)
		last := a.call(t.Context(), 4)
		for waiting := true; waiting; {
			select {
			case tr := <-a.trips:
				tr.land <- nil
			case <-last.done:
				waiting = false
			case <-time.After(10 * time.Second):
				t.Fatal("nobody leads: the place of a round trip is lost")
			}
		}
		last.answered(t)
		<-leader.done
	}
}

func TestALeaderWhoDiesTakesNobodyAlong(t *testing.T) {
	a := newAir(1, 2)
	first := a.call(t.Context(), 1)
	tr := <-a.trips
	waiting := a.waits(t.Context(), t, 2, 3, 4)
	tr.land <- nil
	first.answered(t)
	tr = <-a.trips
	tr.land <- func() { panic("a hook of the caller's") }
	waiter, leader := waiting[0], waiting[1]
	if <-leader.done; leader.died == nil {
		t.Error("the leader lived, want its panic to reach its caller")
	}
	if <-waiter.done; !errors.Is(waiter.err, batch.ErrAbandoned) {
		t.Errorf("got %v for who rode along, want ErrAbandoned", waiter.err)
	}
	tr = <-a.trips // the place of the dead one is taken
	tr.land <- nil
	waiting[2].answered(t)
}

func TestASlowRoundTripDoesNotHoldUpTheOthers(t *testing.T) {
	a := newAir(2, 10)
	slow := a.call(t.Context(), 1)
	stuck := <-a.trips
	for n := 2; n < 20; n++ {
		c := a.call(t.Context(), n)
		tr := <-a.trips
		tr.land <- nil
		c.answered(t)
	}
	stuck.land <- nil
	slow.answered(t)
}

func TestThousandsOfCallersGetTheirOwnAnswers(t *testing.T) {
	g := batch.New(4, 16, func(_ time.Time, ops []*op) {
		for _, o := range ops {
			o.answer = o.n * 10
		}
	})
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for j := range 200 {
				o := &op{n: i*1000 + j}
				if err := g.Do(ctx, time.Now().Add(time.Hour), o); err != nil || o.answer != o.n*10 {
					t.Errorf("got %d, %v, want %d", o.answer, err, o.n*10)
				}
			}
		})
	}
	all.Wait()
}

func TestACallerWaitsUntilItsDeadlineAlone(t *testing.T) {
	a := newAir(1, 10)
	first := a.call(t.Context(), 1)
	tr := <-a.trips
	if err := a.Do(t.Context(), time.Now().Add(-time.Second), &op{n: 2}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	tr.land <- nil
	first.answered(t)
}
