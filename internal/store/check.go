package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/rediserr"
)

const (
	probeLife = 10 * time.Second
	// probeKeys lie in different slots, and on a cluster of two nodes or more some of them
	// on different nodes.
	probeKeys = 4
	// probeValue has the form of a record, and the kind of none.
	probeValue = `{"v":"probeing-","t":"----------------------"}`
)

// probe is a step on a probe key.
type probe struct {
	Step
	at string
}

func (p probe) key(keyspace.Space) string { return p.at }

func probeInsert(key string) Step {
	return probe{&Insert{Raw: probeValue, TTL: probeLife}, key}
}

// Check asks Redis for a sign of life, learns whether one script may name keys of
// different slots, and tries on probe keys every command and script that sessions need.
// It returns an error if Redis does not answer, and otherwise what was refused, each
// with the name of the command. Without an answer the first plan that Redis takes has it
// learn the rest.
func (s *Store) Check(ctx context.Context) (refused []error, err error) {
	e := exchange{command: "PING", side: breaker.Read}
	if err := s.topology.Bounded(ctx, func(ctx context.Context) error { return s.client.Ping(ctx).Err() }); err != nil {
		s.unlearned.Store(true)
		return nil, s.wrap(e, err)
	}
	if err := s.LearnScripts(ctx); err != nil {
		refused = append(refused, err)
	}
	cmds := probeCommands(ctx, s.keys)
	for _, cmd := range cmds {
		e := exchange{command: strings.ToUpper(cmd.Name()), side: breaker.Write}
		err := s.wrap(e, s.topology.Bounded(ctx, func(ctx context.Context) error { return s.client.Process(ctx, cmd) }))
		switch {
		case err == nil, rediserr.Absent(err), rediserr.WrongType(err): // the latter if DEL was refused before, or by another server that starts now
		case !slices.ContainsFunc(refused, func(r error) bool { return r.Error() == err.Error() }):
			refused = append(refused, err)
		}
	}
	return refused, nil
}

// probeCommands are those that sessions need, in and outside of scripts.
func probeCommands(ctx context.Context, keys keyspace.Space) []redis.Cmder {
	key := keys.Probe(0)
	cmd := func(name string, args ...any) redis.Cmder {
		return redis.NewCmd(ctx, append([]any{name, key}, args...)...)
	}
	return []redis.Cmder{
		cmd("del"), cmd("setex", seconds(probeLife), probeValue), cmd("psetex", probeLife.Milliseconds(), probeValue), cmd("get"), cmd("getrange", 0, 1), cmd("exists"),
		cmd("expire", seconds(probeLife)), cmd("ttl"), cmd("pttl"), cmd("del"),
		cmd("zadd", 1, "*"), cmd("zscore", "*"), cmd("zcard"), cmd("zrange", 0, 0), cmd("zrem", "*"), cmd("del"),
		redis.NewCmd(ctx, "eval", "return 1", 1, key), // how a script gets to a Redis that does not know it
		redis.NewCmd(ctx, "scan", 0, "match", keys.SessionPattern(), "count", 1),
	}
}

// LearnScripts tries one script on keys of different slots. Where that is refused, and
// until there is an answer, the parts of a plan are round trips apart: that is right
// everywhere, and slower. A try that fails for another reason changes nothing. The error is
// that not even a script on one key is taken.
func (s *Store) LearnScripts(ctx context.Context) error {
	steps := make([]Step, probeKeys)
	for i := range steps {
		steps[i] = probeInsert(s.keys.Probe(i))
	}
	err := s.tryScript(ctx, steps)
	if _, moved := redis.IsMovedError(err); err == nil || moved || redis.HasErrorPrefix(err, "CROSSSLOT") {
		s.oneScript.Store(err == nil && !s.apart)
	}
	if err != nil {
		err = s.tryScript(ctx, steps[:1])
	}
	if err != nil {
		return s.wrap(exchange{command: "EVALSHA", side: breaker.Write, script: true}, err)
	}
	return nil
}

// tryScript performs steps on probe keys, and removes these.
func (s *Store) tryScript(ctx context.Context, steps []Step) error {
	return s.topology.Bounded(ctx, func(ctx context.Context) error {
		_, err := s.send(ctx, s.client, steps)
		for i := 0; i < len(steps) && err == nil; i++ {
			_ = s.client.Del(ctx, steps[i].key(s.keys)).Err() // or it ends by itself
		}
		return err
	})
}

// Probe sends by conn what failed on side: a GET of key, or a script on a probe key of
// the same node. It leaves nothing behind for longer than seconds.
func (s *Store) Probe(ctx context.Context, conn redis.UniversalClient, side breaker.Side, key string) error {
	if side == breaker.Read {
		return s.wrap(exchange{command: "GET", key: key, side: side}, foreignIsNoError(conn.Get(ctx, key).Err()))
	}
	at := s.probeKey(ctx, key)
	if _, err := s.send(ctx, conn, []Step{probeInsert(at)}); err != nil {
		return s.wrap(exchange{command: "EVALSHA", key: key, side: side, script: true}, err)
	}
	return s.wrap(exchange{command: "DEL", key: key, side: side}, conn.Del(ctx, at).Err())
}

// probeKey is a probe key on the node of key.
func (s *Store) probeKey(ctx context.Context, key string) string {
	const tries = 1000 // a node with a hundredth of the slots is missed once in 20,000 times
	primary := s.topology.Primary(ctx, key)
	for i := range tries {
		if k := s.keys.Probe(i); s.topology.Primary(ctx, k) == primary {
			return k
		}
	}
	return s.keys.Probe(0)
}
