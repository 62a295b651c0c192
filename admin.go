package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redisurl"
)

// Admin lists and ends sessions. It is safe for concurrent use. Its calls run
// under the caller's context; when Redis does not answer they return an error
// that is ErrUnavailable.
type Admin struct {
	cfg   Config
	ring  record.Ring // empty without secrets: then nothing that Redis says is checked
	store *store
	own   redis.UniversalClient // closed by us; nil if the client is the caller's
	count counters
	onEnd func(id string) // called for each session that ends; may be nil
}

// NewAdmin returns the administration alone, for an operator's tool. It needs
// no Secrets; with them, records that do not verify are left out of lists.
func NewAdmin(c Config) (*Admin, error) {
	c = c.withDefaults()
	return newAdmin(c, errors.Join(c.checkConnection(), c.checkTimes(), c.checkLimits()))
}

// newAdmin finishes what a Config with these mistakes describes.
func newAdmin(c Config, mistakes error) (*Admin, error) {
	a := &Admin{cfg: c}
	client := c.Client
	if c.URL != "" && client == nil {
		var err error
		if client, err = redisurl.Client(c.URL, c.RedisTimeout); err != nil {
			mistakes = errors.Join(mistakes, fmt.Errorf("Config.URL: %w", err))
		}
		a.own = client
	}
	if mistakes != nil {
		_ = a.Close() // nothing was sent yet
		return nil, fmt.Errorf("redsession: %w", mistakes)
	}
	var err error
	if a.ring, err = record.NewRing(c.Secrets); err != nil {
		return nil, errors.Join(fmt.Errorf("redsession: deriving keys: %w", err), a.Close())
	}
	_, cluster := client.(*redis.ClusterClient) // keeps the slot in the command
	a.store = &store{client: client, prefix: c.Prefix, heedless: !redisurl.HeedsContext(client), reuse: a.own != nil && !cluster}
	a.store.loads.run = a.store.loadTogether
	return a, nil
}

// Close ends the connections that the Admin opened itself.
func (a *Admin) Close() error {
	if a.own == nil {
		return nil
	}
	return a.own.Close()
}

// errBadID tells of an id that no session can have.
var errBadID = fmt.Errorf("redsession: no session id: want %d characters of base64url, as ID, Info and lists show them", idLen)

// Revoke ends the session with this public id, and what a rotation has made of
// it meanwhile. It returns nil for an unknown id, and an error for what is no id.
func (a *Admin) Revoke(ctx context.Context, id string) error {
	if !isID(id) {
		return errBadID
	}
	_, err := a.revoke(ctx, id, "revoked")
	return err
}

// revoke ends a session by id and tells whether one lived there.
func (a *Admin) revoke(ctx context.Context, id, reason string) (bool, error) {
	rec, err := a.endSession(ctx, id, false)
	if err != nil {
		return false, fmt.Errorf("redsession: revoking session: %w: %w", ErrUnavailable, err)
	}
	if rec == nil {
		return false, nil
	}
	a.emit(ctx, Event{Kind: EventRevoked, ID: id, UserID: rec.User, Reason: reason})
	return true, nil
}

// RevokeOf ends a session if it is user's, so that a user can be offered to end
// their own. It tells whether it was, and still lived.
func (a *Admin) RevokeOf(ctx context.Context, user, id string) (bool, error) {
	if !isID(id) || user == "" {
		return false, nil
	}
	for at, hop := id, 0; hop < maxEndHops; hop++ {
		found, err := a.store.entries(ctx, []string{at})
		if err != nil {
			return false, fmt.Errorf("redsession: revoking session: %w: %w", ErrUnavailable, err)
		}
		rec, err := a.open(found[0])
		switch _, next := record.Peek(found[0].raw); {
		case rec != nil && err == nil:
			if rec.User != user {
				return false, nil
			}
			return a.revoke(ctx, id, "revoked by its user")
		case err == nil && next != "":
			at = next
		default:
			return false, nil
		}
	}
	return false, nil
}

// RevokeUser ends all sessions of user and returns how many. A session that is
// just rotating does not escape. A login whose password was checked before may
// still finish after it: Config.UserStamp closes that.
func (a *Admin) RevokeUser(ctx context.Context, user string) (int, error) {
	return a.revokeWhere(ctx, user, "all of the user's", func(string, *record.Record) bool { return true })
}

