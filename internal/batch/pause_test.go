package batch_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession/internal/batch"
)

func TestPauseIsAPartOfARoundTrip(t *testing.T) {
	for _, row := range []struct {
		name               string
		usual, since, want time.Duration
	}{
		{"nothing is known of round trips yet", 0, 0, 0},
		{"the last one has just set out", 100 * time.Microsecond, 0, 70 * time.Microsecond},
		{"half of it is over", 100 * time.Microsecond, 50 * time.Microsecond, 20 * time.Microsecond},
		{"the pause is over", 100 * time.Microsecond, 70 * time.Microsecond, 0},
		{"the network is slow", 5 * time.Millisecond, 0, 500 * time.Microsecond},
		{"a packet was lost", 200 * time.Millisecond, 600 * time.Microsecond, -100 * time.Microsecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := batch.Pause(row.usual, row.since); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

// slow lets a know that a round trip takes a millisecond, so that the timer is what the
// next one waits for.
func (a *air) slow(t *testing.T) {
	t.Helper()
	for n := range 4 {
		c := a.call(t.Context(), n)
		tr := <-a.trips
		<-time.After(time.Millisecond)
		tr.land <- nil
		c.answered(t)
	}
}

// Nothing else happens that would let the second one set out.
func TestALostPacketStrandsNobody(t *testing.T) {
	a := newAir(4, 10)
	a.slow(t)
	lost := a.call(t.Context(), 1)
	first := <-a.trips
	second := a.call(t.Context(), 2)
	tr := <-a.trips
	tr.land <- nil
	second.answered(t)
	third := a.call(t.Context(), 3) // and once more, with the timer used
	tr = <-a.trips
	tr.land <- nil
	third.answered(t)
	first.land <- nil
	lost.answered(t)
}
