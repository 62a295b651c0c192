package rotation_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/stage"
)

// severed is a go-redis hook that loses the reply to the step of a rotation that puts
// the tombstone, and whatever comes after it, until it is mended.
type severed struct {
	mu       sync.Mutex
	armed    bool
	lost     bool // from now on everything is
	executed bool // the step that is lost first
}

func (c *severed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *severed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.mu.Lock()
		first := c.armed && !c.lost && slices.Contains(cmd.Args(), any("replace"))
		c.lost = c.lost || first
		lost := c.lost
		c.mu.Unlock()
		switch {
		case !lost:
			return next(ctx, cmd)
		case first && c.executed:
			_ = next(ctx, cmd)
		}
		cmd.SetErr(io.EOF)
		return io.EOF
	}
}

func (c *severed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// arm begins or mends it, and tells whether anything was lost since it was last called.
func (c *severed) arm(on bool) (lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost, c.armed, c.lost = c.lost, on, false
	return lost
}

func TestRotationWithAnUnknownOutcomeAnswersUnderTheOldCookie(t *testing.T) {
	t.Parallel()
	for _, executed := range []bool{false, true} {
		for path, status := range map[string]int{"/who": http.StatusOK, "/set?v=lost": http.StatusServiceUnavailable} {
			e := stage.NewMini(t)
			for way, maker := range e.BothWays() {
				cut := &severed{executed: executed}
				b := stage.LifeBrowser(t, e.HookedBy(t, maker, cut), nil)
				b.Get("/login?user=alice")
				b.Get("/rotate")
				b.Get("/who")
				e.Advance(t, 3*time.Hour)
				cut.arm(true)
				a := b.Get(path)
				if lost := cut.arm(false); a.StatusCode != status || len(a.SetCookies()) != 0 || !lost {
					t.Errorf("%s, %s, executed %v: got %d and %d Set-Cookie (lost: %v), want %d and none", way, path, executed, a.StatusCode, len(a.SetCookies()), lost, status)
				}
				if st := b.State(); st.User != "alice" || (st.Note != "" && !executed) {
					t.Errorf("%s, %s, executed %v: got %+v afterwards, want alice", way, path, executed, st)
				}
			}
		}
	}
}
