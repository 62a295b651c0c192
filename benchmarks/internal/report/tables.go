package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/redsession/redsession/benchmarks/internal/behaviour"
	"github.com/redsession/redsession/benchmarks/internal/measure"
	"github.com/redsession/redsession/benchmarks/internal/overhttp"
)

// section is a table under a heading.
type section struct {
	heading string
	table   table.Writer
}

// Text is everything for a terminal.
func (r *Results) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.origin())
	b.WriteString(r.failures())
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n%s\n%s\n", s.heading, s.table.Render())
	}
	return b.String()
}

// Markdown is the same for a page.
func (r *Results) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Results\n\n%s\n", r.origin())
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(&b, "\n- %s %s", name, r.Versions[name])
	}
	b.WriteString("\n" + r.failures())
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.heading, s.table.RenderMarkdown())
	}
	return b.String()
}

func (r *Results) origin() string {
	return fmt.Sprintf("%s, %d cores (%s), %s/%s, %s, Redis %s. Medians of %d rounds; the whole run took %s.",
		r.Date.Format(time.DateOnly), r.Machine.Cores, r.Machine.CPU, r.Machine.OS, r.Machine.Arch, r.Versions["go"], r.Versions["redis"], r.Run.Rounds, r.Run.Took.Round(time.Second))
}

// failures says which figures were measured on a machine too busy for them.
func (r *Results) failures() string {
	var b strings.Builder
	for _, c := range r.Costs {
		if c.Failed > 0 {
			fmt.Fprintf(&b, "\n%d requests failed: %s, %s, %d goroutines\n", c.Failed, c.Subject, c.Kind, c.Goroutines)
		}
	}
	for _, h := range r.HTTP {
		if h.Failed > 0 {
			fmt.Fprintf(&b, "\n%d requests failed: %s, over HTTP\n", h.Failed, h.Subject)
		}
	}
	return b.String()
}

func (r *Results) sections() []section {
	var sections []section
	for _, k := range measure.Kinds() {
		if t := costTable(r.Costs, k); t != nil {
			sections = append(sections, section{fmt.Sprintf("Time of a %s by goroutines, in brackets as a multiple of redsession's", k), t})
		}
	}
	if len(r.HTTP) > 0 {
		sections = append(sections, section{fmt.Sprintf("Read hits over HTTP, %d keep-alive connections, load from %s", r.HTTP[0].Connections, r.Run.Generator), httpTable(r.HTTP)})
	}
	if len(r.Commands) > 0 {
		sections = append(sections, section{"What one request sends to Redis", commandTable(r.Commands)})
	}
	if len(r.Memory) > 0 {
		sections = append(sections, section{fmt.Sprintf("Redis memory, %d sessions of the same content", r.Memory[0].Sessions), memoryTable(r.Memory)})
	}
	if len(r.Matrix) > 0 {
		sections = append(sections, section{"Behaviour", matrixTable(r.Matrix)})
	}
	return sections
}

func newTable(head ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = 0 // as it is written
	t.AppendHeader(head)
	return t
}

// costTable returns nil when nothing of the kind was measured.
func costTable(costs []measure.Cost, k measure.Kind) table.Writer {
	var goroutines []int
	var subjects []string
	cells := map[string]measure.Cost{}
	id := func(subject string, n int) string { return fmt.Sprint(subject, " ", n) }
	for _, c := range costs {
		if c.Kind != k {
			continue
		}
		if !slices.Contains(goroutines, c.Goroutines) {
			goroutines = append(goroutines, c.Goroutines)
		}
		if !slices.Contains(subjects, c.Subject) {
			subjects = append(subjects, c.Subject)
		}
		cells[id(c.Subject, c.Goroutines)] = c
	}
	if len(subjects) == 0 {
		return nil
	}
	head := []any{""}
	for _, n := range goroutines {
		head = append(head, n)
	}
	t := newTable(append(head, "allocations", "bytes")...)
	for _, s := range subjects {
		line := table.Row{s}
		for _, n := range goroutines {
			c := cells[id(s, n)]
			line = append(line, fmt.Sprintf("%.1f µs (%.2f)", c.Nanoseconds/1000, c.Ratio))
		}
		alone := cells[id(s, goroutines[0])]
		t.AppendRow(append(line, fmt.Sprintf("%.0f", alone.Allocations), fmt.Sprintf("%.0f", alone.Bytes)))
	}
	return t
}

func httpTable(results []overhttp.Result) table.Writer {
	t := newTable("", "requests/s", "of redsession's", "p50", "p99", "of redsession's")
	for _, r := range results {
		t.AppendRow(table.Row{
			r.Subject, fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.2f", r.Ratio),
			r.P50.Round(10 * time.Microsecond), r.P99.Round(10 * time.Microsecond), fmt.Sprintf("%.2f", r.RatioP99),
		})
	}
	return t
}

func commandTable(commands []measure.Commands) table.Writer {
	t := newTable("request", "", "commands", "round trips", "which")
	for _, request := range requestsOf(commands) {
		for _, c := range commands {
			if c.Request == request {
				t.AppendRow(table.Row{c.Request, c.Subject, number(c.Commands), number(c.RoundTrips), c.Names})
			}
		}
		t.AppendSeparator()
	}
	return t
}

func requestsOf(commands []measure.Commands) (requests []string) {
	for _, c := range commands {
		if !slices.Contains(requests, c.Request) {
			requests = append(requests, c.Request)
		}
	}
	return requests
}

func number(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

func memoryTable(memories []measure.Memory) table.Writer {
	t := newTable("", "bytes per session", "of redsession's")
	for _, m := range memories {
		t.AppendRow(table.Row{m.Subject, fmt.Sprintf("%.0f", m.Bytes), fmt.Sprintf("%.2f", m.Ratio)})
	}
	return t
}

func matrixTable(rows []behaviour.Row) table.Writer {
	head := []any{"", "right is"}
	for _, c := range rows[0].Cells {
		head = append(head, c.Peer)
	}
	t := newTable(head...)
	for _, row := range rows {
		line := table.Row{row.Scenario, row.Want}
		for _, c := range row.Cells {
			mark := "✗ "
			if c.Right {
				mark = "✓ "
			}
			line = append(line, mark+c.Seen)
		}
		t.AppendRow(line)
	}
	return t
}
