package breaker_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redsession/redsession/internal/breaker"
)

// inClusterBubble is inBubble with a cluster of which "old" owns every key.
func inClusterBubble(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		w.cluster, w.owner, w.primaries = true, "old", []string{"old", "other"}
		fn(t, w)
	})
}

func TestClusterPrimariesAreJudgedApart(t *testing.T) {
	inClusterBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		w.wantAllowed(false, false)
		w.set(func() { w.owner = "other" })
		w.wantAllowed(true, true)
	})
}

func TestClusterIsLearntAnewByEveryFailure(t *testing.T) {
	inClusterBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.hangs = make(chan struct{}) })
		w.report(breaker.Write, errCut)
		synctest.Wait()
		before := w.reloads
		w.report(breaker.Write, errCut) // while a probe hangs
		if w.reloads != before+1 {
			t.Errorf("reloads: got %d, want %d", w.reloads, before+1)
		}
	})
}

func TestClusterPrimaryThatComesBackBeginsAnew(t *testing.T) {
	inClusterBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		time.Sleep(outageWait)
		w.set(func() { w.owner, w.primaries = "heir", []string{"heir", "other"} })
		time.Sleep(probeEvery)
		synctest.Wait()
		w.set(func() { w.owner, w.primaries = "old", []string{"old", "other"} })
		w.goDown(errCut)
		time.AfterFunc(time.Second, func() { w.fail(nil, nil) })
		leave, err := w.await(errCut)
		if err != nil {
			t.Fatalf("waiting: got %v", err)
		}
		leave()
	})
}

func TestClusterOutageEndsWhenAnotherNodeTakesOver(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		owner string // of the key that failed
		left  []string
	}{
		{"the key has another primary", "heir", []string{"heir", "other"}},
		{"the node is no primary any more", "", []string{"other"}},
		{"the slot has moved", "other", []string{"old", "other"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inClusterBubble(t, func(t *testing.T, w *world) {
				w.goDown(errCut)
				placed, leave := w.queue(2)
				w.told()
				w.set(func() { w.owner, w.primaries = row.owner, row.left })
				time.Sleep(probeEvery)
				synctest.Wait()
				w.wantTold("read up", "write up")
				if len(placed) != 2 {
					t.Fatalf("let through: got %d, want 2", len(placed))
				}
				leave[0]()
				leave[1]()
				w.wantAllowed(true, true)
			})
		})
	}
}

func TestClusterOutageOfWritingAloneEndsLikewise(t *testing.T) {
	inClusterBubble(t, func(t *testing.T, w *world) {
		w.fail(nil, readOnly)
		w.report(breaker.Write, readOnly)
		synctest.Wait()
		w.wantAllowed(true, false)
		w.set(func() { w.owner = "other" }) // the slot has moved
		time.Sleep(probeEvery)
		if got, want := w.told("drop"), []string{"write down", "write up"}; !slices.Equal(got, want) {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestClusterOutageGoesOnWhileNobodyKnowsThePrimaries(t *testing.T) {
	inClusterBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.owner, w.primaries = "", nil })
		w.goDown(errCut)
		time.Sleep(time.Second)
		w.wantAllowed(false, false)
		w.set(func() { w.owner, w.primaries = "heir", []string{"heir"} })
		time.Sleep(probeEvery)
		if got, want := w.told("drop"), []string{"read down", "write down", "read up", "write up"}; !slices.Equal(got, want) {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestClusterFailoverIsOneForTheNewPrimaryToo(t *testing.T) {
	inClusterBubble(t, func(t *testing.T, w *world) {
		w.goDown(errCut)
		w.set(func() { w.owner, w.primaries = "heir", []string{"heir", "other"} })
		time.Sleep(probeEvery)
		w.goDown(noReplicas)
		if err := w.Allow(t.Context(), "key", breaker.Write); !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("writing without replicas: got %v, want ErrOpen", err)
		}
		time.AfterFunc(time.Second, func() { w.fail(nil, nil) })
		leave, err := w.await(breaker.ErrOpen)
		if err != nil {
			t.Fatalf("waiting: got %v", err)
		}
		leave()
	})
}
