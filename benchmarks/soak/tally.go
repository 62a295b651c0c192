package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// tally counts what happened. It is safe for concurrent use.
type tally struct {
	mu      sync.Mutex // guards what follows
	actions map[string]*action
	events  map[string]int
	wrongs  int
	first   []string // of what went wrong
}

// action is all requests of one kind.
type action struct {
	done, gone int
	took, most time.Duration
}

// count counts a request; gone is one that was told that its session has ended, as happens where two race.
func (t *tally) count(name string, took time.Duration, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.actions == nil {
		t.actions = make(map[string]*action)
	}
	a := t.actions[name]
	if a == nil {
		a = &action{}
		t.actions[name] = a
	}
	a.done++
	if gone {
		a.gone++
	}
	a.took += took
	a.most = max(a.most, took)
}

func (t *tally) event(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events == nil {
		t.events = make(map[string]int)
	}
	t.events[name]++
}

// wrong notes what should not have happened.
func (t *tally) wrong(format string, args ...any) {
	const shown = 20
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrongs++; len(t.first) < shown {
		t.first = append(t.first, fmt.Sprintf(format, args...))
	}
}

func (t *tally) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "action\trequests\tsession ended meanwhile\tmean ms\tmost ms\t")
	var all int
	for _, name := range slices.Sorted(maps.Keys(t.actions)) {
		a := t.actions[name]
		all += a.done
		fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%.1f\t\n", name, a.done, a.gone, milliseconds(a.took)/float64(a.done), milliseconds(a.most))
	}
	fmt.Fprintf(table, "all\t%d\t\t\t\t\n", all)
	table.Flush()
	fmt.Fprintln(table, "\nevent\tcount\t")
	for _, name := range slices.Sorted(maps.Keys(t.events)) {
		fmt.Fprintf(table, "%s\t%d\t\n", name, t.events[name])
	}
	table.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// verdict prints what went wrong and tells whether that is nothing.
func (t *tally) verdict(w io.Writer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrongs == 0 {
		fmt.Fprintln(w, "\nnothing went wrong, nothing is left over")
		return true
	}
	fmt.Fprintf(w, "\n%d things went wrong, the first of them:\n", t.wrongs)
	for _, text := range t.first {
		fmt.Fprintln(w, " ", text)
	}
	return false
}
