package redsession

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// Info is what an operator, or its user, may know of a session.
type Info struct {
	ID         string // public; of no use as a cookie
	UserID     string // "" unless somebody has logged in, all factors included
	RemoteAddr string // of the login
	UserAgent  string // of the login
	CreatedAt  time.Time
	AuthTime   time.Time // zero unless somebody has logged in
	LastSeen   time.Time
	ExpiresAt  time.Time // if no further request comes
	TTL        time.Duration
	Bytes      int // of the record in Redis
}

// info describes what lies in e. It reports false for a tombstone, for nothing,
// and for what does not verify.
func (a *Admin) info(e entry) (Info, bool) {
	rec, err := a.open(e)
	now := a.cfg.Now()
	if err != nil || rec == nil || rec.TTL(now) <= 0 {
		return Info{}, false
	}
	// What the TTL tells is too early where the deadline cut it short.
	seen := now.Add(e.ttl - time.Duration(rec.Idle)*time.Second)
	for _, t := range []time.Time{time.Unix(rec.Written, 0), time.Unix(rec.Created, 0), unixMicro(rec.Auth)} {
		if t.After(seen) {
			seen = t
		}
	}
	i := Info{
		ID: e.id, RemoteAddr: rec.RemoteAddr, UserAgent: rec.UserAgent,
		CreatedAt: time.Unix(rec.Created, 0), AuthTime: unixMicro(rec.Auth),
		LastSeen: seen, ExpiresAt: now.Add(e.ttl), TTL: e.ttl, Bytes: len(e.raw),
	}
	if rec.LoggedIn() {
		i.UserID = rec.User
	}
	return i, true
}

// open decodes a record, and checks it if there are secrets. A tombstone, or
// nothing, is no record and no error.
func (a *Admin) open(e entry) (*record.Record, error) {
	if e.raw == "" {
		return nil, nil
	}
	if len(a.ring) > 0 {
		rec, _, err := record.Open(a.ring, a.store.key(e.id), e.raw)
		return rec, err
	}
	if record.IsTombstone(e.raw) {
		return nil, nil
	}
	return record.Decode(e.raw)
}

// All lists every session under the prefix, in no order, by SCAN: it does not
// block Redis, and shows each session that existed throughout at least once
// (twice if Redis resizes its table meanwhile). It stops when the caller does,
// and after the first error.
func (a *Admin) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		stopped := false
		err := a.store.scan(ctx, func(ids []string) bool {
			found, err := a.store.entries(ctx, ids)
			if err != nil {
				stopped = true
				yield(Info{}, fmt.Errorf("redsession: listing sessions: %w: %w", ErrUnavailable, err))
				return false
			}
			for _, e := range found {
				if i, ok := a.info(e); ok && !yield(i, nil) {
					stopped = true
					return false
				}
			}
			return true
		})
		if err != nil && !stopped {
			yield(Info{}, fmt.Errorf("redsession: listing sessions: %w: %w", ErrUnavailable, err))
		}
	}
}

// Count counts the sessions under the prefix, by SCAN.
func (a *Admin) Count(ctx context.Context) (int, error) {
	n := 0
	var failed error
	err := a.store.scan(ctx, func(ids []string) bool {
		heads, err := a.store.heads(ctx, ids)
		if failed = err; err != nil {
			return false
		}
		for _, head := range heads {
			if isRecord, _ := record.Peek(head); isRecord {
				n++
			}
		}
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("redsession: counting sessions: %w: %w", ErrUnavailable, err)
	}
	return n, nil
}

// Sessions lists the sessions that user is logged in to, the latest login
// first. Entries of sessions that have ended are removed from the index.
func (a *Admin) Sessions(ctx context.Context, user string) ([]Info, error) {
	var infos []Info
	err := a.each(ctx, user, func(e entry, rec *record.Record) {
		if i, ok := a.info(e); ok && i.UserID == user {
			infos = append(infos, i)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("redsession: listing the user's sessions: %w: %w", ErrUnavailable, err)
	}
	slices.SortStableFunc(infos, func(a, b Info) int { return b.AuthTime.Compare(a.AuthTime) })
	return infos, nil
}

// each calls fn with each session in user's index, half-open ones included, and
// takes entries of dead ones out. The record comes before its entry, so an
// entry without a record is dead.
func (a *Admin) each(ctx context.Context, user string, fn func(entry, *record.Record)) error {
	ids, err := a.store.listed(ctx, user, 0)
	if err != nil {
		return err
	}
	var dead []string
	for ids := range slices.Chunk(ids, page) {
		found, err := a.store.entries(ctx, ids)
		if err != nil {
			return err
		}
		for _, e := range found {
			rec, err := a.open(e)
			switch {
			case rec != nil && err == nil && rec.User == user:
				fn(e, rec)
			case e.raw == "":
				dead = append(dead, e.id)
			}
		}
	}
	if len(dead) == 0 {
		return nil
	}
	return a.store.unlist(ctx, user, dead...)
}
