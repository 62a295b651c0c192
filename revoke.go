package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// markLife is how long a revocation of all that a user has is remembered: longer than any
// login takes whose password was checked before. While old sessions of another package
// may be taken over, it is AbsoluteTimeout.
const markLife = 15 * time.Minute

// markRevoked leaves the mark of a revocation of all in an index, by which logins under way
// are refused, and returns the first page of the index. What s, which may be nil, does from
// now on was checked after it.
func (k *core) markRevoked(ctx context.Context, in store.Index, s *Session) (entries []store.Indexed, err error) {
	life := markLife
	if len(k.cfg.Adopt) > 0 || k.breaker == nil { // an operator's tool cannot know what the servers take over
		life = max(life, k.cfg.AbsoluteTimeout, k.insideAge())
	}
	if k.breaker == nil {
		life = max(life, toolAge)
	}
	mark := &store.Mark{Index: in, At: k.cfg.Now().UnixMicro(), Latest: k.latestMark(), Life: life}
	for try := 0; ; try++ {
		if entries, err = k.store.MarkRevoked(ctx, mark); err == nil {
			break
		}
		if !passes(err) || try == 2 || ctx.Err() != nil || pause(ctx, try) != nil {
			return nil, err
		}
	}
	if s != nil {
		s.mu.Lock()
		if s.marks == nil {
			s.marks = make(ownMarks)
		}
		s.marks[in] = mark.At + 1
		s.mu.Unlock()
	}
	return entries, nil
}

// ownMarks are right after the marks that a request has left itself, Unix microseconds: they
// say nothing against its own logins, nor does any of them for what another index says.
type ownMarks map[store.Index]int64

// after is checked, or right after the last of the marks that a login by head meets.
func (o ownMarks) after(checked int64, head *record.Record) int64 {
	if len(o) > 0 {
		for _, in := range indexes(head) {
			checked = max(checked, o[in])
		}
	}
	return checked
}

// clocksApart is how far the clocks of two servers may be apart; 5 minutes is what Kerberos
// takes. A mark that is further ahead was left by nobody of ours, and counts as none: it
// would keep its user out for as long as its author likes.
const clocksApart = 5 * time.Minute

func (k *core) latestMark() int64 { return k.cfg.Now().Add(clocksApart).UnixMicro() }

// revokeListed marks that the sessions of an index were revoked, as markRevoked does, and
// ends those in it that match, until none is left.
func (k *core) revokeListed(ctx context.Context, in store.Index, s *Session, reason string, match func(id string, rec *record.Record) bool) (int, error) {
	entries, err := k.markRevoked(ctx, in, s)
	fail := func(err error) error {
		return fmt.Errorf("redsession: revoking %s: %w: %w", whose(in), ErrUnavailable, err)
	}
	if err != nil {
		return 0, fail(err)
	}
	ended := make(map[string]bool) // by the first id: a session that is just rotating has two
	kept := make(map[string]bool)
	for {
		entries = slices.DeleteFunc(entries, func(e store.Indexed) bool { return kept[e.ID] })
		if len(entries) == 0 {
			return len(ended), nil
		}
		rest, err := k.revokePage(ctx, in, entries, reason, match, ended, kept)
		if err != nil {
			return len(ended), fail(err)
		}
		if entries = rest; len(rest) == store.Page && len(kept) > 0 { // those that are kept may fill the first page
			if entries, err = k.store.Index(ctx, in, len(kept), store.Page); err != nil {
				return len(ended), fail(err)
			}
		}
	}
}

