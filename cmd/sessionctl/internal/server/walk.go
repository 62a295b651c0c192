package server

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/keyspace"
)

// Kind tells what a key of ours holds.
type Kind int

const (
	Other   Kind = iota // of another prefix, or of an import
	Session             // a session record, or a tombstone
	Index               // the ids of one user's sessions
	Tag                 // the ids of the sessions with one tag
	Device              // the public key of a device that a session is bound to
)

// ScanCount is how many keys one SCAN of Walk visits: among a million with a TTL,
// Redis is busy with it for about a millisecond.
const ScanCount = 500

// KindOf tells what lies under key, by its name.
func KindOf(prefix, key string) Kind {
	space := keyspace.New(prefix)
	if _, ok := space.SessionID(key); ok {
		return Session
	}
	if space.IsUser(key) {
		return Index
	}
	if space.IsTag(key) {
		return Tag
	}
	if space.IsBinding(key) {
		return Device
	}
	return Other
}

// Walk calls fn with the keys under prefix on node, page by page, by SCAN, until
// fn returns false or an error. A key may come twice if Redis resizes its table
// meanwhile.
func (n Node) Walk(ctx context.Context, prefix string, fn func(keys []string) (bool, error)) error {
	pattern := keyspace.New(prefix).Pattern()
	for cursor := uint64(0); ; {
		keys, next, err := n.Client.Scan(ctx, cursor, pattern, ScanCount).Result()
		if err != nil {
			return err
		}
		if more, err := fn(keys); err != nil || !more {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// OnScan calls fn with the number of keys that each SCAN of client has visited.
// It must be called before client is used.
func OnScan(client redis.UniversalClient, fn func(keys int)) {
	hook := scanHook{fn}
	if cluster, ok := client.(interface{ OnNewNode(func(*redis.Client)) }); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(hook) })
		return
	}
	client.AddHook(hook)
}

type scanHook struct{ fn func(keys int) }

func (scanHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h scanHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil && cmd.Name() == "scan" {
			h.fn(scanned(cmd.Args()))
		}
		return err
	}
}

func (scanHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// scanned is the COUNT of a SCAN's arguments.
func scanned(args []any) int {
	for i, arg := range args[:len(args)-1] {
		if name, _ := arg.(string); strings.EqualFold(name, "count") {
			if n, ok := args[i+1].(int64); ok {
				return int(n)
			}
		}
	}
	return 10 // Redis's default
}
