package redsession_test

import (
	"strings"
	"sync/atomic"
	"testing"
)

// Redis takes one postponed change and then no more, as if it went away again.
func TestAReplayCutShortHidesNoPostponedChange(t *testing.T) {
	o := newOutage(t)
	o.st.must("login:alice")
	o.st.must("set:a:1") // Redis knows the script from here on
	var room atomic.Int32
	o.proxy.Reply(func(args []string) (string, bool) {
		writes := strings.HasPrefix(strings.ToUpper(args[0]), "EVAL")
		return "-OOM command not allowed when used memory > 'maxmemory'\r\n", writes && room.Add(-1) < 0
	})
	for range 3 {
		o.st.must("add:n")
	}
	room.Store(1)
	for _, row := range []struct{ ops, want string }{
		{"", "200 degraded alice a=1 n=3"},
		{"add:n", "200 degraded alice a=1 n=4"},
		{"", "200 degraded alice a=1 n=4"},
	} {
		if got := outcome(o.st.do(row.ops)); got != row.want {
			t.Errorf("%q: got %q, want %q", row.ops, got, row.want)
		}
	}
	o.proxy.Reply(nil)
	o.flushed(t)
	if got := o.other.fork(o.st.cookie()).must().body; got != "alice a=1 n=4" {
		t.Errorf("afterwards: got %q, want alice a=1 n=4", got)
	}
}
