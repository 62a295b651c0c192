package stage

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// Counter counts what a client sends to Redis and waits for.
type Counter struct {
	mu       sync.Mutex
	commands []string
	trips    int
}

// DialHook is one of redis.Hook.
func (c *Counter) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is one of redis.Hook.
func (c *Counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook is one of redis.Hook.
func (c *Counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds...)
		return next(ctx, cmds)
	}
}

func (c *Counter) count(cmds ...redis.Cmder) {
	names := make([]string, 0, len(cmds))
	for _, cmd := range cmds {
		switch name := cmd.Name(); name {
		case "hello", "client", "ping", "select", "auth", "cluster", "command", "asking": // of the connection
		default:
			if inBackground(cmd) {
				continue
			}
			names = append(names, strings.ToUpper(name))
		}
	}
	if len(names) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands = append(c.commands, names...)
	c.trips++
}

// inBackground tells whether cmd is the part of a plan in which a rotated session takes its place in its user's index.
// Where a plan goes in parts nobody waits for it, so that it comes at any time.
func inBackground(cmd redis.Cmder) bool {
	args := cmd.Args()
	return len(args) > 4 && fmt.Sprint(args[2]) == "1" && args[4] == "move"
}

// Take returns what was sent since the last call, as "GET EXPIRE in 1".
func (c *Counter) Take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := fmt.Sprintf("%s in %d", strings.Join(c.commands, " "), c.trips)
	c.commands, c.trips = nil, 0
	return s
}

// Trips returns how many round trips there were since the last call of Take.
func (c *Counter) Trips() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trips
}

// Counted makes a Manager whose commands are counted.
func (e *Env) Counted(t *testing.T, change ...func(*redsession.Config)) (*redsession.Manager, *Counter) {
	t.Helper()
	return e.CountedBy(t, e.Manager, change...)
}

// CountedBy is Counted for a Manager that make makes: one of BothWays.
func (e *Env) CountedBy(t *testing.T, make Maker, change ...func(*redsession.Config)) (*redsession.Manager, *Counter) {
	t.Helper()
	c := &Counter{}
	m := e.HookedBy(t, make, c, change...)
	c.Take()
	return m, c
}
