package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/redisurl"
	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/topology"
	"github.com/redsession/redsession/internal/tuning"
)

// core is what an Admin and a Manager have in common: the configuration, the keys, the
// door to Redis, events and counters. Nothing else in it changes once it is made.
type core struct {
	cfg      Config
	ring     record.Ring // empty without secrets: then nothing that Redis says is checked
	keys     keyspace.Space
	client   redis.UniversalClient
	own      bool   // client was made from Config.URL, and is ours to close
	dropIdle func() // closes the connections of such a client; nil for the caller's
	topology *topology.Topology
	store    *store.Store
	breaker  *breaker.Breaker // nil for an Admin alone, whose callers wait as long as they like
	count    counters
	onEnd    func(ids ...string) // called with what has ended; may be nil

	upkeepTold sometimes // of refusals of what no request waits for
}

// Format writes what may be shown of an Admin or Manager, for every verb: neither secrets
// nor the password of Redis.
func (k *core) Format(f fmt.State, _ rune) { k.cfg.Format(f, 'v') }

// newCore finishes what a Config with these mistakes describes. A Manager's has a
// breaker, which gets the changes that it tells of.
func newCore(c Config, mistakes error) (*core, error) {
	k := &core{cfg: c, keys: keyspace.New(c.Prefix), client: c.Client}
	if c.URL != "" && c.Client == nil {
		client, conns, err := redisurl.Open(c.URL, c.RedisTimeout)
		if err != nil {
			mistakes = errors.Join(mistakes, fmt.Errorf("Config.URL: %w", err))
		} else {
			k.client, k.own, k.dropIdle = client, true, conns.CloseAll
		}
	}
	if k.client != nil {
		var err error
		if k.topology, err = topology.Of(k.client); err != nil {
			mistakes = errors.Join(mistakes, fmt.Errorf("Config.Client %w", err))
		}
	}
	if mistakes != nil {
		_ = k.closeClient() // nothing was sent yet
		return nil, fmt.Errorf("redsession: %w", mistakes)
	}
	var err error
	if k.ring, err = record.NewRing(c.Secrets); err != nil {
		return nil, errors.Join(fmt.Errorf("redsession: deriving keys: %w", err), k.closeClient())
	}
	return k, nil
}

// openStore makes the door to Redis, with the breaker at it if there is one.
func (k *core) openStore() {
	k.store = store.New(store.Config{
		Client: k.client, Topology: k.topology, Keys: k.keys, Timeout: k.cfg.RedisTimeout,
		Breaker: k.breaker, Trace: k.traceExchanges(), PoolCommands: k.own, Apart: tuning.Current().Apart,
		TidyFailed: func(err error) { k.tellUpkeep(err, func(e Event) { k.emit(context.Background(), e) }) },
	})
}

func (k *core) closeClient() error {
	if !k.own {
		return nil
	}
	if err := k.client.Close(); !errors.Is(err, redis.ErrClosed) { // closing again does nothing
		return err
	}
	return nil
}

// bounded returns the context under which all Redis work of one load, or of one try of a
// commit, runs. It ends after RedisTimeout, and not with the caller's context, whose
// values it has: the client's going away must not cut an exchange with Redis, as that
// would cost a connection and look like an outage.
func (k *core) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), k.cfg.RedisTimeout)
}

// patient returns a context under which the calls of a Manager's Admin wait while an
// outage is young: within a request as long as that may wait, otherwise for OutageWait.
func (k *core) patient(ctx context.Context) context.Context {
	if k.breaker == nil {
		return ctx
	}
	if s, ok := ctx.Value(k).(*Session); ok {
		return store.Patient(ctx, s.waits())
	}
	return store.Patient(ctx, breaker.NewBudget(k.wait()))
}

// wait is how long a request may wait for Redis in all.
func (k *core) wait() time.Duration { return max(0, k.cfg.OutageWait) }

// tellEnded tells a Manager's memory and streams that sessions have ended.
func (k *core) tellEnded(ids ...string) {
	if k.onEnd != nil {
		k.onEnd(ids...)
	}
}

// open checks and decodes what lies at an id; without secrets it only decodes. A
// tombstone, or nothing, is no record and no error.
func (k *core) open(id string, v record.Value) (*record.Record, error) {
	rec, _, err := v.Open(k.ring, k.keys.Session(id))
	return rec, err
}

