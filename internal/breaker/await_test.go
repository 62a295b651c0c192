package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/breaker"
)

// wantErr wants err to wrap cause and to say why.
func wantErr(t *testing.T, err, cause error, why string) {
	t.Helper()
	if !errors.Is(err, cause) || !strings.Contains(fmt.Sprint(err), why) {
		t.Errorf("got error %v, want one that wraps %v and says %q", err, cause, why)
	}
}

func TestAwaitLastsUntilRedisIsBack(t *testing.T) {
	for _, row := range []struct {
		name  string
		cause error
	}{
		{"a request that failed", errCut},
		{"a request that was refused meanwhile", breaker.ErrOpen},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				began := time.Now()
				w.goDown(errCut)
				time.AfterFunc(3*time.Second-1, func() { w.fail(nil, nil) })
				leave, err := w.await(row.cause)
				if err != nil {
					t.Fatalf("waiting: got %v", err)
				}
				leave()
				if took := time.Since(began); took != 3*time.Second {
					t.Errorf("the wait: got %v, want 3s", took)
				}
			})
		})
	}
}

func TestAwaitOutlastsATransientFailureByAProbe(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		w.report(breaker.Write, errCut)
		leave, err := w.await(errCut)
		if err != nil {
			t.Fatalf("waiting: got %v", err)
		}
		leave()
		if took := time.Since(began); took != 0 {
			t.Errorf("the wait: got %v, want none", took)
		}
	})
}

func TestAwaitEnds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		before time.Duration // how old the outage is
		budget time.Duration
		want   time.Duration // how long the wait is
		why    string
	}{
		{"with its budget", 0, time.Second, time.Second, "waited as long as it may"},
		{"with the age of the outage", 2 * time.Second, outageWait, 3 * time.Second, "lasts longer than requests wait"},
		{"at once if the outage is old", outageWait, outageWait, 0, "lasts longer than requests wait"},
		{"at once without a budget", 0, 0, 0, "waited as long as it may"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.goDown(errCut)
				time.Sleep(row.before)
				began := time.Now()
				_, err := w.Await(t.Context(), "key", breaker.Read, "", breaker.NewBudget(row.budget), errCut)
				wantErr(t, err, errCut, row.why)
				if took := time.Since(began); took != row.want {
					t.Errorf("the wait: got %v, want %v", took, row.want)
				}
			})
		})
	}
}

func TestAwaitSpendsOneBudgetInAllWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		budget := breaker.NewBudget(2 * time.Second)
		await := func() (func(), error) { return w.Await(t.Context(), "key", breaker.Read, "", budget, errCut) }
		w.goDown(errCut)
		time.AfterFunc(time.Second-1, func() { w.fail(nil, nil) })
		leave, err := await()
		if err != nil {
			t.Fatalf("the first wait: got %v", err)
		}
		time.Sleep(timeout) // what is tried again is paid from it too
		leave()
		leave()
		w.goDown(errCut)
		began := time.Now()
		_, err = await()
		wantErr(t, err, errCut, "waited as long as it may")
		if took := time.Since(began); took != timeout {
			t.Errorf("the second wait: got %v, want %v", took, timeout)
		}
	})
}

func TestAwaitIsNoEndlessLoopWhileProbesSucceed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		budget, n := breaker.NewBudget(outageWait), 0
		for ; n < 1000; n++ {
			leave, err := w.Await(t.Context(), "key", breaker.Write, "", budget, tryAgain)
			if err != nil {
				break
			}
			leave()
		}
		if want := int(outageWait / probeEvery); n != want {
			t.Errorf("got %d attempts, want %d", n, want)
		}
	})
}

