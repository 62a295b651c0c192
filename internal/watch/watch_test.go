package watch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/watch"
)

func TestStreamEndsSoonAfterItsSessionEndedElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 500, "a1", "a2")
		one, same, other := open(t, w, "a1"), open(t, w, "a1"), open(t, w, "a2")
		pass(poll)
		if got, want := r.taken(), []string{"a1 a2"}; !slices.Equal(got, want) {
			t.Errorf("got looks %q, want one at each session, %q", got, want)
		}
		r.set("a1", watch.State{})
		pass(poll)
		want(t, "a stream of the ended session", one, errEnded)
		want(t, "another of it", same, errEnded)
		want(t, "a stream of another session", other, nil)
	})
}

func TestStreamEndsAtOnceWithItsSessionInThisProcess(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		ends  []string
		ended bool
	}{
		{"under its id", []string{"a3"}, true},
		{"under the id that it was opened with", []string{"a1"}, true},
		{"under an id in between", []string{"a2"}, true},
		{"under one of several ids", []string{"x", "a1", "a3"}, true},
		{"under an id that it will have", []string{"a4"}, false},
		{"under another session's", []string{"b1"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, r := start(t, 500, "a3", "b1")
				r.set("a1", watch.State{Next: "a2"})
				r.set("a2", watch.State{Next: "a3"})
				ctx := open(t, w, "a1")
				open(t, w, "b1")
				pass(poll)
				r.fail("a3", true) // nobody can look at it
				w.End(row.ends...)
				if cause := context.Cause(ctx); row.ended != errors.Is(cause, errEnded) {
					t.Errorf("got cause %v, want ended %t", cause, row.ended)
				}
			})
		})
	}
}

func TestStreamIsFoundByARotationOfThisProcessThatNoLookHasSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := start(t, 500, "a1", "a2", "a3")
		byNew, byOld, joined := open(t, w, "a1"), open(t, w, "a2"), open(t, w, "a3")
		w.Rotated("a1", "a4")
		w.Rotated("a2", "a5")
		w.Rotated("a3", "a4") // by which a stream is known already
		w.Rotated("a9", "a6") // that nobody watches
		w.End("a2")
		want(t, "ended by the id before", byOld, errEnded)
		want(t, "another session's", byNew, nil)
		w.End("a3")
		want(t, "ended by the id after", byNew, errEnded)
		want(t, "ended together with what it goes on as", joined, errEnded)
	})
}

func TestStreamFollowsRotations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rotations = 40
		w, r := start(t, 500)
		id := func(n int) string { return fmt.Sprintf("a%02d", n) }
		for n := range rotations {
			r.set(id(n), watch.State{Next: id(n + 1)})
		}
		r.set(id(rotations), watch.State{Live: true})
		ctx, joined := open(t, w, id(0)), open(t, w, id(1))
		pass(poll)
		if got := len(r.taken()); got != 8 {
			t.Errorf("got %d looks at once, want 8: a chain without end must not keep it busy", got)
		}
		pass(rotations * poll)
		want(t, "the stream", ctx, nil)
		r.taken()
		pass(poll)
		if got, want := r.taken(), []string{id(rotations)}; !slices.Equal(got, want) {
			t.Errorf("got looks %q, want %q", got, want)
		}
		later := open(t, w, id(rotations-1)) // by a request whose cookie is the old one
		w.End(id(0))
		for name, ctx := range map[string]context.Context{"the first": ctx, "opened after a rotation": joined, "opened with an old id": later} {
			want(t, name, ctx, errEnded)
		}
	})
}

func TestStreamEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := start(t, 500, "a1")
		ctx := w.Watch(t.Context(), "a1", time.Now().Add(3*time.Second), time.Now())
		past := w.Watch(t.Context(), "a1", time.Now().Add(-time.Second), time.Now())
		other := open(t, w, "a1")
		synctest.Wait()
		want(t, "whose deadline is past", past, errEnded)
		pass(3*time.Second - 1)
		want(t, "before the deadline", ctx, nil)
		pass(1)
		want(t, "at the deadline", ctx, errEnded)
		want(t, "without a deadline", other, nil)
	})
}

func TestStreamDeadlineIsByTheClockThatIsGiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64 // nanoseconds
		live := func(_ context.Context, ids []string) ([]watch.State, error) {
			return slices.Repeat([]watch.State{{Live: true}}, len(ids)), nil
		}
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		w := watch.New(watch.Config{Poll: poll, Page: 1, Look: live, MaxStale: maxStale, Now: now, Ended: errEnded})
		defer w.Close()
		ctx := w.Watch(t.Context(), "a1", now().Add(time.Hour), now())
		ahead.Store(int64(time.Hour))
		pass(poll)
		want(t, "at the next look after the clock moved", ctx, errEnded)
	})
}

