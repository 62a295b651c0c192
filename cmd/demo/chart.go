package main

import (
	"fmt"
	"strings"
)

// The chart's own units; the style sheet gives it its size.
const (
	chartWidth  = 600
	chartHeight = 120
	chartEdge   = 4 // above the highest value, so that its line is whole
)

// chart is a line over time, drawn as SVG without script or style of its own.
type chart struct {
	Title string
	Now   string // the latest value, for people
	Top   string // what the upper edge stands for
	Said  string // the whole chart in a sentence
	Width int
	// Lines and Areas hold a path each for the stretches in which Redis answered,
	// Gaps the others.
	Lines, Areas []string
	Gaps         []gap
}

type gap struct{ X, Width float64 }

// newChart draws what value makes of the samples. Its scale begins at 0.
func newChart(title string, samples []sample, value func(sample) float64, format func(float64) string) chart {
	c := chart{Title: title, Now: "unknown", Width: chartWidth}
	high, latest := 0.0, -1.0
	for _, s := range samples {
		if s.ok {
			latest = value(s)
			high = max(high, latest)
		}
	}
	if latest >= 0 {
		c.Now = format(latest)
	}
	c.Top = format(high)
	c.draw(samples, value, high)
	c.Said = fmt.Sprintf("%s of late: now %s, at most %s.", title, c.Now, c.Top)
	if len(c.Gaps) > 0 {
		c.Said += " Redis was away in between."
	}
	return c
}

// draw fills in the paths. The latest sample is at the right edge.
func (c *chart) draw(samples []sample, value func(sample) float64, high float64) {
	const step = float64(chartWidth) / (maxSamples - 1)
	if high == 0 {
		high = 1
	}
	x := func(i int) float64 { return chartWidth - step*float64(len(samples)-1-i) }
	for i := 0; i < len(samples); {
		end := i
		for end < len(samples) && samples[end].ok == samples[i].ok {
			end++
		}
		if !samples[i].ok {
			from := max(0, x(i)-step/2)
			c.Gaps = append(c.Gaps, gap{from, min(chartWidth, x(end-1)+step/2) - from})
			i = end
			continue
		}
		var line strings.Builder
		from := x(i) - step/2 // a single sample is seen, too
		fmt.Fprintf(&line, "M%.1f %.1f", from, chartY(value(samples[i]), high))
		for j := i; j < end; j++ {
			fmt.Fprintf(&line, "L%.1f %.1f", x(j), chartY(value(samples[j]), high))
		}
		c.Lines = append(c.Lines, line.String())
		c.Areas = append(c.Areas, fmt.Sprintf("%sL%.1f %dL%.1f %dZ", line.String(), x(end-1), chartHeight, from, chartHeight))
		i = end
	}
}

func chartY(v, high float64) float64 {
	return chartHeight - (chartHeight-chartEdge)*v/high
}
