// Package breaker keeps requests from waiting for a Redis that does not answer, and lets
// them wait for its return while an outage is young.
//
// Each primary is judged by itself, and reading and writing it apart. A failed exchange
// starts probes, which send what failed over a connection of their own. What a probe
// confirms, or what fails three times in a row, is an outage: [Breaker.Allow] refuses that
// side until a probe succeeds. What a probe refutes was a transient failure of some
// connection. Meanwhile [Breaker.Await] holds the requests back and lets them go in order.
package breaker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/rediserr"
)

// Side is one of the two things that a primary can be unable to do.
type Side uint8

// Reading works on a primary that lost its replicas or was demoted; writing does not.
const (
	Read Side = iota
	Write
)

var (
	// ErrOpen is that Redis was not asked, because it is known not to answer. It wraps
	// [rediserr.ErrNotSent].
	ErrOpen = fmt.Errorf("redis does not answer: %w", rediserr.ErrNotSent)
	// ErrClosed is that the Breaker was closed. It wraps [redis.ErrClosed], so that nobody
	// takes it for an outage.
	ErrClosed = fmt.Errorf("the breaker is closed: %w", redis.ErrClosed)
)

// Topology is what a Breaker has to know of the servers behind a client. It is what a
// *topology.Topology has; the methods are described there.
type Topology interface {
	Cluster() bool
	Primary(ctx context.Context, key string) string
	IsPrimary(ctx context.Context, addr string) (bool, error)
	Reload(ctx context.Context)
	Connect(ctx context.Context, key string) (*redis.Client, error)
	PoolSize(key string) int
}

// Config says how a [Breaker] works. All fields but DropIdle are required.
type Config struct {
	Topology Topology
	// Timeout bounds each probe. A time-out says nothing if others were answered within
	// this time.
	Timeout time.Duration
	// Wait is how long requests wait, and how old an outage may be that they wait for.
	// Nobody waits if it is zero or negative.
	Wait time.Duration
	// ProbeEvery is the shortest time between the beginnings of two probes of a side.
	ProbeEvery time.Duration
	// Probe sends what failed: for [Read] a read of key's slot, for [Write] a script on a
	// probe key there. An exchange with key failed. Its error is judged as Redis's answer,
	// and ctx bounds it.
	Probe func(ctx context.Context, conn redis.UniversalClient, side Side, key string) error
	// OnChange learns of every outage that begins, once it is confirmed, and that ends. It is
	// called in the background, in order, one call at a time; ctx ends with Close.
	OnChange func(ctx context.Context, c Change)
	// OnBlink learns that failures are over without an outage having come of them. It is
	// called in the background, one call at a time: what happens during a call is told by
	// one more. ctx ends with Close.
	OnBlink func(ctx context.Context)
	// DropIdle closes pooled connections, which may lead nowhere, when an outage begins. It
	// is called in the background before anybody is let through again.
	DropIdle func()
}

// Change is that an outage of one side of a primary began or ended.
type Change struct {
	Primary string // address, "" where there is but one
	Side    Side
	Down    bool
	Err     error // why; nil at the end
}

// Breaker knows which primaries can be read and which can be written. It is made by [New]
// and safe for concurrent use. The functions of its Config must not call Close.
type Breaker struct {
	config     Config
	refusing   atomic.Int32                        // sides that are down; one more once closed
	primaries  atomic.Pointer[map[string]*primary] // by address; replaced under mu, never changed
	background sync.WaitGroup                      // every goroutine; entered under mu
	ctx        context.Context                     // ends with Close, under mu
	stop       context.CancelFunc

	mu         sync.Mutex // guards what follows, and what primary says
	arrivals   uint64     // requests that have queued up so far
	waiting    int
	perSession map[string]int // how many of waiting belong to a session
	changes    []Change       // that OnChange is still to be told of
	announcing bool           // a goroutine tells OnChange
	blinked    bool           // OnBlink is still to be called
	blinking   bool           // a goroutine calls OnBlink
	dropping   int            // calls of DropIdle under way
	dropped    time.Time      // when the last one ended
}