func TestStreamOutlivesAnOutageForABoundedTime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		known  time.Duration // for how long Redis had not confirmed the session when it was opened
		outage time.Duration
		cause  error
	}{
		{"a short one", 0, maxStale - poll, nil},
		{"a long one", 0, maxStale + 2*poll, errStale},
		{"opened in the middle of one", maxStale / 2, maxStale/2 + 2*poll, errStale},
		{"opened in the middle of a short one", maxStale / 2, maxStale/2 - poll, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, r := start(t, 500, "a1", "b1")
				r.fail("a1", true)
				ctx := w.Watch(t.Context(), "a1", time.Time{}, time.Now().Add(-row.known))
				other := open(t, w, "b1")
				pass(row.outage)
				want(t, "in the outage", ctx, row.cause)
				want(t, "on a server that answers", other, nil)
				r.fail("a1", false)
				pass(poll)
				r.fail("a1", true)
				pass(maxStale - poll)
				want(t, "in the next outage", ctx, row.cause)
			})
		})
	}
}

func TestStreamsOfOneServerDoNotWaitForAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 1, "a1", "a2", "b1")
		r.slow["a"], r.away["a1"], r.away["a2"] = time.Hour, true, true
		open(t, w, "a1")
		open(t, w, "a2")
		ctx := open(t, w, "b1")
		r.set("b1", watch.State{})
		pass(poll)
		want(t, "on a server that answers", ctx, errEnded)
	})
}

func TestStreamsAreLookedAtThoughAnotherPageFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 1, "a1")
		r.fail("a1", true)
		stays, ends := open(t, w, "a1"), open(t, w, "a2")
		pass(poll)
		want(t, "on the page that fails", stays, nil)
		want(t, "on the other page", ends, errEnded)
		if got, want := r.taken(), []string{"a1", "a2"}; !slices.Equal(got, want) {
			t.Errorf("got looks %q, want %q", got, want)
		}
	})
}

func TestStreamThatALookForgetsIsNotEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		none := func(context.Context, []string) ([]watch.State, error) { return nil, nil }
		w := watch.New(watch.Config{Poll: poll, Page: 1, Look: none, MaxStale: maxStale, Now: time.Now, Ended: errEnded})
		defer w.Close()
		ctx := open(t, w, "a1")
		pass(poll)
		want(t, "after an answer that is too short", ctx, nil)
	})
}

func TestStreamEndedWhileItIsLookedAtStaysEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 500, "a1")
		r.slow["a"] = time.Second
		first := open(t, w, "a1")
		pass(poll) // the look is under way
		w.End("a1")
		r.set("a1", watch.State{}) // which the look finds
		second := open(t, w, "a2")
		r.set("a2", watch.State{Live: true})
		pass(poll)
		want(t, "the one that was ended", first, errEnded)
		want(t, "one opened since", second, nil)
	})
}

func TestStreamRotatedWhileItIsLookedAtGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 500, "a2")
		r.slow["a"] = time.Second
		ctx := open(t, w, "a1")
		pass(poll) // the look is under way, and will find nothing at the old id
		w.Rotated("a1", "a2")
		w.Rotated("a1", "a3") // no more: it is not there
		pass(poll)
		want(t, "after the look at the old id", ctx, nil)
		r.taken()
		pass(poll)
		if got, want := r.taken(), []string{"a2"}; !slices.Equal(got, want) {
			t.Errorf("got looks %q, want %q", got, want)
		}
	})
}

func TestStreamEndsWithItsRequestAndNobodyIsLookedAtAnyMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 500, "a1")
		for range 2 { // watching ends and begins anew
			request, finish := context.WithCancel(t.Context())
			ctx := w.Watch(request, "a1", time.Now().Add(time.Hour), time.Now())
			pass(poll)
			finish()
			synctest.Wait()
			want(t, "a stream", ctx, context.Canceled)
			if got := len(r.taken()); got != 1 {
				t.Errorf("got %d looks, want 1", got)
			}
			pass(10 * poll)
			if got := r.taken(); len(got) != 0 {
				t.Errorf("got looks %q without a stream, want none", got)
			}
		}
	})
}

func TestCloseEndsTheStreamsAndTheWatching(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, r := start(t, 500, "a1")
		r.slow["a"] = time.Hour
		before := open(t, w, "a1")
		pass(poll) // a look is under way
		began := time.Now()
		w.Close()
		if took := time.Since(began); took > 0 {
			t.Errorf("got Close after %v, want the look cut short", took)
		}
		want(t, "open before", before, errStale)
		want(t, "opened after", open(t, w, "a1"), errStale)
		w.Close()
	})
}

func TestStreamsOpenAndEndConcurrently(t *testing.T) {
	t.Parallel()
	live := func(_ context.Context, ids []string) ([]watch.State, error) {
		states := make([]watch.State, len(ids))
		for i, id := range ids {
			if states[i].Live = len(id) > 6; !states[i].Live {
				states[i].Next = id + "+"
			}
		}
		return states, nil
	}
	w := watch.New(watch.Config{Poll: time.Microsecond, Page: 3, Look: live, MaxStale: maxStale, Now: time.Now, Ended: errEnded})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			for i := range 200 {
				id := fmt.Sprint("a", (n+i)%5)
				request, finish := context.WithCancel(t.Context())
				ctx := w.Watch(request, id, time.Now().Add(time.Duration(i)*time.Microsecond), time.Now())
				if i%2 == 0 {
					w.Rotated(id, id+"+")
				}
				if i%3 == 0 {
					w.End(id)
					<-ctx.Done()
				}
				finish()
				<-ctx.Done()
			}
		})
	}
	clients.Wait()
	w.Close()
}
