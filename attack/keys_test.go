package attack_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"sync"

	"github.com/redis/go-redis/v9"

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

func userKey(prefix, user string) string {
	sum := sha256.Sum256([]byte(user))
	return prefix + "user:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// counting returns the entries of the user's index that count towards MaxPerUser, the oldest login first, and those of
// them that lead to nothing alive.
func counting(t tester, client redis.UniversalClient, prefix, user string) (ids, dead []string) {
	t.Helper()
	ctx := context.Background()
	ids, err := client.ZRangeByScore(ctx, userKey(prefix, user), &redis.ZRangeBy{Min: "0", Max: "+inf"}).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		at := id
		for at != "" {
			raw, err := client.Get(ctx, prefix+at).Result()
			if err != nil && err != redis.Nil {
				t.Fatal(err)
			}
			isRecord, next := record.Peek(raw)
			if isRecord {
				break
			}
			at = next
		}
		if at == "" {
			dead = append(dead, id)
		}
	}
	return ids, dead
}