// New returns a Breaker that takes all primaries to be well. Close ends its work.
func New(config Config) *Breaker {
	b := &Breaker{config: config, perSession: make(map[string]int)}
	b.primaries.Store(&map[string]*primary{})
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// Close stops the probes and waits for them and for the functions of Config that run.
// Whoever waits gets [ErrClosed]. Closing again does nothing.
func (b *Breaker) Close() {
	b.mu.Lock()
	if !b.closed() {
		b.refusing.Add(1)
		b.stop()
	}
	b.mu.Unlock()
	b.background.Wait()
}

func (b *Breaker) closed() bool { return b.ctx.Err() != nil }

// Allow tells whether the primary that owns key may be asked: the error is [ErrOpen], with
// what failed last, while that side of it is known not to answer, and [ErrClosed] after
// Close. While all primaries are well it costs an atomic load.
func (b *Breaker) Allow(ctx context.Context, key string, side Side) error {
	if b.refusing.Load() == 0 {
		return nil
	}
	if b.closed() {
		return ErrClosed
	}
	if p := b.known(b.config.Topology.Primary(ctx, key)); p != nil {
		if why := p.down[side].Load(); why != nil {
			return *why
		}
	}
	return nil
}

// Report learns how an exchange went that was sent at sent. Redis answered if err is nil,
// or that there is no such key, or a refusal that stays; then that side works, and whoever
// can be written can be read. An error that concerns the caller alone says nothing, nor
// does a time-out while the primary answers others. The deadline of a context counts as a
// failure of Redis: the caller must not report it if it was a client's own.
func (b *Breaker) Report(ctx context.Context, key string, side Side, sent time.Time, err error) {
	is := effectOf(err)
	if is == nothing || b.closed() {
		return
	}
	p, now := b.primary(ctx, key), time.Now()
	if is == answered {
		if p.answer(side, now); p.troubled.Load() {
			b.recordAnswer(p, side)
		}
		return
	}
	if rediserr.TimedOut(err) && now.Sub(p.lastAnswer()) < b.config.Timeout {
		return // this process is slow, or has too few connections: to refuse everybody would not help
	}
	b.config.Topology.Reload(b.ctx) // go-redis learns by itself but rarely
	b.recordFailure(p, key, is, newFailure(sent, now, err))
}

func (b *Breaker) recordAnswer(p *primary, side Side) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range side + 1 {
		p.sides[s].answer()
	}
	b.settleLocked(p)
}

func (b *Breaker) recordFailure(p *primary, key string, is effect, f failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cutLocked(f) {
		return
	}
	if is == away {
		p.disturbLocked(f.sent)
	}
	for _, side := range is.sides() {
		p.keys[side] = key
		f.answered = p.lastAnswerOf(side)
		if p.sides[side].fail(f) {
			b.openLocked(p, side)
		}
	}
	b.settleLocked(p)
}

// cutLocked tells whether f may be of a connection that DropIdle closed, which says nothing
// of Redis.
func (b *Breaker) cutLocked(f failure) bool {
	if b.dropping == 0 && !f.sent.Before(b.dropped) || rediserr.TimedOut(f.err) {
		return false
	}
	_, replied := rediserr.Reply(f.err)
	return !replied
}

// openLocked draws the consequences of an outage that begins.
func (b *Breaker) openLocked(p *primary, side Side) {
	p.down[side].Store(openBy(p.sides[side].err))
	b.refusing.Add(1)
	p.opened, p.dropIdle = true, true
	b.announceLocked(Change{Primary: p.addr, Side: side, Down: true, Err: p.sides[side].err})
	p.pokeLocked(side)
}

// openError is ErrOpen with what failed last.
type openError struct{ cause error }

func (e *openError) Error() string   { return ErrOpen.Error() + ": " + e.cause.Error() }
func (e *openError) Unwrap() []error { return []error{rediserr.ErrNotSent, ErrOpen, e.cause} }

// openBy is why a side is refused that failed by err. What does not pass by itself, such as
// the end of a probe's own time, is left out: it would keep requests from waiting.
func openBy(err error) *error {
	open := ErrOpen
	if rediserr.Classify(err, false).Recovery != rediserr.Stays {
		open = &openError{err}
	}
	return &open
}

// proveLocked draws the consequences of a side that was found to work.
func (b *Breaker) proveLocked(p *primary, side Side) {
	h := &p.sides[side]
	if h.state == suspect {
		p.disturbLocked(h.began)
	}
	if h.prove(time.Now()) {
		p.down[side].Store(nil)
		b.refusing.Add(-1)
		b.announceLocked(Change{Primary: p.addr, Side: side})
	}
}

// settleLocked follows every change of what is known of p: it starts the probes when they
// are needed, says when nothing came of failures, and lets go who may go.
func (b *Breaker) settleLocked(p *primary) {
	well := p.sides[Read].state == up && p.sides[Write].state == up
	p.troubled.Store(!well || p.sides[Read].failures > 0 || p.sides[Write].failures > 0)
	if b.closed() {
		return
	}
	if !well && !p.probing {
		p.probing = true
		b.background.Go(func() { b.watch(p) })
	}
	if well && p.unwell && !p.opened {
		b.blinkLocked()
	}
	p.unwell, p.opened = !well, p.opened && !well
	b.releaseLocked(p)
}
