package breaker_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/breaker"
)

func TestProbesSendWhatFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fail(errCut, errCut)
		w.Report(t.Context(), "first", breaker.Write, time.Now(), readOnly)
		synctest.Wait()
		w.Report(t.Context(), "second", breaker.Read, time.Now(), errCut)
		time.Sleep(probeEvery)
		synctest.Wait()
		w.fail(nil, nil)
		time.Sleep(probeEvery)
		synctest.Wait()
		want := []string{"write first", "read second", "read second", "write second"}
		if !slices.Equal(w.probes, want) {
			t.Errorf("probes: got %q, want %q", w.probes, want)
		}
	})
}

func TestProbesKeepTheirDistance(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		for range 20 { // each failure is refuted at once
			w.report(breaker.Write, readOnly)
			time.Sleep(10 * time.Millisecond)
			w.report(breaker.Write, nil)
		}
		synctest.Wait()
		if w.probedAt[0] != began {
			t.Errorf("the first probe: got %v after the failure, want at once", w.probedAt[0].Sub(began))
		}
		for i := range w.probedAt[1:] {
			if gap := w.probedAt[i+1].Sub(w.probedAt[i]); gap < probeEvery {
				t.Errorf("probes %d and %d: got %v apart, want %v", i, i+1, gap, probeEvery)
			}
		}
	})
}

func TestProbesEndInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.hangs = make(chan struct{}) })
		w.report(breaker.Read, errCut)
		time.Sleep(timeout - time.Nanosecond)
		w.wantAllowed(true, true)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		w.wantAllowed(false, false)
	})
}

func TestDropIdleComesBeforeAnybodyIsLetThrough(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		probed := make(chan struct{})
		w.set(func() { w.hangs, w.dropping = probed, func() { time.Sleep(time.Second) } })
		for range 3 { // the pool leads nowhere, while a fresh connection works
			w.report(breaker.Write, errCut)
			synctest.Wait()
		}
		go func() {
			leave, err := w.await(errCut)
			if err != nil {
				t.Errorf("waiting: got %v", err)
				return
			}
			w.note("leaves")
			leave()
		}()
		synctest.Wait()
		close(probed)
		time.Sleep(2 * time.Second)
		got := w.told("read down", "write down", "read up", "write up")
		if want := []string{"drop", "leaves"}; !slices.Equal(got, want) {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestChangesAreToldInOrderOneAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.set(func() { w.changing = func() { <-release } })
		w.fail(nil, readOnly)
		w.report(breaker.Write, readOnly)
		synctest.Wait()
		w.comeBack()
		if got, want := w.told("drop"), []string{"write down"}; !slices.Equal(got, want) {
			t.Errorf("while OnChange runs: got %q, want %q", got, want)
		}
		close(release)
		w.wantTold("write up")
	})
}

func TestBlinksAreToldAfterAnOutageToo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		w.comeBack()
		w.told()
		w.report(breaker.Write, readOnly)
		time.Sleep(probeEvery)
		w.wantTold("blink")
	})
}

func TestBlinksAreNotToldMoreOftenThanThatGetsDone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.set(func() { w.blinking = func() { <-release } })
		for range 5 {
			w.report(breaker.Write, readOnly)
			time.Sleep(time.Second)
			w.report(breaker.Write, nil)
		}
		w.wantTold("blink")
		close(release)
		w.wantTold("blink")
	})
}

func TestCloseStopsProbesAndRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.hangs = make(chan struct{}) })
		w.report(breaker.Write, errCut)
		began := time.Now()
		w.Close()
		w.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("closing while a probe hangs: got %v, want no wait", took)
		}
		w.report(breaker.Write, errCut)
		if err := w.Allow(t.Context(), "key", breaker.Read); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Allow: got %v, want ErrClosed", err)
		}
		if _, err := w.await(errCut); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Await: got %v, want ErrClosed", err)
		}
		w.wantTold()
	})
}

func TestCloseWaitsForWhatItTold(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.changing = func() { time.Sleep(time.Second) } })
		w.goDown(errCut)
		began := time.Now()
		w.Close()
		if took := time.Since(began); took != time.Second {
			t.Errorf("closing: got %v, want the %v that OnChange takes", took, time.Second)
		}
		if got, want := w.told("drop"), []string{"read down"}; !slices.Equal(got, want) {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestCloseLeavesBlinksUntold(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.blinking = func() { time.Sleep(time.Second) } })
		for range 2 {
			w.report(breaker.Write, readOnly)
			time.Sleep(2 * probeEvery)
		}
		w.Close()
		w.wantTold("blink")
	})
}
