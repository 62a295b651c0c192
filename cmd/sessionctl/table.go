package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// column is one column of a table. Columns that do not fit the terminal are
// left out, those with the highest rank first.
type column struct {
	head  string
	right bool
	least int // how narrow it may become; 0 if it must not be cut
	rank  int // 0 stays always
}

const columnGap = 2

// grid prints rows page by page, on a terminal in columns as wide as the first
// page needs, elsewhere tab-separated without a heading.
type grid struct {
	c       *console
	columns []column
	widths  []int // 0 for a column that is left out; nil before the first page
}

func (g *grid) page(rows [][]string) error {
	if g.c.width == 0 {
		var b strings.Builder
		for _, row := range rows {
			b.WriteString(strings.Join(row, "\t") + "\n")
		}
		_, err := fmt.Fprint(g.c.out, b.String())
		return err
	}
	if len(rows) == 0 {
		return nil
	}
	t := table.NewWriter()
	t.SetStyle(plainStyle)
	if g.widths == nil {
		g.fit(rows)
		t.AppendHeader(g.row(func(i int) string { return g.columns[i].head }))
	}
	t.SetColumnConfigs(g.configs())
	for _, row := range rows {
		t.AppendRow(g.row(func(i int) string { return row[i] }))
	}
	_, err := fmt.Fprintln(g.c.out, t.Render())
	return err
}

var plainStyle = func() table.Style {
	s := table.StyleDefault
	s.Box.PaddingLeft, s.Box.PaddingRight, s.Box.MiddleVertical = "", "", strings.Repeat(" ", columnGap)
	s.Options = table.OptionsNoBordersAndSeparators
	s.Options.SeparateColumns = true
	s.Format.Header = text.FormatDefault
	return s
}()

// row makes a table row of the columns that are shown.
func (g *grid) row(cell func(i int) string) table.Row {
	var r table.Row
	for i, width := range g.widths {
		if width > 0 {
			r = append(r, cell(i))
		}
	}
	return r
}

func (g *grid) configs() []table.ColumnConfig {
	var configs []table.ColumnConfig
	for i, width := range g.widths {
		if width == 0 {
			continue
		}
		align := text.AlignLeft
		if g.columns[i].right {
			align = text.AlignRight
		}
		config := table.ColumnConfig{
			Number: len(configs) + 1, WidthMin: width, WidthMax: width, Align: align, AlignHeader: align,
			WidthMaxEnforcer: func(s string, most int) string { return text.Snip(s, most, "…") },
		}
		if g.c.colours {
			config.ColorsHeader = text.Colors{text.Bold}
		}
		configs = append(configs, config)
	}
	return configs
}

// fit decides how wide the columns are: as wide as the first rows want. What is
// too much is cut from the columns that may be cut, and when that is not enough,
// the column that matters least goes.
func (g *grid) fit(rows [][]string) {
	want := make([]int, len(g.columns))
	for i, col := range g.columns {
		want[i] = text.StringWidthWithoutEscSequences(col.head)
		for _, row := range rows {
			want[i] = max(want[i], text.StringWidthWithoutEscSequences(row[i]))
		}
	}
	g.widths = slices.Clone(want)
	for g.cut() > 0 && g.drop() {
		for i, width := range g.widths {
			if width > 0 { // what was cut may grow again
				g.widths[i] = want[i]
			}
		}
	}
}

// cut makes columns narrower, those that matter least first, and returns how
// much is still too wide.
func (g *grid) cut() int {
	over := g.total() - g.c.width
	for _, i := range g.leastFirst() {
		col := g.columns[i]
		if least := max(col.least, len(col.head)); over > 0 && col.least > 0 && g.widths[i] > least {
			less := min(over, g.widths[i]-least)
			g.widths[i] -= less
			over -= less
		}
	}
	return over
}

// drop leaves out the shown column that matters least, if there is one.
func (g *grid) drop() bool {
	for _, i := range g.leastFirst() {
		if g.widths[i] > 0 && g.columns[i].rank > 0 {
			g.widths[i] = 0
			return true
		}
	}
	return false
}

// leastFirst returns the columns' places, the highest rank first.
func (g *grid) leastFirst() []int {
	order := make([]int, len(g.columns))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return g.columns[b].rank - g.columns[a].rank })
	return order
}

func (g *grid) total() int {
	sum := -columnGap
	for _, width := range g.widths {
		if width > 0 {
			sum += width + columnGap
		}
	}
	return sum
}