// A network that forgot all pooled connections lets fresh ones through.
func TestAwaitOutlastsAPoolThatLeadsNowhere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began, budget := time.Now(), breaker.NewBudget(outageWait)
		for dropped := false; !dropped; dropped = slices.Contains(w.told(), "drop") {
			sent := time.Now()
			time.Sleep(timeout)
			w.Report(t.Context(), "key", breaker.Read, sent, errTimeout)
			leave, err := w.Await(t.Context(), "key", breaker.Read, "", budget, errTimeout)
			if err != nil {
				t.Fatalf("waiting: got %v", err)
			}
			leave()
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("until the pool was dropped: got %v, want at most 3s", took)
		}
	})
}

func TestAwaitWithoutABudgetIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Await(t.Context(), "key", breaker.Read, "", nil, errCut)
		wantErr(t, err, errCut, "waited as long as it may")
	})
}

func TestAwaitEndsWithTheContext(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := w.Await(ctx, "key", breaker.Read, "", breaker.NewBudget(outageWait), errCut)
		if took := time.Since(began); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v after %v, want the deadline after 1s", err, took)
		}
		began = time.Now()
		_, err = w.Await(ctx, "key", breaker.Read, "", breaker.NewBudget(outageWait), errCut)
		if took := time.Since(began); took != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that has ended: got %v after %v, want the deadline at once", err, took)
		}
	})
}

func TestAwaitEndsWithClose(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				if _, err := w.await(errCut); !errors.Is(err, breaker.ErrClosed) {
					t.Errorf("got %v, want ErrClosed", err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		w.Close()
		waiting.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("waking them: got %v, want at once", took)
		}
	})
}

func TestAwaitDoesNotTakeARefusalForAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(noReplicas)
		for _, cause := range []error{noReplicas, breaker.ErrOpen} {
			_, err := w.await(cause)
			wantErr(t, err, cause, "no failover is under way")
		}
		_, err := w.await(noPerm)
		wantErr(t, err, noPerm, "does not pass by itself")
	})
}

func TestAwaitOutlastsRefusedWritesAroundAFailover(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		time.AfterFunc(time.Second-1, func() { w.fail(nil, readOnly) })
		time.AfterFunc(2*time.Second-1, func() { w.fail(nil, nil) })
		time.Sleep(1500 * time.Millisecond)
		for _, cause := range []error{readOnly, breaker.ErrOpen} {
			leave, err := w.await(cause)
			if err != nil {
				t.Fatalf("waiting because of %v: got %v", cause, err)
			}
			leave()
		}
	})
}

func TestAwaitKnowsAFailoverBy(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		before func(w *world) // the refusal of writes
	}{
		{"a connection that failed while others did not", func(w *world) {
			w.set(func() { w.hangs = make(chan struct{}) })
			w.report(breaker.Write, errCut)
			w.report(breaker.Write, nil)
		}},
		{"a fresh connection that can do what others are refused", func(w *world) {
			w.report(breaker.Write, readOnly)
		}},
		{"a probe that reached nobody", func(w *world) {
			w.fail(errCut, errCut)
			w.report(breaker.Write, readOnly)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				row.before(w)
				synctest.Wait()
				w.set(func() { w.hangs = nil })
				time.Sleep(timeout) // until its probe has ended
				w.goDown(readOnly)
				time.Sleep(probeEvery)
				time.AfterFunc(time.Second, func() { w.fail(nil, nil) })
				leave, err := w.await(readOnly)
				if err != nil {
					t.Fatalf("waiting: got %v", err)
				}
				leave()
			})
		})
	}
}

func TestAwaitIsShortWhileRedisFlaps(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 3 { // 2 s away, 1 s there
			w.goDown(errCut)
			time.Sleep(2 * time.Second)
			w.comeBack()
			time.Sleep(time.Second)
		}
		w.goDown(errCut)
		_, err := w.await(errCut)
		wantErr(t, err, errCut, "lasts longer than requests wait")
		w.comeBack()
		time.Sleep(10 * time.Second)
		w.goDown(errCut)
		time.AfterFunc(time.Second, func() { w.fail(nil, nil) })
		leave, err := w.await(errCut)
		if err != nil {
			t.Fatalf("after 10 s of peace: got %v", err)
		}
		leave()
	})
}
