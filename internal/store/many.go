package store

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/rediserr"
)

// Each performs steps that have nothing to do with each other, each by itself, in one
// round trip to each node, or two where a node does not know the script yet. It may be
// repeated after an error if the steps may be. Callers pass a few Pages at most.
func (s *Store) Each(ctx context.Context, steps []Step) error {
	_, err := s.each(ctx, steps, nil)
	return err
}

// MarkRevoked performs mark and returns the first Page of its index.
func (s *Store) MarkRevoked(ctx context.Context, mark *Mark) ([]Indexed, error) {
	return s.each(ctx, []Step{mark}, &mark.Index)
}

// EndAll ends sessions of an index, at most a Page of them, takes their ids out of it, does
// what else they leave to be done, and returns the first Page of what is left in the index.
// It may be repeated after an error: ending twice does no harm, though it then finds
// nothing.
func (s *Store) EndAll(ctx context.Context, ends []*End, of Index, left ...Step) ([]Indexed, error) {
	if len(ends) == 0 { // an empty Leave is none that Redis takes
		return s.Index(ctx, of, 0, Page)
	}
	leave := &Leave{Index: of}
	steps := make([]Step, 0, len(ends)+len(left)+1)
	for _, e := range ends {
		steps, leave.IDs = append(steps, e), append(leave.IDs, e.ID)
	}
	if s.oneScript.Load() { // one node has all keys, and keeps the order
		return s.each(ctx, append(append(steps, left...), leave), &of)
	}
	if err := s.Each(ctx, steps); err != nil {
		return nil, err
	}
	return s.each(ctx, append(slices.Clip(left), leave), &of)
}

// each performs steps and then, unless of is nil, reads the first Page of that index.
func (s *Store) each(ctx context.Context, steps []Step, of *Index) ([]Indexed, error) {
	entries, unknown, err := s.eachBy(ctx, [2]any{"evalsha", planHash}, steps, of)
	if err == nil && len(unknown) > 0 {
		entries, _, err = s.eachBy(ctx, [2]any{"eval", planScript}, unknown, of)
	}
	return entries, err
}

// eachBy sends one pipeline. It returns the steps whose node does not know the script.
func (s *Store) eachBy(ctx context.Context, form [2]any, steps []Step, of *Index) (entries []Indexed, unknown []Step, err error) {
	e := exchange{command: "EVALSHA", side: breaker.Write, script: true}
	switch {
	case len(steps) > 0:
		e.key = steps[0].key(s.keys)
	case of != nil:
		e.key = of.key(s.keys)
	default:
		return nil, nil, nil
	}
	var cmds []*redis.Cmd
	var index *redis.ZSliceCmd
	err = s.exchangePipeline(ctx, e, func(e *exchange) {
		cmds = s.addSteps(ctx, e, form, steps)
		if of != nil {
			key := of.key(s.keys)
			index = redis.NewZSliceCmd(ctx, "zrange", key, 0, Page, "withscores") // one may be the mark
			_ = e.pipe.Process(ctx, index)
			e.parts = append(e.parts, part{key, index})
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for i, cmd := range cmds {
		if rediserr.NoScript(cmd.Err()) {
			unknown = append(unknown, steps[i])
			continue
		}
		if _, err := settle(steps[i:i+1], cmd.Val()); err != nil {
			return nil, nil, s.wrap(e, err)
		}
	}
	if index != nil {
		entries = indexed(index, Page)
	}
	return entries, unknown, nil
}

// addSteps adds a script for each of steps to e.
func (s *Store) addSteps(ctx context.Context, e *exchange, form [2]any, steps []Step) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(steps))
	for i, st := range steps {
		key := st.key(s.keys)
		cmds[i] = redis.NewCmd(ctx, st.args([]any{form[0], form[1], 1, key})...)
		e.parts = append(e.parts, part{key, cmds[i]})
		if _, ending := st.(*End); ending { // a second one would not find what the first one took away
			_ = e.pipe.Process(ctx, once{cmds[i]})
		} else {
			_ = e.pipe.Process(ctx, cmds[i])
		}
	}
	return cmds
}