// burial is a tombstone that keeps requests on their way from harm for as long as they
// may take.
func (k *core) burial(id string) store.Burial { return k.tombstone(id, k.cfg.RotateGrace) }

// grave is the burial of an old session of another package, which must not be taken over
// or imported again for as long as it might still be found where it was kept.
func (k *core) grave(id string) store.Burial { return k.tombstone(id, k.cfg.AbsoluteTimeout) }

func (k *core) tombstone(id string, life time.Duration) store.Burial {
	return store.Burial{Raw: record.NewTombstone(k.cfg.Now(), life).Encode(k.ring, k.keys.Session(id)), Life: life}
}

// maxEndHops is how many rotations an ending follows: a stream opened long ago
// may be the one that logs out.
const maxEndHops = 128

// errTooFar is that an ending would have to follow more rotations than that.
var errTooFar = errors.New("rotated too often to be followed")

// end takes away the session at id and whatever rotations have made of it, the last
// first, and returns the record that was alive, if there was one: an empty one if the
// reply that told was lost. With tombstone something stays that tells requests still on
// their way that it ended. Ending twice does no harm.
func (k *core) end(ctx context.Context, id string, tombstone bool) (*record.Record, error) {
	return k.endOf(ctx, id, nil, tombstone)
}

// endOf is end for a session that is known, so that what leads to it goes at once.
func (k *core) endOf(ctx context.Context, id string, known *record.Record, tombstone bool) (*record.Record, error) {
	rec, err := k.endChain(ctx, id, known, tombstone, maxEndHops)
	if rec != nil && rec.Origin != "" {
		k.tellEnded(rec.Origin)
	}
	return rec, err
}

// endChain is endOf, and does not tell that the session's origin has ended: what it ends may
// be a record that a try left, while the session lives.
func (k *core) endChain(ctx context.Context, id string, known *record.Record, tombstone bool, hops int) (*record.Record, error) {
	end := &store.End{ID: id, Grave: k.grave(id)}
	if tombstone {
		end.With = k.burial(id)
	}
	lost, err := k.runEnding(ctx, planEnding(end, known))
	if err != nil {
		return nil, err
	}
	next := end.Found.Head().Leads()
	switch {
	case end.Found.Absent() && lost: // a session, as far as anybody knows: better told of twice than never
		k.tellEnded(id)
		return new(record.Record), nil
	case next == "":
		return k.taken(ctx, id, known, end.Found), nil
	case hops == 0:
		return nil, errTooFar
	}
	rec, err := k.endChain(ctx, next, known, tombstone, hops-1)
	if err != nil {
		return nil, err
	}
	end.Force = true
	_, err = k.runEnding(ctx, planEnding(end, known))
	k.tellEnded(id)
	return rec, err
}

// runEnding performs p, again after what may pass by itself. lost says that an earlier
// try may have been performed.
func (k *core) runEnding(ctx context.Context, p store.Plan) (lost bool, err error) {
	for try := 0; ; try++ {
		if _, err = k.store.Run(ctx, &p); err == nil {
			return lost, nil
		}
		meaning := store.MeaningOf(err)
		lost = lost || meaning.Execution != rediserr.NotExecuted
		if meaning.Recovery == rediserr.Stays || try == 2 || ctx.Err() != nil || pause(ctx, try) != nil {
			return lost, err
		}
	}
}

// taken does what is left when v has been taken away from id, and returns the record, nil
// if it was none that is to be believed. What known leads to has gone already.
func (k *core) taken(ctx context.Context, id string, known *record.Record, v record.Value) *record.Record {
	if !v.Head().Kind.Live() {
		return nil
	}
	k.tellEnded(id)
	rec, err := k.open(id, v)
	if err != nil || rec == nil {
		return nil
	}
	if known == nil || !sameTraces(known, rec) {
		// If this fails, whoever reads the index does it.
		if left := traces(id, rec); len(left) > 0 {
			_, _ = k.store.Run(ctx, &store.Plan{Tidy: left})
		}
	}
	return rec
}

// origin is the id that a session had when it was created or logged in to. Timed
// rotation keeps it, login and logout do not.
func origin(id string, rec *record.Record) string {
	if rec == nil {
		return id
	}
	return cmp.Or(rec.Origin, id)
}
