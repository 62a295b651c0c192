package breaker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/breaker"
)

// queue lets n requests wait that come one after the other. Each sends its number to placed
// when it has got a place; then leave has its function.
func (w *world) queue(n int) (placed <-chan int, leave []func()) {
	entered := make(chan int, n)
	leave = make([]func(), n)
	for i := range n {
		go func() {
			l, err := w.await(errCut)
			if err != nil {
				w.t.Errorf("request %d: got %v", i, err)
				return
			}
			leave[i] = l
			entered <- i
		}()
		synctest.Wait()
	}
	return entered, leave
}

func TestWaitersLeaveInOrderAsManyAsThePoolHasConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		placed, leave := w.queue(7)
		w.comeBack()
		if got := len(placed); got != w.places {
			t.Fatalf("let through at once: got %d, want %d", got, w.places)
		}
		first := map[int]bool{<-placed: true, <-placed: true}
		if !first[0] || !first[1] {
			t.Fatalf("first: got %v, want 0 and 1", first)
		}
		for want := 2; want < 7; want++ {
			leave[want-1]() // so that one place is free
			leave[want-1]()
			synctest.Wait()
			if len(placed) != 1 {
				t.Fatalf("got %d more, want 1", len(placed))
			}
			if got := <-placed; got != want {
				t.Fatalf("next: got %d, want %d", got, want)
			}
		}
	})
}

func TestWaitersOfBothSidesLeaveInOneOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.places = 1
		leave, err := w.await(errCut)
		if err != nil {
			t.Fatalf("the only place: got %v", err)
		}
		var order []breaker.Side
		want := []breaker.Side{breaker.Write, breaker.Read, breaker.Write, breaker.Read}
		for _, side := range want {
			go func() {
				leave, err := w.Await(t.Context(), "key", side, "", breaker.NewBudget(outageWait), errCut)
				if err == nil {
					order = append(order, side)
					leave()
				}
			}()
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("the order: got %v, want %v", order, want)
		}
	})
}

func TestWaitersStayQueuedIfRedisFailsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		placed, leave := w.queue(4)
		w.comeBack()
		w.goDown(errCut)
		leave[0]()
		leave[1]()
		synctest.Wait()
		if got := len(placed); got != 2 {
			t.Fatalf("let through before it failed again: got %d, want 2", got)
		}
		w.comeBack()
		if got := len(placed); got != 4 {
			t.Errorf("let through after that: got %d, want 4", got)
		}
		leave[2]()
		leave[3]()
	})
}

func TestWaitersAreNotHeldBackPastTheAgeOfAnOutageThatContinues(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.places = 1
		w.goDown(errCut)
		time.Sleep(4*time.Second - probeEvery)
		w.comeBack() // 4 s
		leave, err := w.await(errCut)
		if err != nil {
			t.Fatalf("the first: got %v", err)
		}
		failed := make(chan error)
		go func() {
			_, err := w.await(errCut) // behind the first
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		w.goDown(errCut)
		wantErr(t, <-failed, errCut, "lasts longer than requests wait")
		if took := time.Since(began); took != time.Second {
			t.Errorf("the wait: got %v, want 1s", took)
		}
		leave()
	})
}

func TestWaitersOfReadingPassThoseOfWriting(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		written := make(chan error, 1)
		go func() {
			leave, err := w.await(errCut)
			leave()
			written <- err
		}()
		synctest.Wait()
		w.fail(nil, noReplicas)
		leave, err := w.Await(t.Context(), "key", breaker.Read, "", breaker.NewBudget(outageWait), errCut)
		if err != nil {
			t.Fatalf("reading: got %v", err)
		}
		leave()
		if len(written) != 0 {
			t.Error("writing was let through")
		}
		w.comeBack()
		if err := <-written; err != nil {
			t.Errorf("writing: got %v", err)
		}
	})
}

func TestWaitersAreLimited(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		session string
		limit   int
		why     string
	}{
		{"of one session", "id", 32, "requests of the session"},
		{"of all", "", 10_000, "too many requests wait"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.goDown(errCut)
				await := func() (func(), error) {
					return w.Await(t.Context(), "key", breaker.Read, row.session, breaker.NewBudget(outageWait), errCut)
				}
				var left atomic.Int64
				for range row.limit {
					go func() {
						if leave, err := await(); err == nil {
							left.Add(1)
							leave()
						}
					}()
				}
				synctest.Wait()
				_, err := await()
				wantErr(t, err, errCut, row.why)
				w.comeBack()
				if got := left.Load(); got != int64(row.limit) {
					t.Errorf("let through: got %d, want %d", got, row.limit)
				}
			})
		})
	}
}

func TestWaitersThatGiveUpHandOnTheirPlaces(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 20 {
			w.goDown(errCut)
			ctx, cancel := context.WithTimeout(t.Context(), probeEvery) // when the probe succeeds
			for range 10 {
				go func() {
					leave, err := w.Await(ctx, "key", breaker.Write, "", breaker.NewBudget(outageWait), errCut)
					if err == nil {
						leave()
					}
				}()
			}
			synctest.Wait()
			w.comeBack()
			cancel()
			time.Sleep(10 * time.Second)
		}
		for range w.places {
			began := time.Now()
			if _, err := w.await(errCut); err != nil || !time.Now().Equal(began) {
				t.Errorf("a place afterwards: got %v after %v, want one at once", err, time.Since(began))
			}
		}
	})
}

// Whatever happens, no place is lost and no more are given away than there are.
func TestWaitersKeepTheirPlacesWhileEverythingHappensAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.places = 3
		var under atomic.Int64
		var requests sync.WaitGroup
		for i := range 200 {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			requests.Go(func() {
				time.Sleep(time.Duration(random.Int64N(int64(10 * time.Second))))
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(4*time.Second))))
				defer cancel()
				side := breaker.Side(random.IntN(2))
				w.report(side, errCut)
				leave, err := w.Await(ctx, "key", side, fmt.Sprint(i%5), breaker.NewBudget(outageWait), errCut)
				if err != nil {
					return
				}
				if n := under.Add(1); n > 3 {
					t.Errorf("under way: got %d, want at most 3", n)
				}
				time.Sleep(time.Duration(random.Int64N(int64(timeout))))
				w.report(side, [...]error{nil, errCut, readOnly}[random.IntN(3)])
				under.Add(-1)
				leave()
			})
		}
		for i := range 40 {
			w.fail([...]error{nil, errCut, nil, nil}[i%4], [...]error{nil, errCut, readOnly, nil}[i%4])
			time.Sleep(300 * time.Millisecond)
		}
		w.fail(nil, nil)
		requests.Wait()
		time.Sleep(time.Second)
		w.wantAllowed(true, true)
		for range 3 {
			if _, err := w.await(errCut); err != nil {
				t.Errorf("a place afterwards: got %v", err)
			}
		}
	})
}
