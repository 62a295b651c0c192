package lease_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/lease"
)

var now = time.UnixMilli(1_800_000_000_000)

// of is a lease of name that has d left.
func of(name string, d time.Duration) lease.Lease { return lease.New(lease.Tag(name), now.Add(d)) }

func failed(l lease.Lease) lease.Lease { l.Failed = true; return l }

func TestLeaseComesBackAsItWas(t *testing.T) {
	t.Parallel()
	a, b := of("a", time.Second), failed(of("b", time.Minute))
	text := lease.Put(lease.Put("", a, now), b, now)
	rows := []struct {
		name, text, tag string
		want            lease.Lease
	}{
		{"the first", text, a.Tag, a},
		{"the second, which failed", text, b.Tag, b},
		{"one that is not there", text, lease.Tag("c"), lease.Lease{}},
		{"of an empty text", "", a.Tag, lease.Lease{}},
		{"one that was removed", lease.Remove(text, a.Tag), a.Tag, lease.Lease{}},
		{"one beside it stays", lease.Remove(text, a.Tag), b.Tag, b},
		{"one whose place another takes", lease.Put(text, failed(a), now), a.Tag, failed(a)},
		{"one that was over long ago goes when another is put", lease.Put(text, a, now.Add(time.Hour)), b.Tag, lease.Lease{}},
		{"one that was over lately stays", lease.Put(text, a, now.Add(2*time.Minute)), b.Tag, b},
		{"garbage", "x " + strings.Repeat("y", 40) + "! " + a.Tag, a.Tag, lease.Lease{}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := lease.Find(row.text, row.tag); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestLeaseHasOneNumberEach(t *testing.T) {
	t.Parallel()
	if a, b := of("a", 0), of("a", 0); a.Number == b.Number {
		t.Errorf("got the number %s twice", a.Number)
	}
	if lease.Tag("a") == lease.Tag("b") {
		t.Error("two names have one tag")
	}
}

func TestLeaseState(t *testing.T) {
	t.Parallel()
	held, over := of("a", time.Millisecond), of("a", 0)
	rows := []struct {
		name  string
		lease lease.Lease
		known string
		want  lease.State
	}{
		{"none is free", lease.Lease{}, "", lease.Free},
		{"one that lasts is held", held, "", lease.Held},
		{"one that lasts is held, known or not", held, held.Number, lease.Held},
		{"one that is over is free", over, "", lease.Free},
		{"a failure is told to who did not know of it", failed(held), "", lease.Failed},
		{"a failure is told to who knew of another", failed(held), over.Number, lease.Failed},
		{"a failure of a moment ago is told too", failed(of("a", -9*time.Second)), "", lease.Failed},
		{"a failure of long ago is free", failed(of("a", -10*time.Second)), "", lease.Free},
		{"a failure known before is free", failed(held), held.Number, lease.Free},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := row.lease.StateAt(now, row.known); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}
