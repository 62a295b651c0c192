package topology

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Connect returns a client that has one connection, made anew, to the primary that owns
// key. It shares the address, the credentials and the dialer of the topology's client, so
// that TLS, unix sockets and sentinels work alike, but neither its pool nor its hooks; it
// repeats nothing, and deadlines of contexts bound it. The caller sends a command and
// closes it. There is an error if the primary is not known or does not take a connection:
// go-redis's pool would print each failed dial to standard error, and whoever waits for
// Redis to come back tries ten times a second.
func (t *Topology) Connect(ctx context.Context, key string) (*redis.Client, error) {
	options := t.options
	if t.cluster != nil {
		var node *redis.Client
		err := t.Bounded(ctx, func(ctx context.Context) (err error) {
			node, err = t.cluster.MasterForKey(ctx, key)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looking up the primary of a key: %w", err)
		}
		options = node.Options()
	}
	own := alone(*options)
	if own.Dialer == nil {
		return redis.NewClient(own), nil
	}
	conn, err := own.Dialer(ctx, own.Network, own.Addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	var taken atomic.Bool
	dial := own.Dialer
	own.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if taken.CompareAndSwap(false, true) {
			return conn, nil
		}
		return dial(ctx, network, addr)
	}
	return redis.NewClient(own), nil
}

// alone turns the options of a pool into those of one connection. A timeout that was
// switched off becomes go-redis's default again, which suits a connection that tries
// whether anybody answers.
func alone(o redis.Options) *redis.Options {
	o.ContextTimeoutEnabled = true
	o.MaxRetries, o.DialerRetries = -1, 1
	o.PoolSize, o.MaxConcurrentDials, o.PipelinePoolSize = 1, 1, -1
	o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 0, 0, 0
	o.Limiter = nil                                          // it counts the failures of the pool
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil    // what it asks is to be answered by Redis
	o.PushNotificationProcessor = nil                        // the pool's has its handlers already
	o.MaintNotificationsConfig = &maintnotifications.Config{ // nor is there anything to hand over
		Mode: maintnotifications.ModeDisabled,
	}
	return &o
}
