package redsession

import (
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

// TestStatsTellsEveryCounter fails for a counter that Stats forgets, and for a
// field of Stats that nothing counts.
func TestStatsTellsEveryCounter(t *testing.T) {
	t.Parallel()
	m := &Manager{Admin: &Admin{core: &core{}}}
	want := map[string]uint64{}
	counters := reflect.ValueOf(&m.count).Elem()
	for i := range counters.NumField() {
		(*atomic.Uint64)(counters.Field(i).Addr().UnsafePointer()).Store(uint64(i + 1))
		want[counters.Type().Field(i).Name] = uint64(i + 1)
	}
	stats := reflect.ValueOf(m.Stats())
	for i := range stats.NumField() {
		name := stats.Type().Field(i).Name
		counter := strings.ToLower(name[:1]) + name[1:]
		if got := stats.Field(i).Uint(); got != want[counter] || got == 0 {
			t.Errorf("Stats.%s: got %d, want %d, what the counter %s says", name, got, want[counter], counter)
		}
		delete(want, counter)
	}
	for name := range want {
		t.Errorf("Stats has no field for the counter %s", name)
	}
}