// revokeWhere ends those sessions of user that match, until none is left.
func (a *Admin) revokeWhere(ctx context.Context, user, reason string, match func(id string, rec *record.Record) bool) (int, error) {
	ended := make(map[string]bool) // by the first id: a session that is just rotating has two
	for {
		ids, err := a.store.listed(ctx, user, 0)
		if err != nil {
			return len(ended), fmt.Errorf("redsession: revoking the user's sessions: %w: %w", ErrUnavailable, err)
		}
		found, err := a.store.entries(ctx, ids)
		if err != nil {
			return len(ended), fmt.Errorf("redsession: revoking the user's sessions: %w: %w", ErrUnavailable, err)
		}
		var done []string
		for _, e := range found {
			rec, err := a.open(e)
			switch {
			case err == nil && rec == nil: // gone, or rotated: what it became has its own entry
			case err == nil && (rec.User != user || !match(e.id, rec)):
				continue
			default:
				lived, err := a.revoke(ctx, e.id, reason)
				if err != nil {
					return len(ended), err
				}
				if lived {
					ended[origin(e.id, rec)] = true
				}
			}
			done = append(done, e.id)
		}
		if len(done) == 0 {
			return len(ended), nil
		}
		if err := a.store.unlist(ctx, user, done...); err != nil {
			return len(ended), fmt.Errorf("redsession: revoking the user's sessions: %w: %w", ErrUnavailable, err)
		}
	}
}

// origin is the id that a session had when it was created or logged in to. Timed
// rotation keeps it, login and logout do not.
func origin(id string, rec *record.Record) string {
	if rec == nil {
		return id
	}
	return cmp.Or(rec.Origin, id)
}

// RevokeAll ends every session under the prefix that was created before it
// began and returns how many. It repeats its pass until it finds none, so that a
// session rotating meanwhile does not escape.
func (a *Admin) RevokeAll(ctx context.Context) (n int, err error) {
	began := a.cfg.Now().Unix()
	for {
		pass := 0
		var failed error
		err := a.store.scan(ctx, func(ids []string) bool {
			var ended int
			ended, failed = a.revokeBefore(ctx, ids, began)
			pass += ended
			return failed == nil
		})
		n += pass
		if err = errors.Join(err, failed); err != nil {
			return n, fmt.Errorf("redsession: revoking all sessions: %w: %w", ErrUnavailable, err)
		}
		if pass == 0 {
			return n, nil
		}
	}
}

// revokeBefore ends those of ids that were created by then, and what rotations
// have made of them since they were found.
func (a *Admin) revokeBefore(ctx context.Context, ids []string, then int64) (int, error) {
	var ended atomic.Int64
	var mu sync.Mutex // guards failed
	var failed error
	for hop := 0; len(ids) > 0 && hop < maxHops; hop++ {
		found, err := a.store.entries(ctx, ids)
		if err != nil {
			return int(ended.Load()), err
		}
		ids = nil
		var todo []string
		for _, e := range found {
			rec, err := a.open(e)
			if e.raw == "" || err == nil && rec != nil && rec.Created > then {
				continue
			}
			if err == nil && rec == nil {
				if _, next := record.Peek(e.raw); next != "" {
					ids = append(ids, next)
				}
				continue
			}
			todo = append(todo, e.id)
		}
		together(todo, func(id string) {
			lived, err := a.revoke(ctx, id, "everybody's")
			if lived {
				ended.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			failed = cmp.Or(failed, err)
		})
		if failed != nil {
			break
		}
	}
	return int(ended.Load()), failed
}

// atOnce is how many sessions are ended or flushed at once: one after the other
// each would wait for a round trip, and for Redis's disk if that is slow.
const atOnce = 16

// together calls fn for all of ids, for some at once.
func together(ids []string, fn func(id string)) {
	queue := make(chan string)
	var workers sync.WaitGroup
	for range min(atOnce, len(ids)) {
		workers.Go(func() {
			for id := range queue {
				fn(id)
			}
		})
	}
	for _, id := range ids {
		queue <- id
	}
	close(queue)
	workers.Wait()
}
