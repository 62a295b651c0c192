package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progressAfter is how long something may take without a sign of life.
const progressAfter = 300 * time.Millisecond

// progress shows how far a long piece of work has come, on a terminal alone.
// It is used by one goroutine at a time.
type progress struct {
	bar   *progressbar.ProgressBar
	began time.Time
	done  int64
	total int64
}

// newProgress returns the progress of what has total steps, -1 if nobody knows.
func (c *console) newProgress(what string, total int64) *progress {
	p := &progress{began: time.Now(), total: total}
	if c.progress {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(c.errs), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetRenderBlankState(false),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionUseANSICodes(true), progressbar.OptionSetWidth(24),
			progressbar.OptionSetSpinnerChangeInterval(0)) // or a goroutine draws on after clear
	}
	return p
}

// add counts n steps more.
func (p *progress) add(n int) {
	p.done += int64(n)
	if p.total > 0 {
		p.done = min(p.done, p.total-1) // an estimate must not finish the bar
	}
	if p.bar != nil && time.Since(p.began) > progressAfter {
		_ = p.bar.Set64(p.done)
	}
}

// clear takes the bar off the terminal.
func (p *progress) clear() {
	if p.bar != nil && time.Since(p.began) > progressAfter {
		_ = p.bar.Clear()
	}
}
