// Package floor has what the least takes that a session store on Redis can do: read one value and prolong its life, by
// several clients, with nothing around it.
package floor

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// Floor is one way to read a session's bytes and to start its lifetime again.
type Floor struct {
	Name string
	// Open connects to the Redis at addr, and stores the bytes.
	Open func(addr string) (read func(context.Context) error, closeClient func() error, err error)
}

const (
	key  = "floor"
	size = 465 // what Redis holds for a session of the workload, about
	life = 7 * 24 * time.Hour
)

// All returns the floors. None is a handler that asks nobody.
func All() []Floor {
	return []Floor{
		{"go-redis GET+EXPIRE pipeline", pipeline},
		{"go-redis GETEX", getex},
		{"go-redis AutoPipeline GETEX", autoPipeline},
		{"rueidis GETEX", rueidisGetex},
		{"nothing (bare handler)", none},
	}
}

// Named returns the floor of that name.
func Named(name string) (Floor, error) {
	for _, f := range All() {
		if f.Name == name {
			return f, nil
		}
	}
	return Floor{}, fmt.Errorf("no floor is called %q", name)
}

// IsNone tells the floor that asks nobody.
func (f Floor) IsNone() bool { return f.Name == "nothing (bare handler)" }

func none(string) (func(context.Context) error, func() error, error) {
	return func(context.Context) error { return nil }, func() error { return nil }, nil
}

func filled(addr string) (*redis.Client, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	return client, client.Set(context.Background(), key, bytes.Repeat([]byte("x"), size), life).Err()
}

func pipeline(addr string) (func(context.Context) error, func() error, error) {
	client, err := filled(addr)
	return func(ctx context.Context) error {
		var value *redis.StringCmd
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			value = p.Get(ctx, key)
			p.Expire(ctx, key, life)
			return nil
		})
		return check(len(value.Val()), err)
	}, client.Close, err
}

func getex(addr string) (func(context.Context) error, func() error, error) {
	client, err := filled(addr)
	return func(ctx context.Context) error {
		value, err := client.GetEx(ctx, key, life).Result()
		return check(len(value), err)
	}, client.Close, err
}

func autoPipeline(addr string) (func(context.Context) error, func() error, error) {
	client, err := filled(addr)
	if err != nil {
		return nil, client.Close, err
	}
	auto, err := client.AutoPipeline()
	return func(ctx context.Context) error {
		value, err := auto.GetEx(ctx, key, life).Result()
		return check(len(value), err)
	}, client.Close, err
}

func rueidisGetex(addr string) (func(context.Context) error, func() error, error) {
	fill, err := filled(addr)
	if err != nil {
		return nil, fill.Close, err
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, fill.Close, err
	}
	return func(ctx context.Context) error {
			value, err := client.Do(ctx, client.B().Getex().Key(key).ExSeconds(int64(life/time.Second)).Build()).ToString()
			return check(len(value), err)
		}, func() error {
			client.Close()
			return fill.Close()
		}, nil
}

func check(n int, err error) error {
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came back, want %d", n, size)
	}
	return err
}
