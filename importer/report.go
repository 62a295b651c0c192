package importer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

// Report counts what an import found and what became of it. At the end of an
// import that was not stopped,
//
//	Found = Imported + Existing + Ended + Expired + Failed + the sum of Skipped
//
// Nothing in it tells of a single session.
type Report struct {
	Found    int            `json:"found"`
	Imported int            `json:"imported"` // in a dry run: what would be, unless it is there already
	Existing int            `json:"existing"` // imported before, and left as they are
	Ended    int            `json:"ended"`    // logged out or revoked here since, and left so
	Expired  int            `json:"expired"`
	Skipped  map[Reason]int `json:"skipped,omitempty"`
	Failed   int            `json:"failed"` // sessions that should have been imported, and were not
	// Notes count what else is to be known, such as the types that are not
	// registered and why sessions failed: 50 different remarks at most.
	Notes   map[string]int `json:"notes,omitempty"`
	DryRun  bool           `json:"dry_run,omitempty"`
	Elapsed time.Duration  `json:"elapsed_ns"`
	// Elsewhere tells, after Once, that this call did not import: another server
	// did, or an earlier start, and this is its report.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// SkippedTotal is the sum of Skipped.
func (r Report) SkippedTotal() int {
	sum := 0
	for _, n := range r.Skipped {
		sum += n
	}
	return sum
}

// String is the report for people, in several lines without a newline at the end.
func (r Report) String() string {
	var b strings.Builder
	imported := "imported"
	if r.DryRun {
		imported = "to import"
	}
	if r.Elsewhere {
		b.WriteString("by another server, or an earlier start:\n")
	}
	fmt.Fprintf(&b, "found     %8d", r.Found)
	if r.Elapsed > 0 {
		fmt.Fprintf(&b, "   in %s, %.0f a second", r.Elapsed.Round(time.Millisecond), float64(r.Found)/r.Elapsed.Seconds())
	}
	for _, line := range []struct {
		name, remark string
		n            int
	}{
		{imported, "", r.Imported},
		{"existing", "   imported before, left as they are", r.Existing},
		{"ended", "   logged out or revoked here since", r.Ended},
		{"expired", "", r.Expired},
		{"failed", "", r.Failed},
		{"skipped", "", r.SkippedTotal()},
	} {
		if line.n == 0 {
			line.remark = ""
		}
		fmt.Fprintf(&b, "\n%-9s %8d%s", line.name, line.n, line.remark)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
		fmt.Fprintf(&b, "\n  %-13s %8d", reason, r.Skipped[reason])
	}
	for _, note := range slices.Sorted(maps.Keys(r.Notes)) {
		fmt.Fprintf(&b, "\nnote      %8d × %s", r.Notes[note], note)
	}
	return b.String()
}

// tally is a report that goroutines count in.
type tally struct {
	began time.Time

	mu     sync.Mutex
	report Report
}

func newTally(dry bool) *tally {
	return &tally{began: time.Now(), report: Report{DryRun: dry, Skipped: map[Reason]int{}, Notes: map[string]int{}}}
}

// snapshot returns the report so far.
func (t *tally) snapshot() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Skipped, r.Notes = maps.Clone(r.Skipped), maps.Clone(r.Notes)
	r.Elapsed = time.Since(t.began)
	return r
}

func (t *tally) count(change func(*Report)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.report)
}

// unread counts what a Read returned instead of a session.
func (t *tally) unread(err error) {
	t.count(func(r *Report) {
		var skipped *Skipped
		if !errors.As(err, &skipped) {
			r.Failed++
			r.note(err.Error())
			return
		}
		r.Skipped[skipped.Reason]++
		if skipped.Err != nil {
			r.note(skipped.Err.Error())
		}
	})
}

const (
	maxNotes  = 50
	otherNote = "other remarks"
)

func (r *Report) note(text string) {
	if _, known := r.Notes[text]; !known && len(r.Notes) >= maxNotes-1 {
		text = otherNote
	}
	r.Notes[text]++
}

// outcome counts what Import made of a record.
func (r *Report) outcome(o redsession.ImportOutcome) {
	switch o.Status {
	case redsession.ImportStored:
		r.Imported++
	case redsession.ImportExisting:
		r.Existing++
	case redsession.ImportEnded:
		r.Ended++
	case redsession.ImportExpired:
		r.Expired++
	default:
		r.Failed++
		if o.Err != nil {
			r.note(o.Err.Error())
		}
	}
}
