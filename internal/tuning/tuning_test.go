package tuning_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession/internal/tuning"
)

func TestSetKeepsTheDefaultOfWhatIsZero(t *testing.T) {
	defaults := tuning.Current()
	t.Cleanup(func() { tuning.Set(tuning.Values{}) })
	want := defaults
	want.Probe = time.Millisecond
	if tuning.Set(tuning.Values{Probe: time.Millisecond}); tuning.Current() != want {
		t.Errorf("got %+v, want %+v", tuning.Current(), want)
	}
	if tuning.Set(tuning.Values{}); tuning.Current() != defaults {
		t.Errorf("got %+v after nothing was set, want the defaults %+v", tuning.Current(), defaults)
	}
}
