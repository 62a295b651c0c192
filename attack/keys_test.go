package attack_test

import (
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

// tester is a test, or one history of rapid's.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// keysUnder returns every key that begins with prefix, which has no glob characters.
func keysUnder(t tester, client redis.UniversalClient, prefix string) []string {
	t.Helper()
	ctx := context.Background()
	var mu sync.Mutex
	var keys []string
	list := func(ctx context.Context, node redis.Cmdable) error {
		found, err := node.Keys(ctx, prefix+"*").Result()
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, found...)
		return err
	}
	var err error
	if cluster, ok := client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return list(ctx, node) })
	} else {
		err = list(ctx, client)
	}
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// eternal returns the keys under prefix that never expire.
func eternal(t tester, client redis.UniversalClient, prefix string) (found []string) {
	t.Helper()
	for _, key := range keysUnder(t, client, prefix) {
		ttl, err := client.TTL(context.Background(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl == -1 {
			found = append(found, key)
		}
	}
	return found
}

// revocationMark is the member of a user's index that tells when all that the user had was revoked.
const revocationMark = "*"

// indexed returns the sessions that the entries of the user's index lead to, the oldest login first, and the entries that
// lead to nothing alive. Two entries may lead to one session, if its rotation could not take the old one out.
func indexed(t tester, client redis.UniversalClient, prefix, user string) (alive, dead []string) {
	t.Helper()
	ctx := context.Background()
	ids, err := client.ZRange(ctx, keyspace.New(prefix).User(user), 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if id == revocationMark {
			continue
		}
		at := id
		for at != "" {
			raw, err := client.Get(ctx, prefix+at).Result()
			if err != nil && err != redis.Nil {
				t.Fatal(err)
			}
			head := record.PeekHead(raw)
			if head.Kind.Live() {
				break
			}
			at = head.Leads()
		}
		if at == "" {
			dead = append(dead, id)
		} else if !slices.Contains(alive, at) {
			alive = append(alive, at)
		}
	}
	return alive, dead
}
