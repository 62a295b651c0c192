package redsession

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

const (
	tripAfter  = 3                      // failures in a row: one may be a connection that died
	probeEvery = 100 * time.Millisecond // while Redis is away
)

// errDown is that Redis was not asked, because it did not answer a moment ago.
var errDown = errors.New("redis does not answer")

// breakers keeps requests from waiting for a Redis that does not answer: one
// breaker for each primary. As long as all is well it costs an atomic load.
type breakers struct {
	client   redis.UniversalClient
	cluster  *redis.ClusterClient // nil unless client is one
	timeout  time.Duration
	onChange func(down bool, err error)
	onBlink  func(context.Context) // an exchange failed, and the next one did not

	trouble  atomic.Bool // some breaker has failures to its name
	blinking atomic.Bool // onBlink is about to be called
	blinks   sync.Mutex  // of which one runs at a time
	answered sync.Map    // when each primary last answered, as *atomic.Int64 of Unix nanoseconds
	mu       sync.Mutex  // guards what follows
	nodes    map[string]*breaker
	ctx      context.Context
	stop     context.CancelFunc
	probes   sync.WaitGroup
}

type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[any]
	node   redis.Cmdable
	probed bool // guarded by breakers.mu
}

func newBreakers(client redis.UniversalClient, timeout time.Duration, onChange func(bool, error)) *breakers {
	b := &breakers{client: client, timeout: timeout, onChange: onChange, nodes: make(map[string]*breaker)}
	b.cluster, _ = client.(*redis.ClusterClient)
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// close stops the probes and waits for them.
func (b *breakers) close() {
	b.mu.Lock()
	b.stop()
	b.mu.Unlock()
	b.probes.Wait()
}

// enter tells whether Redis may be asked about key: not while the primary of key
// is known to be away. What comes of it is for leave.
func (b *breakers) enter(ctx context.Context, key string) error {
	if b.down(ctx, key) {
		return errDown
	}
	return nil
}

// leave learns from how it went to ask Redis about key. That time ran out says
// nothing if others were answered within RedisTimeout: then it is this process
// that is slow, or has too few connections, and to refuse everybody would not help.
func (b *breakers) leave(ctx context.Context, key string, err error) {
	last, now := b.lastAnswer(ctx, key), time.Now().UnixNano()
	if !outage(err) {
		if last.Store(now); b.trouble.Load() {
			b.learn(b.of(ctx, key), err)
		}
		return
	}
	if gaveUp(ctx) || (late(err) || errors.Is(err, redis.ErrPoolTimeout)) && now-last.Load() < int64(b.timeout) {
		return
	}
	b.learn(b.of(ctx, key), err)
}

func (b *breakers) lastAnswer(ctx context.Context, key string) *atomic.Int64 {
	name := b.primaryOf(ctx, key)
	if at, ok := b.answered.Load(name); ok {
		return at.(*atomic.Int64)
	}
	at, _ := b.answered.LoadOrStore(name, new(atomic.Int64))
	return at.(*atomic.Int64)
}

// gaveUp tells whether the caller's context ended what was asked under it: that
// is the caller's whim, and says nothing about Redis. RedisTimeout does.
func gaveUp(ctx context.Context) bool {
	if _, ours := ctx.(*boundedContext); ours {
		return false
	}
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// down tells whether the primary of key is known to be away.
func (b *breakers) down(ctx context.Context, key string) bool {
	return b.trouble.Load() && b.of(ctx, key).State() != gobreaker.StateClosed
}

// primaryOf returns the address of the primary of key, and "" where there is but
// one, or none that is known.
func (b *breakers) primaryOf(ctx context.Context, key string) string {
	if b.cluster == nil {
		return ""
	}
	primary, err := b.cluster.MasterForKey(ctx, key)
	if err != nil {
		return ""
	}
	return primary.Options().Addr
}

// of returns the breaker of the primary of key.
func (b *breakers) of(ctx context.Context, key string) *breaker {
	name, node := "", redis.Cmdable(b.client)
	if b.cluster != nil {
		if primary, err := b.cluster.MasterForKey(ctx, key); err == nil {
			name, node = primary.Options().Addr, primary
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.nodes[name]
	if !ok {
		at = &breaker{node: node}
		at.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
			Timeout:      probeEvery,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
			IsSuccessful: func(err error) bool { return !outage(err) },
		})
		b.nodes[name] = at
	}
	return at
}

// learn tells at how an exchange with its primary went.
func (b *breakers) learn(at *breaker, err error) {
	failed := outage(err)
	if failed {
		b.trouble.Store(true)
		if b.cluster != nil {
			b.cluster.ReloadState(b.ctx) // go-redis asks by itself but rarely
		}
	}
	done, refused := at.Allow()
	if refused != nil {
		return // somebody else found out
	}
	done(err)
	if failed && at.State() == gobreaker.StateOpen {
		b.tripped(at, err)
	}
	if !failed && b.calm() {
		b.blinked()
	}
}

// blinked calls onBlink in the background, and not more often than that gets done.
func (b *breakers) blinked() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil || !b.blinking.CompareAndSwap(false, true) {
		return
	}
	b.probes.Go(func() {
		b.blinks.Lock()
		defer b.blinks.Unlock()
		b.blinking.Store(false)
		b.onBlink(b.ctx)
	})
}

// tripped starts the probe of a primary that is away.
func (b *breakers) tripped(at *breaker, err error) {
	b.mu.Lock()
	first := !at.probed && b.ctx.Err() == nil
	if first {
		at.probed = true
		b.probes.Go(func() { b.probe(at) })
	}
	b.mu.Unlock()
	if first {
		b.onChange(true, err)
	}
}

// probe asks for a sign of life until there is one, or the primary is none any
// more.
func (b *breakers) probe(at *breaker) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for at.State() != gobreaker.StateClosed {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
		if !b.primary(at) {
			break
		}
		done, err := at.Allow()
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
		done(at.node.Ping(ctx).Err())
		cancel()
	}
	b.mu.Lock()
	for name, other := range b.nodes {
		if other == at {
			delete(b.nodes, name)
		}
	}
	over := true
	for _, other := range b.nodes {
		over = over && other.State() == gobreaker.StateClosed
	}
	b.mu.Unlock()
	b.calm()
	if over {
		b.onChange(false, nil)
	}
}

// primary tells whether at still stands for one. In a cluster another node
// takes the place of one that died.
func (b *breakers) primary(at *breaker) bool {
	if b.cluster == nil {
		return true
	}
	b.cluster.ReloadState(b.ctx)
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	var mu sync.Mutex
	found := false
	err := b.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = found || redis.Cmdable(node) == at.node
		return nil
	})
	return found || err != nil
}

// calm forgets the trouble once no breaker has any, and tells whether it did.
func (b *breakers) calm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.nodes {
		if at.State() != gobreaker.StateClosed || at.Counts().ConsecutiveFailures > 0 {
			return false
		}
	}
	return b.trouble.CompareAndSwap(true, false)
}

// outage tells whether err says that Redis is away, rather than that it does
// not like the command.
func outage(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) || errors.Is(err, redis.ErrClosed) {
		return false
	}
	if !isReply(err) {
		return true
	}
	for _, prefix := range []string{"LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// inTime makes fn return when ctx is over, though it goes on behind the scenes
// until the client's own timeouts end it.
func inTime(ctx context.Context, fn func() error) func() error {
	return func() error {
		done := make(chan error, 1)
		go func() { done <- fn() }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
