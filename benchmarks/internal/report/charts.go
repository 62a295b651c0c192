package report

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"

	"github.com/redsession/redsession/benchmarks/internal/measure"
	"github.com/redsession/redsession/benchmarks/internal/peer"
)

// chart is a row of horizontal bars.
type chart struct {
	file, title string
	format      string // of a value
	bars        []bar
}

type bar struct {
	name  string
	value float64
	floor bool
}

// The charts have no background of their own: these colours have a contrast of at least 3 on GitHub's white and on its
// dark page, and the ink at least 4.
var (
	ink    = color.NRGBA{0x76, 0x7e, 0x88, 0xff}
	accent = color.NRGBA{0xe5, 0x48, 0x4d, 0xff}
	others = color.NRGBA{0x6e, 0x7f, 0x96, 0xff}
	floors = color.NRGBA{0x3a, 0x96, 0x86, 0xff}
)

func (r *Results) charts() []chart {
	var charts []chart
	for _, k := range measure.Kinds() {
		for _, n := range goroutinesOf(r.Costs) {
			charts = append(charts, r.costChart(k, n))
		}
	}
	perSecond := chart{file: "http-requests.svg", title: "Read hits over HTTP: requests a second (more is better)", format: "%.0f"}
	p99 := chart{file: "http-p99.svg", title: "Read hits over HTTP: 99th percentile, ms (less is better)", format: "%.1f"}
	for _, h := range r.HTTP {
		perSecond.bars = append(perSecond.bars, bar{h.Subject, h.PerSecond, h.Floor})
		p99.bars = append(p99.bars, bar{h.Subject, h.P99.Seconds() * 1000, h.Floor})
	}
	memory := chart{file: "memory.svg", title: "Redis memory of one session, bytes (less is better)", format: "%.0f"}
	for _, m := range r.Memory {
		memory.bars = append(memory.bars, bar{m.Subject, m.Bytes, false})
	}
	return append(charts, perSecond, p99, memory)
}

func goroutinesOf(costs []measure.Cost) (all []int) {
	seen := map[int]bool{}
	for _, c := range costs {
		if !seen[c.Goroutines] {
			all = append(all, c.Goroutines)
		}
		seen[c.Goroutines] = true
	}
	return all
}

func (r *Results) costChart(k measure.Kind, goroutines int) chart {
	c := chart{
		file:   fmt.Sprintf("%s-%d.svg", strings.ReplaceAll(string(k), " ", "-"), goroutines),
		title:  fmt.Sprintf("%s, %d at once: µs per request (less is better)", title(string(k)), goroutines),
		format: "%.1f",
	}
	for _, cost := range r.Costs {
		if cost.Kind == k && cost.Goroutines == goroutines {
			c.bars = append(c.bars, bar{cost.Subject, cost.Nanoseconds / 1000, cost.Floor})
		}
	}
	return c
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// write draws the chart into folder dir, unless it has no bars.
func (c chart) write(dir string) error {
	if len(c.bars) == 0 {
		return nil
	}
	p, err := c.plot()
	if err != nil {
		return err
	}
	const width, perBar, around = 680, 24, 44 // points
	svg, err := p.WriterTo(width, vg.Length(len(c.bars)*perBar+around), "svg")
	if err != nil {
		return err
	}
	var drawn strings.Builder
	if _, err := svg.WriteTo(&drawn); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, c.file), []byte(portable(drawn.String())), 0o644)
}

// portable names fonts that browsers have where the plot library's are missing.
func portable(svg string) string {
	return strings.ReplaceAll(svg, "font-family:Liberation Sans;", "font-family:Liberation Sans,Helvetica,Arial,sans-serif;")
}

func (c chart) plot() (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text, p.Title.Padding = c.title, vg.Points(8)
	sans(&p.Title.TextStyle, 13)
	sans(&p.Y.Tick.Label, 11)
	p.HideX()
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	names, most := make([]string, len(c.bars)), 0.0
	labels := plotter.XYLabels{}
	for i, b := range c.bars {
		y := float64(len(c.bars) - 1 - i) // the first one on top
		names[len(c.bars)-1-i] = b.name
		most = max(most, b.value)
		drawn, err := plotter.NewBarChart(plotter.Values{b.value}, vg.Points(15))
		if err != nil {
			return nil, err
		}
		drawn.Horizontal, drawn.XMin, drawn.LineStyle.Width, drawn.Color = true, y, 0, b.color()
		p.Add(drawn)
		labels.XYs = append(labels.XYs, plotter.XY{X: b.value, Y: y})
		labels.Labels = append(labels.Labels, fmt.Sprintf(c.format, b.value))
	}
	p.NominalY(names...)
	values, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	for i := range values.TextStyle {
		sans(&values.TextStyle[i], 11)
		values.TextStyle[i].YAlign = text.YCenter
	}
	values.Offset = vg.Point{X: vg.Points(4), Y: vg.Points(1)}
	p.Add(values)
	const room = 1.12 // for the number behind the longest bar
	p.X.Min, p.X.Max = 0, most*room
	return p, nil
}

func (b bar) color() color.Color {
	switch {
	case b.floor:
		return floors
	case strings.HasPrefix(b.name, peer.Redsession.Name):
		return accent
	}
	return others
}

func sans(s *text.Style, size vg.Length) {
	s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	s.Color = ink
}
