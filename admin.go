package redsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// Admin lists and ends sessions. It is safe for concurrent use. Its calls run
// under the caller's context; when Redis does not answer they return an error
// that is ErrUnavailable. Those of a Manager wait while an outage is young, for
// Config.OutageWait at most, and within a request no longer than that may wait.
type Admin struct{ *core }

// NewAdmin returns the administration alone, for an operator's tool. It needs
// no Secrets; with them, records that do not verify are left out of lists.
func NewAdmin(c Config) (*Admin, error) {
	c = c.withDefaults()
	k, err := newCore(c, errors.Join(c.checkConnection(), c.checkTimes(), c.checkLimits()))
	if err != nil {
		return nil, err
	}
	k.openStore()
	return &Admin{k}, nil
}

// Close ends the connections that the Admin opened itself.
func (a *Admin) Close() error {
	a.store.Close()
	return a.closeClient()
}

// errBadID tells of an id that no session can have.
var errBadID = fmt.Errorf("redsession: no session id: want %d characters of base64url, as ID, Info and lists show them", keyspace.IDLen)

// Revoke ends the session with this public id, and what a rotation has made of
// it meanwhile. It returns nil for an unknown id, and an error for what is no id.
func (a *Admin) Revoke(ctx context.Context, id string) error {
	if !keyspace.IsID(id) {
		return errBadID
	}
	_, err := a.revoke(a.patient(ctx), id, "revoked")
	return err
}

// revoke ends a session by id and tells whether one lived there.
func (k *core) revoke(ctx context.Context, id, reason string) (bool, error) {
	rec, err := k.endForGood(ctx, id, nil, false)
	if err != nil {
		return false, fmt.Errorf("redsession: revoking session: %w: %w", ErrUnavailable, err)
	}
	if rec == nil {
		return false, nil
	}
	k.emit(ctx, Event{Kind: EventRevoked, ID: id, UserID: rec.User, ActorID: rec.Actor, Reason: reason})
	return true, nil
}

// RevokeOf ends a session if it is user's, so that a user can be offered to end
// their own. It tells whether it was, and still lived.
func (a *Admin) RevokeOf(ctx context.Context, user, id string) (bool, error) {
	if !keyspace.IsID(id) || user == "" {
		return false, nil
	}
	ctx = a.patient(ctx)
	for at, hop := id, 0; hop < maxEndHops; hop++ {
		v, err := a.store.Get(ctx, at)
		if err != nil {
			return false, fmt.Errorf("redsession: revoking session: %w: %w", ErrUnavailable, err)
		}
		rec, err := a.open(at, v)
		switch {
		case err != nil:
			return false, nil
		case rec != nil:
			if rec.User != user {
				return false, nil
			}
			return a.revoke(ctx, id, "revoked by its user")
		}
		if at = v.Head().Leads(); at == "" {
			return false, nil
		}
	}
	return false, nil
}

// RevokeUser ends all sessions of user and returns how many, those included in which the
// user acts as another (see By). A session that is
// just rotating does not escape, nor a login or a promotion whose password was checked
// before, by the clocks of the servers: it is ErrGone. Called with the context of a request
// of a Manager, a Login after it in the same request stands. Sessions that lie in an old
// package's store alone stay there, and are not taken over afterwards. It costs three round
// trips for up to 128 sessions.
func (a *Admin) RevokeUser(ctx context.Context, user string) (int, error) {
	ctx = a.patient(ctx)
	s, _ := ctx.Value(a.core).(*Session)
	return a.revokeListed(ctx, store.OfUser(user), s, "all of the user's", func(string, *record.Record) bool { return true })
}

// RevokeAll ends every session under the prefix that was created before it
// began and returns how many. It repeats its pass until it finds none, so that a
// session rotating meanwhile does not escape. What this package did not write stays;
// an event "refused" tells how many keys that are.
func (a *Admin) RevokeAll(ctx context.Context) (n int, err error) {
	began := a.cfg.Now().Unix()
	ctx = a.patient(ctx)
	for {
		pass := passed{}
		err := a.store.Scan(ctx, func(ids []string) error {
			for ids := range slices.Chunk(ids, store.Page) {
				if err := a.revokeBefore(ctx, ids, began, &pass); err != nil {
					return err
				}
			}
			return nil
		})
		n += int(pass.ended.Load())
		if err == nil && pass.ended.Load() == 0 && pass.tooFar.Load() > 0 {
			err = errTooFar
		}
		if err != nil {
			return n, fmt.Errorf("redsession: revoking all sessions: %w: %w", ErrUnavailable, err)
		}
		if pass.ended.Load() == 0 {
			if pass.foreign > 0 {
				a.emit(ctx, Event{Kind: EventRefused, Reason: fmt.Sprintf("%d keys under the prefix are not of this package, and stay", pass.foreign)})
			}
			return n, nil
		}
	}
}

// passed is what one pass over all keys came to.
type passed struct {
	foreign       int
	ended, tooFar atomic.Int64 // tooFar counts tombstones from which nothing living was reached
}

// revokeBefore ends those of ids, a page, that were created by then, and what rotations
// have made of them since they were found. It counts what is not of this package. What
// lies too many rotations ahead is found by itself.
func (k *core) revokeBefore(ctx context.Context, ids []string, then int64, pass *passed) error {
	found, err := k.store.Entries(ctx, ids)
	if err != nil {
		return err
	}
	var todo []string
	for _, e := range found {
		rec, err := k.open(e.ID, e.Value)
		switch head := e.Head(); {
		case e.Absent():
		case !e.Ours():
			pass.foreign++
		case head.Kind.Live() && (err != nil || rec.Created <= then), head.Leads() != "" && k.leadsToOld(ctx, head.Next, then):
			todo = append(todo, e.ID)
		}
	}
	return forEachInParallel(todo, func(id string) error {
		lived, err := k.revoke(ctx, id, "everybody's")
		if errors.Is(err, errTooFar) {
			pass.tooFar.Add(1)
			return nil
		}
		if lived {
			pass.ended.Add(1)
		}
		return err
	})
}

// leadsToOld tells whether the rotated session that goes on at id was created by then.
func (k *core) leadsToOld(ctx context.Context, id string, then int64) bool {
	for range maxHops {
		v, err := k.store.Get(ctx, id)
		if err != nil {
			return true // the ending will tell
		}
		if rec, err := k.open(id, v); rec != nil || err != nil {
			return err != nil || rec.Created <= then
		}
		if id = v.Head().Leads(); id == "" {
			return false
		}
	}
	return true
}

// atOnce is how many sessions are ended at once: one after the other each would wait for
// a round trip, and for Redis's disk if that is slow.
const atOnce = 16

// forEachInParallel calls fn for all of ids, for some at once, and returns the first
// error.
func forEachInParallel(ids []string, fn func(id string) error) error {
	queue := make(chan string)
	var workers sync.WaitGroup
	var mu sync.Mutex // guards failed
	var failed error
	for range min(atOnce, len(ids)) {
		workers.Go(func() {
			for id := range queue {
				err := fn(id)
				mu.Lock()
				if failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	for _, id := range ids {
		queue <- id
	}
	close(queue)
	workers.Wait()
	return failed
}
