package capacity

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
	"gonum.org/v1/gonum/stat"
)

// Step is what was measured at one number of sessions.
type Step struct {
	Sessions        int     `json:"sessions"`
	UsedMemory      uint64  `json:"used_memory"`
	RSS             uint64  `json:"used_memory_rss"`
	BytesPerSession float64 `json:"bytes_per_session"` // growth of used_memory since the beginning
	Seconds         float64 `json:"seconds"`           // of filling since the step before
	Rate            float64 `json:"sessions_per_second"`
	FileBytes       uint64  `json:"file_bytes"` // as files of whole blocks, without inodes
}

func (s Step) String() string {
	return fmt.Sprintf("%s sessions: used %s, RSS %s, %.0f bytes each, filled at %s a second",
		Short(s.Sessions), humanize.IBytes(s.UsedMemory), humanize.IBytes(s.RSS), s.BytesPerSession, humanize.Comma(int64(s.Rate)))
}

// Line is used_memory = Base + PerSession × sessions, by least squares.
type Line struct {
	Base             float64 `json:"base_bytes"`
	PerSession       float64 `json:"bytes_per_session"`
	RSquared         float64 `json:"r_squared"`
	LargestDeviation float64 `json:"largest_deviation_percent"` // of a step from the line, in percent of what was measured
	DeviatesAt       int     `json:"deviates_at_sessions"`
}

// Estimate is what a number of sessions will need.
type Estimate struct {
	Sessions   int    `json:"sessions"`
	UsedMemory uint64 `json:"used_memory"`
	RSS        uint64 `json:"used_memory_rss"`
	FileBytes  uint64 `json:"file_bytes"`
}

// Report is the result of a measurement.
type Report struct {
	Redis        string     `json:"redis_version"`
	ValueBytes   int        `json:"value_bytes"`
	RecordBytes  int        `json:"record_bytes"`
	Anonymous    bool       `json:"anonymous"`
	Index        bool       `json:"index"`
	UsedBefore   uint64     `json:"used_memory_before"`
	RSSBefore    uint64     `json:"used_memory_rss_before"`
	Steps        []Step     `json:"steps"`
	Line         *Line      `json:"line,omitempty"` // nil with fewer than three steps
	Forecast     []Estimate `json:"forecast,omitempty"`
	FilePer      uint64     `json:"file_bytes_per_session"`
	InodePer     uint64     `json:"inode_bytes_per_session"`
	TotalSeconds float64    `json:"total_fill_seconds"`
}

func newReport(o Options, before state, made *source) *Report {
	return &Report{
		Redis: before.Version, ValueBytes: o.ValueBytes, RecordBytes: made.recordBytes(), Anonymous: !made.users, Index: made.index,
		UsedBefore: before.Used, RSSBefore: before.RSS, FilePer: made.fileBytes(), InodePer: inodeBytes,
	}
}

// conclude fits the line and extrapolates.
func (r *Report) conclude(forecast []int) {
	r.Line = fit(r.Steps)
	last := r.Steps[len(r.Steps)-1]
	for _, s := range r.Steps {
		r.TotalSeconds += s.Seconds
	}
	for _, n := range forecast {
		if n <= last.Sessions {
			continue // measured, or nearly so
		}
		r.Forecast = append(r.Forecast, Estimate{
			Sessions: n, FileBytes: uint64(n) * r.FilePer,
			UsedMemory: r.extrapolate(n, r.UsedBefore, func(s Step) uint64 { return s.UsedMemory }),
			RSS:        r.extrapolate(n, r.RSSBefore, func(s Step) uint64 { return s.RSS }),
		})
	}
}

// extrapolate goes on by the line through the steps, or through the only one and
// what there was before.
func (r *Report) extrapolate(n int, before uint64, of func(Step) uint64) uint64 {
	x, y := points(r.Steps, of)
	if len(x) == 1 {
		x, y = append(x, 0), append(y, float64(before))
	}
	base, per := stat.LinearRegression(x, y, nil, false)
	return uint64(max(0, base+per*float64(n)))
}

func points(steps []Step, of func(Step) uint64) (x, y []float64) {
	for _, s := range steps {
		x, y = append(x, float64(s.Sessions)), append(y, float64(of(s)))
	}
	return x, y
}

// fit returns nil for fewer than three steps, through which some line always goes.
func fit(steps []Step) *Line {
	if len(steps) < 3 {
		return nil
	}
	x, y := points(steps, func(s Step) uint64 { return s.UsedMemory })
	l := &Line{}
	l.Base, l.PerSession = stat.LinearRegression(x, y, nil, false)
	l.RSquared = stat.RSquared(x, y, nil, l.Base, l.PerSession)
	for i, s := range steps {
		if off := math.Abs(l.Base+l.PerSession*x[i]-y[i]) / y[i] * 100; off >= l.LargestDeviation {
			l.LargestDeviation, l.DeviatesAt = off, s.Sessions
		}
	}
	return l
}
