package redsession

import (
	"time"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// sealed is a record or tombstone as it is to lie in Redis.
type sealed struct {
	id, raw string
	ttl     time.Duration
	keepTTL bool // it is no activity of the session's user
}

// attempt is one plan of a commit, and what tells afterwards whether it was performed.
type attempt struct {
	plan   store.Plan
	result *stored // what the session goes on from
	raw    string  // of result
	// What decides: under the id on, the revision own takes the place of old. on is "" for
	// a plan without a compare-and-set.
	on, own, old string
	enter        *store.Enter   // of its user's index
	entered      []*store.Enter // that and all others
	end          *store.End
}

// compareAndSet is an attempt that r decides.
func compareAndSet(r *store.Replace) attempt {
	return attempt{plan: store.Plan{Decide: r}, on: r.ID, own: record.Rev(r.Raw), old: r.Rev}
}

// planWrite replaces a record by one with changes. A session that is seen under a rotated
// id enters its indexes again before that is noted, in case its rotation could not.
func planWrite(old *stored, rec *record.Record, as sealed, life time.Duration) attempt {
	a := compareAndSet(&store.Replace{ID: as.id, Rev: old.rec.Rev, Raw: as.raw, TTL: as.ttl, KeepTTL: as.keepTTL})
	if rec.LoggedIn() && rec.Seen != 0 && old.rec.Seen == 0 {
		for _, in := range indexes(rec) {
			a.plan.Prepare = append(a.plan.Prepare, &store.Move{Index: in, ID: as.id, Score: rec.Auth, Life: life})
		}
	}
	a.result = &stored{sid: old.sid, id: old.id, rec: rec}
	a.raw = as.raw
	return a
}

// planCreate stores the record of a session that has none.
func planCreate(at *stored, as sealed, earlier string) attempt {
	return attempt{
		plan:   store.Plan{Prepare: []store.Step{&store.Insert{ID: as.id, Raw: as.raw, TTL: as.ttl, Earlier: earlier}}},
		result: at, raw: as.raw,
	}
}

// loginPlan is what a login or promotion goes by.
type loginPlan struct {
	at      *stored // the new session
	as      sealed
	earlier string        // revision that an earlier try stored
	old     *stored       // the session that it takes the place of; nil for none
	over    sealed        // what is to lie in the place of old
	keep    bool          // old is anonymous, the same user's or that of who acts: it must be as it was read
	life    time.Duration // of the entry in the user's index
	limit   int
	refuse  bool     // a login beyond limit
	spared  []string // entries that do not count towards limit
	checked int64
	marks   ownMarks // that say nothing against it
	latest  int64    // mark of a revocation that counts
}

// planLogin stores the new record and enters it in its indexes, unless it is half-open; then
// it puts a tombstone in the place of the old one, or ends that, if it is another user's; then
// it takes out the old entries.
func planLogin(p loginPlan) attempt {
	rec, a := p.at.rec, planCreate(p.at, p.as, p.earlier)
	if !rec.Pending {
		for _, in := range indexes(rec) {
			e := &store.Enter{Index: in, ID: p.at.id, Score: rec.Auth, Life: p.life, Checked: max(p.checked, p.marks[in]), Latest: p.latest}
			a.plan.Prepare, a.entered = append(a.plan.Prepare, e), append(a.entered, e)
		}
		if a.enter = a.entered[0]; rec.Actor == "" {
			a.enter.Limit, a.enter.Refuse, a.enter.Spared = p.limit, p.refuse, p.spared
			a.plan.InOrder = p.refuse // whoever has a place has a record
		}
	}
	if rec.Bound() {
		a.plan.Prepare = append(a.plan.Prepare, &store.Keep{Identifier: rec.Device(), TTL: p.life})
	}
	if p.old != nil {
		user := p.old.rec.User
		switch {
		case p.keep:
			r := &store.Replace{ID: p.old.id, Rev: p.old.rec.Rev, Raw: p.over.raw, TTL: p.over.ttl}
			a.plan.Decide, a.on, a.own, a.old = r, r.ID, record.Rev(r.Raw), r.Rev
		default:
			a.end = &store.End{ID: p.old.id, With: store.Burial{Raw: p.over.raw, Life: p.over.ttl}}
			a.end.Grave = a.end.With
			a.plan.Decide = a.end
		}
		if was := p.old.rec.Device(); was != "" && was != rec.Device() {
			a.plan.Tidy = append(a.plan.Tidy, &store.Dismiss{Identifier: was})
		}
		if p.old.rec.LoggedIn() {
			a.plan.Tidy = append(a.plan.Tidy, leaves(p.old.rec, p.old.id)...)
			if a.enter != nil && user == rec.User {
				a.enter.Old = p.old.id
			}
		}
	}
	return a
}

// planRotation stores the successor, then puts a tombstone that leads there in the place of
// the old record, and then lets the successor's entries take the place of the old ones. What
// is taken over from another package enters its user's index before, as a login does: that
// is refused if the user was revoked since the old login.
func planRotation(at *stored, as sealed, earlier string, old *stored, over sealed, life time.Duration, latest int64) attempt {
	a := planCreate(at, as, earlier)
	r := &store.Replace{ID: old.id, Rev: old.rec.Rev, Raw: over.raw, TTL: over.ttl}
	a.plan.Decide, a.on, a.own, a.old = r, r.ID, record.Rev(r.Raw), r.Rev
	switch rec := at.rec; {
	case !rec.LoggedIn():
	case old.legacy != "":
		// Whoever was revoked since that login, or perhaps since, is not taken over. It is the
		// old id that is entered: a revocation from now on finds that, and the new one would
		// count for a session that nobody has if this process died before it decides.
		a.plan.Prepare = append(a.plan.Prepare, &store.Enter{Index: store.OfUser(rec.User), ID: old.id, Score: rec.Auth, Life: life, Checked: rec.Auth, Latest: latest})
		fallthrough
	default:
		prepare, tidy := moves(at, old, life)
		a.plan.Prepare, a.plan.Tidy = append(a.plan.Prepare, prepare...), tidy
	}
	return a
}

// planEnding takes a session away, and what is known to lead to it (rec is nil if that is
// nothing): its entries in indexes, and the key of its device.
func planEnding(end *store.End, rec *record.Record) store.Plan {
	return store.Plan{Decide: end, Tidy: traces(end.ID, rec)}
}

// traces are what a session that is gone leaves elsewhere.
func traces(id string, rec *record.Record) (steps []store.Step) {
	if rec == nil {
		return nil
	}
	steps = leaves(rec, id)
	if rec.Bound() {
		steps = append(steps, &store.Dismiss{Identifier: rec.Device()})
	}
	return steps
}
