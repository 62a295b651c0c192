package importer

import (
	"context"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

// pacer lets so many through in a second. What nobody took for a while may be made up for by a
// batch at most: what could not be sent while Redis was away must not follow in one go.
type pacer struct {
	each   time.Duration // one takes
	behind time.Duration // that may be made up for

	mu   sync.Mutex // guards next
	next time.Time  // when the last one that was let through is over
}

func newPacer(perSecond, batch int) *pacer {
	each := time.Second / time.Duration(perSecond)
	return &pacer{each: each, behind: each * time.Duration(batch), next: time.Now()}
}

// wait takes n from p, which may be nil.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-p.behind); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(p.each * time.Duration(n))
	d := p.next.Sub(now)
	p.mu.Unlock()
	return sleep(ctx, d)
}

// importPaced imports a batch, and pauses after it as Options.Rate says.
func (im *importing) importPaced(ctx context.Context, batch []redsession.LegacyRecord) ([]redsession.ImportOutcome, error) {
	if im.o.Rate != 0 {
		if err := im.sending.wait(ctx, len(batch)); err != nil {
			return nil, err
		}
		return im.to.Import(ctx, batch, im.o.Force)
	}
	im.turn.Lock()
	defer im.turn.Unlock()
	began := time.Now()
	outcomes, err := im.to.Import(ctx, batch, im.o.Force)
	_ = sleep(ctx, min(time.Since(began), time.Second)) // its end is seen by whoever goes on
	return outcomes, err
}

// sleep waits, and returns an error as soon as ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
