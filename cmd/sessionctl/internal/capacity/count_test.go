package capacity_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/redsession/redsession/cmd/sessionctl/internal/capacity"
)

func TestParseCounts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []int
	}{
		{"thousands and millions", "100k,1m,8m", []int{100_000, 1_000_000, 8_000_000}},
		{"capitals and spaces", " 1K, 2M ", []int{1000, 2_000_000}},
		{"plain numbers", "1,250", []int{1, 250}},
		{"fractions of a unit", "0.5m,1.25k", []int{500_000, 1250}},
		{"billions", "1g", []int{1_000_000_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := capacity.ParseCounts(tt.text)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %v and error %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestParseCountsRefusesWhatIsNoNumberOfSessions(t *testing.T) {
	for _, text := range []string{"", ",", "1k,", "0", "-1k", "+1k", "1e3", "0x10", "k", "many", "1.5", "1.0005k", "inf", "nan", "1kk", "9999g", "1 k"} {
		if got, err := capacity.ParseCounts(text); !errors.Is(err, capacity.ErrUsage) {
			t.Errorf("%q: got %v and error %v, want a mistake of use", text, got, err)
		}
	}
}

func TestShortIsReadBack(t *testing.T) {
	for n, want := range map[int]string{
		1: "1", 999: "999", 1000: "1k", 1500: "1.5k", 100_000: "100k", 1_000_000: "1m", 8_000_000: "8m",
		1_234_567: "1234567", 2_000_000_000: "2g",
	} {
		got := capacity.Short(n)
		back, err := capacity.ParseCounts(got)
		if got != want || err != nil || back[0] != n {
			t.Errorf("%d: got %q, which is read as %v (%v), want %q", n, got, back, err, want)
		}
	}
}
