package capacity_test

import (
	"math"
	"testing"

	"github.com/redsession/redsession/cmd/sessionctl/internal/capacity"
)

func TestFit(t *testing.T) {
	straight := func(n int) uint64 { return uint64(1_000_000 + 700*n) }
	for _, tt := range []struct {
		name                      string
		steps                     []capacity.Step
		base, per, deviation, rSq float64
		at                        int
	}{
		{
			"points on a line have it",
			[]capacity.Step{{Sessions: 1000, UsedMemory: straight(1000)}, {Sessions: 5000, UsedMemory: straight(5000)}, {Sessions: 9000, UsedMemory: straight(9000)}},
			1_000_000, 700, 0, 1, 0,
		},
		{
			// By hand: slope 1, intercept 100/3; off by 16.7, 33.3, 16.7 of 50, 100 and 250.
			"points beside it deviate",
			[]capacity.Step{{Sessions: 0, UsedMemory: 50}, {Sessions: 100, UsedMemory: 100}, {Sessions: 200, UsedMemory: 250}},
			33.333, 1, 33.333, 0.923, 100,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := capacity.Fit(tt.steps)
			near := func(what string, got, want float64) {
				if math.Abs(got-want) > 0.001+1e-9*math.Abs(want) {
					t.Errorf("%s: got %v, want %v", what, got, want)
				}
			}
			near("base", got.Base, tt.base)
			near("bytes a session", got.PerSession, tt.per)
			near("largest deviation", got.LargestDeviation, tt.deviation)
			near("R²", got.RSquared, tt.rSq)
			if tt.at != 0 && got.DeviatesAt != tt.at {
				t.Errorf("got the largest deviation at %d, want %d", got.DeviatesAt, tt.at)
			}
		})
	}
}

func TestTwoStepsMakeNoLine(t *testing.T) {
	if got := capacity.Fit([]capacity.Step{{Sessions: 1, UsedMemory: 1}, {Sessions: 2, UsedMemory: 3}}); got != nil {
		t.Errorf("got %+v, want none: some line goes through any two points", got)
	}
}
