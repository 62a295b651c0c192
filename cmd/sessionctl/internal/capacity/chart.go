package capacity

import (
	"bytes"
	"fmt"
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	chartWidth  = 20 * vg.Centimeter
	chartHeight = 12 * vg.Centimeter
	gib         = 1 << 30
)

// Colours that colour-blind readers tell apart (Okabe and Ito).
var (
	blue   = color.RGBA{R: 0, G: 114, B: 178, A: 255}
	orange = color.RGBA{R: 230, G: 159, B: 0, A: 255}
	green  = color.RGBA{R: 0, G: 158, B: 115, A: 255}
)

// writeChart draws the steps as svg or png.
func writeChart(w io.Writer, format string, r *Report) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Memory of sessions in Redis %s, %d bytes of data each", r.Redis, r.ValueBytes)
	p.X.Label.Text, p.Y.Label.Text = "sessions", "GiB"
	p.X.Min, p.Y.Min = 0, 0
	p.X.Max = float64(r.Steps[len(r.Steps)-1].Sessions) * 1.04 // room for the last label
	p.X.Tick.Marker = countTicks{}
	p.Title.Padding, p.Legend.Padding = 4*vg.Millimeter, vg.Millimeter
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = 4*vg.Millimeter, -2*vg.Millimeter
	p.Add(plotter.NewGrid())
	if err := addSeries(p, r.Steps); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	if l := r.Line; l != nil {
		fitted := plotter.NewFunction(func(x float64) float64 { return (l.Base + l.PerSession*x) / gib })
		fitted.Dashes, fitted.Color = []vg.Length{vg.Points(3), vg.Points(3)}, color.Black
		p.Add(fitted)
		p.Legend.Add(fmt.Sprintf("%.0f bytes a session, R² %.5f", l.PerSession, l.RSquared), fitted)
	}
	image, err := p.WriterTo(chartWidth, chartHeight, format)
	if err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	var drawn bytes.Buffer
	if _, err := image.WriteTo(&drawn); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	text := drawn.Bytes()
	if format == "svg" { // few readers have the font that the drawing was measured with
		text = bytes.ReplaceAll(text, []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	}
	_, err = w.Write(text)
	return err
}

// addSeries draws what was measured.
func addSeries(p *plot.Plot, steps []Step) error {
	for _, s := range []struct {
		name  string
		color color.RGBA
		shape draw.GlyphDrawer
		value func(Step) uint64
	}{
		{"as files of 4 KiB blocks", green, draw.TriangleGlyph{}, func(s Step) uint64 { return s.FileBytes }},
		{"RSS", orange, draw.BoxGlyph{}, func(s Step) uint64 { return s.RSS }},
		{"used_memory", blue, draw.CircleGlyph{}, func(s Step) uint64 { return s.UsedMemory }},
	} {
		points := make(plotter.XYs, len(steps))
		for i, step := range steps {
			points[i] = plotter.XY{X: float64(step.Sessions), Y: float64(s.value(step)) / gib}
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = s.color, vg.Points(1.5)
		marks.Color, marks.Shape, marks.Radius = s.color, s.shape, vg.Points(3)
		p.Add(line, marks)
		p.Legend.Add(s.name, line, marks)
	}
	return nil
}

// countTicks labels numbers of sessions as 100k or 8m.
type countTicks struct{}

func (countTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = Short(int(ticks[i].Value))
		}
	}
	return ticks
}
