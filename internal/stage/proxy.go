package stage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// IsGET picks GET.
func IsGET(args []string) bool { return args[0] == "GET" }

// ReplyToGET has a proxy answer every GET with reply.
func ReplyToGET(reply string) func([]string) (string, bool) {
	return func(args []string) (string, bool) { return reply, IsGET(args) }
}

// Behind makes a Manager that speaks to Redis through a proxy.
func (e *Env) Behind(t *testing.T, change ...func(*redsession.Config)) (*redsession.Manager, *redistest.Proxy) {
	t.Helper()
	return e.BehindBy(t, e.Manager, change...)
}

// BehindBy is Behind for a Manager that make makes: one of BothWays.
func (e *Env) BehindBy(t *testing.T, make Maker, change ...func(*redsession.Config)) (*redsession.Manager, *redistest.Proxy) {
	t.Helper()
	o, err := redis.ParseURL(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := redistest.NewProxy(t, o.Addr)
	return make(t, append(change, func(c *redsession.Config) { c.URL = p.URL })...), p
}

// Patient gives a Manager a minute for Redis. It is for tests with many writers, which take long on a busy machine.
func Patient(c *redsession.Config) { c.RedisTimeout = time.Minute }

// Sent returns what went to Redis since the last call, as "GET EXPIRE in 1".
func Sent(p *redistest.Proxy) string {
	var names []string
	for _, args := range p.Commands() {
		names = append(names, args[0])
	}
	defer p.Reset()
	return fmt.Sprintf("%s in %d", strings.Join(names, " "), p.RoundTrips())
}

// AtMost picks the first n commands that pick does; hits counts them all.
func AtMost(n int64, hits *atomic.Int64, pick func(args []string) bool) func(args []string) bool {
	return func(args []string) bool { return pick(args) && hits.Add(1) <= n }
}

// StoresRecord picks the command of a login, a rotation or a first write that stores the new record.
func StoresRecord(args []string) bool { return does(args, "insert") }

// EntersIndex picks the command that enters a session in its user's index: that of a login, or that of a rotation.
func EntersIndex(args []string) bool {
	return does(args, "enter") || does(args, "admit") || does(args, "move")
}

// SetsTombstone picks the command that decides on a session that is there: what puts another record or a tombstone in its
// place, and what ends it.
func SetsTombstone(args []string) bool { return does(args, "replace") || does(args, "end") }

// IsScript picks every plan, and every part of one, but those by which a Manager finds out whether Redis can be written.
func IsScript(args []string) bool {
	return strings.HasPrefix(args[0], "EVAL") && len(args) > 3 && !strings.Contains(args[3], ":probe:")
}

// does tells whether a command is a plan, or the part of one, that has this step. In parts each command has one step; in
// one script all of them are in one command, so that what picks one step picks the whole plan.
func does(args []string, step string) bool {
	if !IsScript(args) {
		return false
	}
	keys, err := strconv.Atoi(args[2])
	if err != nil || len(args) < 3+keys {
		return false
	}
	// The steps' own arguments are numbers, ids and records: none of them is a word like a step's name.
	return slices.Contains(args[3+keys:], step)
}
