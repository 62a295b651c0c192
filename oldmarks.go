package redsession

import (
	"context"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// A session inside an old cookie cannot be deleted: every value that its package ever
// signed is as good as the last, for Legacy.MaxAge. So a logout and a revocation leave a
// mark of the user, in an index of its own beside the user's: what was written before the
// mark is not taken over. Taking over asks for it in the plan that does it, as a login asks
// for the mark of a revocation.

// insideMark stands between Source and id of what was made from a cookie's own session.
const insideMark = "::"

// toolAge is the MaxAge that an operator's tool assumes, which does not know Config.Adopt:
// that of gorilla and gin.
const toolAge = 30 * 24 * time.Hour

// markedUser is the index that holds the mark, under a name that is no user's: a user's id
// is text, and this begins with a byte that is not.
func markedUser(user string) string { return "\xffcookies:" + user }

// insideAge is how long values of old cookies are accepted after they were written, 0 if
// none hold sessions.
func (k *core) insideAge() (age time.Duration) {
	for i := range k.cfg.Adopt {
		age = max(age, k.cfg.Adopt[i].MaxAge)
	}
	return age
}

// marksFor is how long the mark of the end of rec, which may be nil, must be kept; 0 is
// none. A server marks every end, as its user may have values that never came.
func (k *core) marksFor(rec *record.Record) time.Duration {
	if age := k.insideAge(); age > 0 {
		return age
	}
	if rec != nil && strings.Contains(rec.Source, insideMark) {
		return max(toolAge, k.cfg.AbsoluteTimeout)
	}
	return 0
}

// markInside has the values of old cookies that were written for user so far lead nowhere.
func (k *core) markInside(ctx context.Context, user string, life time.Duration) error {
	if user == "" || life == 0 {
		return nil
	}
	mark := &store.Mark{Index: store.OfUser(markedUser(user)), At: k.cfg.Now().UnixMicro(), Life: life, Latest: k.latestMark()}
	_, err := k.runEnding(ctx, store.Plan{Decide: mark})
	return err
}

// endForGood is endOf for a logout or a revocation. It leaves the mark first; a tool, which
// knows of old cookies only what a record says, leaves it when it has that.
func (k *core) endForGood(ctx context.Context, id string, known *record.Record, tombstone bool) (rec *record.Record, err error) {
	if rec = known; rec == nil && k.insideAge() > 0 {
		if rec, err = k.present(ctx, id); err != nil {
			return nil, err
		}
	}
	marked := rec != nil
	if marked {
		if err := k.markInside(ctx, rec.User, k.marksFor(rec)); err != nil {
			return nil, err
		}
	}
	if rec, err = k.endOf(ctx, id, known, tombstone); err == nil && rec != nil && !marked {
		err = k.markInside(ctx, rec.User, k.marksFor(rec))
	}
	return rec, err
}

// markLived leaves the marks of the users of sessions that are about to be revoked by
// another index than that of their user, which has a mark of its own.
func (k *core) markLived(ctx context.Context, in store.Index, lived map[string]*record.Record) error {
	if in.Tag == "" {
		return nil
	}
	done := make(map[string]bool)
	for _, rec := range lived {
		if life := k.marksFor(rec); life > 0 && !done[rec.User] {
			if err := k.markInside(ctx, rec.User, life); err != nil {
				return err
			}
			done[rec.User] = true
		}
	}
	return nil
}

// present returns what the session at id is now, over rotations; nil if it has ended.
func (k *core) present(ctx context.Context, id string) (*record.Record, error) {
	for range maxEndHops {
		v, err := k.store.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if rec, err := k.open(id, v); err == nil && rec != nil {
			return rec, nil
		}
		if id = v.Head().Leads(); id == "" {
			break
		}
	}
	return nil, nil
}

// unmarked is the step that keeps what was written inside a cookie before the mark of rec's
// user from being taken over as the session old.
func unmarked(rec *record.Record, old *stored, life time.Duration, latest int64) *store.Enter {
	return &store.Enter{Index: store.OfUser(markedUser(rec.User)), ID: old.id, Score: rec.Auth, Life: life, Checked: rec.Auth, Latest: latest}
}
