package main

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/redistest"
)

func TestCapacityDoesNotFillTheSystemsOwnRedisUnasked(t *testing.T) {
	s := redistest.Start(t)
	t.Setenv("REDSESSION_URL", s.URL)
	ctl(t, "", "capacity", "--sessions", "1k").wants(t, exitDone, "bytes each", "1k")
	info, err := s.Client().InfoMap(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for command := range info["Commandstats"] {
		if strings.HasPrefix(command, "cmdstat_set") {
			t.Errorf("got %s on the Redis of REDSESSION_URL, want it left alone", command)
		}
	}
}

func TestCapacityOfARedisThatWasNamed(t *testing.T) {
	s := redistest.Start(t)
	capacity := func(args ...string) outcome {
		return ctl(t, s.URL, append([]string{"capacity", "--sessions", "1k,2k,3k"}, args...)...)
	}
	capacity().wants(t, exitDone, "3k", "R²", "forecast")
	capacity("--json", "--index=false").wants(t, exitDone, `"index":false`, `"anonymous":false`)
	capacity("--json", "--anonymous", "--value-bytes", "100").wants(t, exitDone, `"anonymous":true`, `"value_bytes":100`)
	capacity("--keep", "--prefix", "trial:").wants(t, exitDone)
	ctl(t, s.URL, "count", "--prefix", "trial:").wants(t, exitDone, "3000")
	capacity().wants(t, exitFailed, "holds keys (6000)", "--yes")
}

func TestCapacityWrongUse(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"a number that is none", []string{"--sessions", "many"}, "100k,1m,8m"},
		{"a forecast that is none", []string{"--forecast", "1x"}, "--forecast"},
		{"a chart of no known kind", []string{"--out", "chart.gif"}, ".svg or .png"},
		{"nothing to keep", []string{"--keep"}, "nothing to keep"},
		{"an argument", []string{"1m"}, "takes no argument"},
		{"an empty prefix", []string{"--prefix", ""}, "--prefix is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctl(t, "", append([]string{"capacity"}, tt.args...)...).wants(t, exitUsage, tt.want)
		})
	}
}

func TestCapacityShowsProgressOnATerminalAlone(t *testing.T) {
	s := redistest.Start(t)
	piped := ctl(t, s.URL, "capacity", "--sessions", "20k")
	if piped.wants(t, exitDone); strings.Contains(piped.errs, "filling") {
		t.Errorf("got %q in a pipe, want no progress bar", piped.errs)
	}
	seen := ctlTerminal(t, 80, "", s.URL, "capacity", "--sessions", "20k")
	seen.wants(t, exitDone, "filling to 20k", "sessions/s", "deleting 20k")
}
