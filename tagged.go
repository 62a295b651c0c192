package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/loginfact"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// errNoSecrets is an Admin that cannot tell under which keys a tag's sessions are listed.
var errNoSecrets = errors.New("redsession: tags are kept as keyed hashes: to find them, NewAdmin wants Config.Secrets")

// Tagged lists the sessions that were logged in with Tag(tag), of whichever user, the latest
// login first. Entries of sessions that have ended are removed from the index. It costs two round
// trips for up to 128 sessions, and one or two more for each further secret. An Admin
// without Secrets gets an error.
func (a *Admin) Tagged(ctx context.Context, tag string) ([]Info, error) {
	all, err := a.taggedBy(tag)
	if err != nil {
		return nil, err
	}
	infos, err := a.sessions(a.patient(ctx), func(i Info) bool { return i.UserID != "" }, all...)
	if err != nil {
		return nil, fmt.Errorf("redsession: listing the tag's sessions: %w: %w", ErrUnavailable, err)
	}
	return infos, nil
}

// RevokeTagged ends all sessions that were logged in with Tag(tag), of whichever user, and
// returns how many. A session that is just rotating does not escape, nor a login or a
// promotion with this tag whose password was checked before, by the clocks of the servers: it
// is ErrGone. Called with the context of a request of a Manager, a Login after it in the
// same request stands. It costs three round trips for up to 128 sessions, and a few more if
// there are several Secrets. An Admin without Secrets gets an error.
func (a *Admin) RevokeTagged(ctx context.Context, tag string) (ended int, err error) {
	all, err := a.taggedBy(tag)
	if err != nil {
		return 0, err
	}
	ctx = a.patient(ctx)
	s, _ := ctx.Value(a.core).(*Session)
	for {
		before := ended
		for _, in := range all {
			n, err := a.revokeListed(ctx, in, s, "all with a tag", func(string, *record.Record) bool { return true })
			if ended += n; err != nil {
				return ended, err
			}
		}
		if len(all) == 1 || ended == before { // a rotation may have moved an entry behind our back
			return ended, nil
		}
	}
}

// taggedBy returns the indexes in which sessions with tag may be: one for each secret.
func (k *core) taggedBy(tag string) (all []store.Index, err error) {
	if len(k.ring) == 0 {
		return nil, errNoSecrets
	}
	if err := loginfact.CheckTag(tag); err != nil {
		return nil, fmt.Errorf("redsession: %w", err)
	}
	for _, keys := range k.ring {
		all = append(all, store.OfTag(keys.Tag(tag)))
	}
	return all, nil
}

// renewTags returns tags by the newest secret.
func (k *core) renewTags(tags record.Tags) record.Tags {
	renewed, err := k.ring.RenewTags(tags)
	if err != nil {
		return tags // the older secret is still there
	}
	return renewed
}

// indexes are those that have an entry of a session: its user's first.
func indexes(rec *record.Record) []store.Index {
	if rec.User == "" {
		return nil
	}
	all := []store.Index{store.OfUser(rec.User)}
	if rec.Actor != "" && rec.Actor != rec.User {
		all = append(all, store.OfUser(rec.Actor))
	}
	for _, hash := range rec.Tags.Hashes() {
		all = append(all, store.OfTag(hash))
	}
	return all
}

// belongs tells whether the session of rec may have an entry in an index. Whoever can write
// to Redis can enter others.
func belongs(rec *record.Record, in store.Index) bool {
	if in.Tag != "" {
		return rec.Tags.Has(in.Tag)
	}
	return rec.User == in.User || rec.Actor != "" && rec.Actor == in.User
}

// whose says what an index lists.
func whose(in store.Index) string {
	if in.Tag != "" {
		return "the tag's sessions"
	}
	return "the user's sessions"
}

// leaves takes ids out of the indexes of rec.
func leaves(rec *record.Record, ids ...string) (steps []store.Step) {
	for _, in := range indexes(rec) {
		steps = append(steps, &store.Leave{Index: in, IDs: ids})
	}
	return steps
}

// moves lets a rotated session's entries go over to its new id. Where the rotation has
// renewed a tag, the old id enters the new index before: at no moment is it in neither.
func moves(at, old *stored, life time.Duration) (prepare, tidy []store.Step) {
	before, now := indexes(old.rec), indexes(at.rec)
	for _, in := range now {
		if !slices.Contains(before, in) {
			prepare = append(prepare, &store.Move{Index: in, ID: old.id, Score: at.rec.Auth, Life: life})
		}
		tidy = append(tidy, &store.Move{Index: in, ID: at.id, Old: old.id, Score: at.rec.Auth, Life: life})
	}
	for _, in := range before {
		if !slices.Contains(now, in) {
			tidy = append(tidy, &store.Leave{Index: in, IDs: []string{old.id}})
		}
	}
	return prepare, tidy
}

// sameTraces tells whether two records of a session leave the same elsewhere.
func sameTraces(a, b *record.Record) bool {
	return a.User == b.User && a.Device() == b.Device() && a.Tags == b.Tags && a.Actor == b.Actor
}

// tracesBut are what sessions of an index leave elsewhere than there, by their ids: for each
// key one step.
func tracesBut(in store.Index, lived map[string]*record.Record) (steps []store.Step) {
	elsewhere := make(map[store.Index]*store.Leave)
	for id, rec := range lived {
		for _, other := range indexes(rec) {
			leave := elsewhere[other]
			switch {
			case other == in:
				continue
			case leave == nil:
				leave = &store.Leave{Index: other}
				elsewhere[other] = leave
				steps = append(steps, leave)
			}
			leave.IDs = append(leave.IDs, id)
		}
		if rec.Bound() {
			steps = append(steps, &store.Dismiss{Identifier: rec.Device()})
		}
	}
	return steps
}

// revokedOf is the event of a session that was ended by an index. rec is empty if the reply
// that told of it was lost.
func revokedOf(in store.Index, id string, rec *record.Record, reason string) Event {
	return Event{Kind: EventRevoked, ID: id, UserID: cmp.Or(rec.User, in.User), ActorID: rec.Actor, Reason: reason}
}
