package capacity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/capacity"
	"github.com/redsession/redsession/internal/redistest"
)

func TestARedisThatIsNotEmptyIsRefused(t *testing.T) {
	s := redistest.Start(t)
	client := s.Client()
	if err := client.Set(t.Context(), "theirs", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	o := options(s.URL)
	o.Stderr = &said
	err := capacity.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "holds keys (1)") || errors.Is(err, capacity.ErrUsage) {
		t.Errorf("got %v, want a refusal that names the key", err)
	}
	if n := size(t, s); n != 1 {
		t.Errorf("got %d keys, want the one that was there", n)
	}

	o.Yes = true
	r := report(t, o)
	if len(r.Steps) != 3 || !strings.Contains(said.String(), "session:capacity:") {
		t.Errorf("with Yes: got %d steps and %q, want 3 under a prefix of their own", len(r.Steps), said.String())
	}
	if n, got := size(t, s), client.Get(t.Context(), "theirs").Val(); n != 1 || got != "1" {
		t.Errorf("with Yes: got %d keys left and %q, want only theirs", n, got)
	}
}

func TestAKeyInAnotherDatabaseCountsToo(t *testing.T) {
	s := redistest.Start(t)
	o := s.Client().Options()
	other := redis.NewClient(&redis.Options{Addr: o.Addr, DB: 3})
	defer other.Close()
	if err := other.Set(t.Context(), "theirs", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := capacity.Run(t.Context(), options(s.URL)); err == nil {
		t.Error("got no error, want a refusal: the memory is the same")
	}
}

func TestAMachineThatIsTooSmallIsRefused(t *testing.T) {
	s := redistest.Start(t)
	o := options(s.URL)
	o.Available = func(context.Context) (uint64, error) { return 1 << 20, nil }
	err := capacity.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "this machine has 1.0 MiB") || !strings.Contains(err.Error(), "need about") {
		t.Errorf("got %v, want a refusal with the estimate", err)
	}
	o.Yes = true
	if err := capacity.Run(t.Context(), o); err != nil {
		t.Errorf("with Yes: got %v, want it tried", err)
	}
}

func TestAClusterOnThisMachineSharesItsMemory(t *testing.T) {
	o := options(redistest.StartCluster(t).URL)
	o.Available = func(context.Context) (uint64, error) { return 1 << 20, nil }
	if err := capacity.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "this machine has 1.0 MiB") {
		t.Errorf("got %v, want a refusal by what this machine has", err)
	}
}

func TestMaxmemoryThatIsTooSmallIsRefused(t *testing.T) {
	s := redistest.Start(t, "--maxmemory", "4mb")
	err := capacity.Run(t.Context(), options(s.URL))
	if err == nil || !strings.Contains(err.Error(), "maxmemory leaves this Redis") {
		t.Errorf("got %v, want a refusal by maxmemory", err)
	}
	for _, policy := range []string{"noeviction", "allkeys-lru"} {
		if err := s.Client().ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
		o := options(s.URL)
		o.Yes, o.Steps = true, []int{1000, 6000}
		var out bytes.Buffer
		o.Stdout = &out
		err := capacity.Run(t.Context(), o)
		if want := map[string]string{"noeviction": "maxmemory is reached", "allkeys-lru": "evicted"}[policy]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want that it says %q", policy, err, want)
		}
		var r capacity.Report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Steps) != 1 {
			t.Errorf("%s: got %d steps and error %v, want the one that fitted", policy, len(r.Steps), err)
		}
		if n := size(t, s); n != 0 {
			t.Errorf("%s: got %d keys left, want none", policy, n)
		}
	}
}

func TestMistakesAreFoundBeforeAnythingIsDone(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*capacity.Options)
	}{
		{"no steps", func(o *capacity.Options) { o.Steps = nil }},
		{"a step of none", func(o *capacity.Options) { o.Steps = []int{0} }},
		{"a chart of no known kind", func(o *capacity.Options) { o.Out = "chart.gif" }},
		{"a chart in a folder that is not there", func(o *capacity.Options) { o.Out = "no/where/chart.svg" }},
		{"a table in a folder that is not there", func(o *capacity.Options) { o.CSV = "no/where/table.csv" }},
		{"too few bytes of data", func(o *capacity.Options) { o.ValueBytes = 5 }},
		{"too many bytes of data", func(o *capacity.Options) { o.ValueBytes = 2 << 20 }},
		{"keeping a temporary Redis", func(o *capacity.Options) { o.URL, o.Keep = "", true }},
		{"a URL that is none", func(o *capacity.Options) { o.URL = "localhost:6379" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options("redis://127.0.0.1:1")
			tt.edit(&o)
			if err := capacity.Run(t.Context(), o); !errors.Is(err, capacity.ErrUsage) {
				t.Errorf("got %v, want a mistake of use", err)
			}
		})
	}
}
