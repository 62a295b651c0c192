package capacity

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far it is, on a terminal alone.
type progress struct {
	to  io.Writer // nil shows nothing
	bar *progressbar.ProgressBar
}

func newProgress(o Options) *progress {
	if !o.Terminal {
		return &progress{}
	}
	return &progress{to: o.Stderr}
}

func (p *progress) begin(what string, from, to int) {
	if p.to == nil {
		return
	}
	p.bar = progressbar.NewOptions64(
		int64(to-from),
		progressbar.OptionSetWriter(p.to),
		progressbar.OptionSetDescription(what+" "+Short(to)),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("sessions"),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(20), progressbar.OptionClearOnFinish(),
	)
}

// add is safe for concurrent use.
func (p *progress) add(n int) {
	if p.to != nil {
		_ = p.bar.Add(n)
	}
}

func (p *progress) end() {
	if p.to != nil {
		_ = p.bar.Clear()
	}
}
