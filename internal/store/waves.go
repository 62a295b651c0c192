package store

import (
	"context"
	"sync"
)

// runInWaves performs p where its keys lie on several nodes: each part is a round trip, in
// which the nodes go side by side.
func (s *Store) runInWaves(ctx context.Context, p *Plan) (Result, error) {
	var res Result
	for i, part := range p.parts() {
		switch {
		case len(part) == 0:
			continue
		case i == 3 && !p.AwaitTidy:
			s.Background(ctx, func(ctx context.Context) { s.tidy(ctx, part) })
			return res, nil
		case i == 3:
			s.tidy(ctx, part)
			return res, nil
		case i == 2 && p.late():
			return res, ErrLate
		}
		done, err := s.wave(ctx, part)
		if err != nil || done.Refused != nil {
			done.Prepared, done.Sent = res.Prepared, err != nil && i == 2
			return done, err
		}
		res.Prepared = i > 0
	}
	return res, nil
}

// tidy performs the last part of a plan. If it fails, who reads the index next does it.
func (s *Store) tidy(ctx context.Context, part []Step) {
	if _, err := s.wave(ctx, part); err != nil && s.tidyFailed != nil {
		s.tidyFailed(err)
	}
}

// wave performs steps side by side, each by a script of its own.
func (s *Store) wave(ctx context.Context, steps []Step) (Result, error) {
	if len(steps) == 1 {
		return s.perform(ctx, steps)
	}
	results, errs := make([]Result, len(steps)), make([]error, len(steps))
	var all sync.WaitGroup
	for i := range steps {
		all.Go(func() { results[i], errs[i] = s.perform(ctx, steps[i:i+1]) })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return Result{}, err
		}
		if results[i].Refused != nil {
			return results[i], nil
		}
	}
	return Result{}, nil
}
