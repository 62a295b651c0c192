package breaker

import (
	"sync/atomic"
	"time"
)

// Budget is what one request may still spend on waiting, in all its waits together. It
// also pays for what is tried again after a wait, so that a request whose attempts fail
// time after time ends as early as one that only waits. Nothing is left in a nil Budget
// and in the zero value. It may be used concurrently.
type Budget struct{ nanoseconds atomic.Int64 }

// NewBudget returns a Budget from which wait can be spent.
func NewBudget(wait time.Duration) *Budget {
	b := new(Budget)
	b.Grant(wait)
	return b
}

// Grant makes wait what can be spent from b.
func (b *Budget) Grant(wait time.Duration) { b.nanoseconds.Store(int64(wait)) }

func (b *Budget) left() time.Duration {
	if b == nil {
		return 0
	}
	return time.Duration(b.nanoseconds.Load())
}

func (b *Budget) spend(d time.Duration) {
	if b != nil {
		b.nanoseconds.Add(-int64(d))
	}
}