// revokePage ends what matches of a page of an index, takes its entries out, and returns
// what is left there.
func (k *core) revokePage(ctx context.Context, in store.Index, entries []store.Indexed, reason string, match func(string, *record.Record) bool, ended, kept map[string]bool) ([]store.Indexed, error) {
	entries, garbage := idsAlone(entries)
	found, err := k.store.Entries(ctx, idsOf(entries))
	if err = cmp.Or(err, k.leaveIndex(ctx, in, garbage)); err != nil {
		return nil, err
	}
	var ends []*store.End
	var strangers []string
	lived := make(map[string]*record.Record)
	for i, e := range found {
		rec, err := k.listedIn(ctx, in, e, match)
		end := &store.End{ID: e.ID, HeadOnly: true}
		switch {
		case errors.Is(err, errKept):
			kept[e.ID] = true
			continue
		case errors.Is(err, errStranger):
			strangers = append(strangers, e.ID)
			continue
		case err != nil:
			return nil, err
		case e.Head().Kind == record.Imported:
			end.Grave = k.grave(e.ID)
		case e.Absent() && k.store.Apart() && k.young(entries[i].Score): // a login under way may be about to store a record there
			end.With, end.Bury = k.tombstone(e.ID, tombstoneOfEntry), true
		}
		switch {
		case rec != nil && e.Head().Kind.Live():
			lived[e.ID] = rec
		case rec != nil: // it had rotated, and has ended
			ended[origin(e.ID, rec)] = true
			k.emit(ctx, revokedOf(in, e.ID, rec, reason))
		}
		ends = append(ends, end)
	}
	if err := k.leaveIndex(ctx, in, strangers); err != nil {
		return nil, err
	}
	return k.endPage(ctx, in, ends, lived, reason, ended)
}

// Why a session whose id is in an index is left alone.
var (
	errKept     = errors.New("it does not match")
	errStranger = errors.New("it does not belong into the index")
)

// listedIn returns the session that an entry names, nil if there is none, which is to be
// ended; what a rotated id has become is ended already. The error is errKept if it does not
// match, and errStranger if it is another user's: whoever can write to Redis can enter that.
func (k *core) listedIn(ctx context.Context, in store.Index, e store.Entry, match func(string, *record.Record) bool) (*record.Record, error) {
	rec, err := k.open(e.ID, e.Value)
	switch {
	case err == nil && rec != nil && !belongs(rec, in):
		return nil, errStranger
	case err == nil && rec != nil && !match(e.ID, rec):
		return nil, errKept
	case err == nil && rec != nil:
		return rec, nil
	case e.Head().Leads() != "":
		return k.endRotated(ctx, e.ID, in, match)
	}
	return nil, nil
}

// tombstoneOfEntry is how long a tombstone stays where an entry had no record yet.
const tombstoneOfEntry = 10 * time.Minute

// endRotated ends what the rotated session at id has become, and returns the record that
// lived, if it matches and is in the index by right: see listedIn. A tag's hash may be one of an
// older secret, which the session has no more.
func (k *core) endRotated(ctx context.Context, id string, in store.Index, match func(string, *record.Record) bool) (*record.Record, error) {
	for at, hop := id, 0; hop < maxEndHops; hop++ {
		v, err := k.store.Get(ctx, at)
		if err != nil {
			return nil, err
		}
		if rec, err := k.open(at, v); err == nil && rec != nil {
			switch {
			case !belongs(rec, in) && in.Tag == "":
				return nil, errStranger
			case belongs(rec, in) && !match(at, rec):
				return nil, errKept
			}
			break
		}
		if at = v.Head().Leads(); at == "" {
			break
		}
	}
	return k.end(ctx, id, false)
}

// endPage performs ends, and counts and tells of those of lived that were still there. A
// reply that was lost counts: better told of twice than never.
func (k *core) endPage(ctx context.Context, in store.Index, ends []*store.End, lived map[string]*record.Record, reason string, ended map[string]bool) (rest []store.Indexed, err error) {
	if err := k.markLived(ctx, in, lived); err != nil {
		return nil, err
	}
	left := tracesBut(in, lived)
	lost := false
	for try := 0; ; try++ {
		if rest, err = k.store.EndAll(ctx, ends, in, left...); err == nil {
			break
		}
		if lost = true; !passes(err) || try == 2 || ctx.Err() != nil || pause(ctx, try) != nil {
			return nil, err
		}
	}
	for _, e := range ends {
		rec := lived[e.ID]
		switch {
		case rec == nil:
		case e.Found.Head().Kind.Live() || lost && e.Found.Absent():
			k.tellEnded(e.ID, origin(e.ID, rec))
			ended[origin(e.ID, rec)] = true
			k.emit(ctx, revokedOf(in, e.ID, rec, reason))
		case e.Found.Head().Leads() != "": // rotated since it was read
			rec, err := k.end(ctx, e.ID, false)
			if err != nil {
				return nil, err
			}
			if rec != nil {
				ended[origin(e.ID, rec)] = true
				k.emit(ctx, revokedOf(in, e.ID, rec, reason))
			}
		}
	}
	return rest, nil
}
