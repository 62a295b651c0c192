package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/loginfact"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/store"
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
	Bytes      int    // of the record in Redis
	Label      string // that the login gave it
	ActorID    string // who acts as UserID, "" if nobody does: see By
	Level      int    // that the login proved: see Proved
	// DeviceBound tells whether the session belongs to a device: see Config.DeviceBinding.
	DeviceBound bool
}

// info describes what lies in e. It reports false for a tombstone, for nothing,
// and for what does not verify.
func (k *core) info(e store.Entry) (Info, bool) {
	rec, err := k.open(e.ID, e.Value)
	now := k.cfg.Now()
	if err != nil || rec == nil || rec.TTL(now) <= 0 {
		return Info{}, false
	}
	// What the TTL tells is too early where the deadline cut it short.
	seen := now.Add(e.TTL - time.Duration(rec.Idle)*time.Second)
	for _, t := range []time.Time{time.Unix(rec.Written, 0), time.Unix(rec.Created, 0), unixMicro(rec.Auth)} {
		if t.After(seen) {
			seen = t
		}
	}
	i := Info{ // with texts of its own: those of rec are parts of the whole record
		ID: e.ID, RemoteAddr: strings.Clone(rec.RemoteAddr), UserAgent: strings.Clone(rec.UserAgent),
		CreatedAt: time.Unix(rec.Created, 0), AuthTime: unixMicro(rec.Auth),
		LastSeen: seen, ExpiresAt: now.Add(e.TTL), TTL: e.TTL, Bytes: len(e.Raw()), DeviceBound: rec.Bound(),
		Label: strings.Clone(rec.Label), ActorID: strings.Clone(rec.Actor),
	}
	if rec.LoggedIn() {
		i.UserID = strings.Clone(rec.User)
		i.Level = loginfact.Parse(rec.Proved).Level
	}
	return i, true
}

// All lists every session under the prefix, in no order, by SCAN: it does not
// block Redis, and shows each session that existed throughout at least once
// (twice if Redis resizes its table meanwhile, or was away). It stops when the caller does,
// and after the first error.
func (a *Admin) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		ctx := a.patient(ctx)
		err := a.store.Scan(ctx, func(ids []string) error {
			for ids := range slices.Chunk(ids, store.Page) {
				found, err := a.store.Entries(ctx, ids)
				if err != nil {
					return err
				}
				for _, e := range found {
					if i, ok := a.info(e); ok && !yield(i, nil) {
						return errStop
					}
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Info{}, fmt.Errorf("redsession: listing sessions: %w: %w", ErrUnavailable, err))
		}
	}
}

// errStop is that a caller has seen enough.
var errStop = errors.New("stopped")

// Count counts the sessions under the prefix, by SCAN, as All finds them.
func (a *Admin) Count(ctx context.Context) (n int, err error) {
	ctx = a.patient(ctx)
	err = a.store.Scan(ctx, func(ids []string) error {
		heads, err := a.store.Heads(ctx, ids)
		for _, h := range heads {
			if h.Kind.Live() {
				n++
			}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("redsession: counting sessions: %w: %w", ErrUnavailable, err)
	}
	return n, nil
}

// Sessions lists the sessions that user is logged in to, the latest login
// first. Those in which somebody acts as the user are among them (see By), those in which
// the user acts as another are not. Entries of sessions that have ended are removed from the
// index.
func (a *Admin) Sessions(ctx context.Context, user string) ([]Info, error) {
	infos, err := a.sessions(a.patient(ctx), func(i Info) bool { return i.UserID == user }, store.OfUser(user))
	if err != nil {
		return nil, fmt.Errorf("redsession: listing the user's sessions: %w: %w", ErrUnavailable, err)
	}
	return infos, nil
}

// sessions reads indexes page by page, and takes out what is dead. It returns the sessions
// that match, the latest login first.
func (k *core) sessions(ctx context.Context, match func(Info) bool, all ...store.Index) (infos []Info, err error) {
	listed := make(map[string]bool) // a session that is just rotating may have two entries
	for _, in := range all {
		err := k.eachCurrent(ctx, in, func(e living) {
			if i, ok := k.info(e.Entry); ok && match(i) && !listed[i.ID] {
				listed[i.ID] = true
				infos = append(infos, i)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(infos, func(a, b Info) int { return b.AuthTime.Compare(a.AuthTime) })
	return infos, nil
}

// eachCurrent calls fn with the sessions of an index, and takes out what is dead.
func (k *core) eachCurrent(ctx context.Context, in store.Index, fn func(living)) error {
	for skip := 0; ; {
		entries, err := k.store.Index(ctx, in, skip, store.Page)
		if err != nil {
			return err
		}
		found, dead, err := k.current(ctx, in, entries)
		if err != nil {
			return err
		}
		for _, e := range found {
			fn(e)
		}
		if err := k.leaveIndex(ctx, in, dead); err != nil {
			return err
		}
		if skip += len(entries) - len(dead); len(entries) < store.Page {
			return nil
		}
	}
}

// entryGrace is how young an entry may be that has no record: its login may be under way.
const entryGrace = 10 * time.Minute

// living is a session of an index.
type living struct {
	store.Entry
	login  int64  // Unix microseconds
	acted  bool   // somebody acts as its user
	entry  string // of the index, under which it was found
	origin string
}

// current reads what the entries of a page of an index have become, over timed
// rotations, and returns the sessions, the oldest login first. It tells which entries are
// dead, or a second one of the same session.
func (k *core) current(ctx context.Context, in store.Index, entries []store.Indexed) (found []living, dead []string, err error) {
	began, dead := idsAlone(entries)
	at := slices.Clone(began) // where each goes on
	known := make(map[string]bool)
	for hop := 0; len(at) > 0 && hop < maxHops; hop++ {
		page, err := k.store.Entries(ctx, idsOf(at))
		if err != nil {
			return nil, nil, err
		}
		var next, from []store.Indexed
		for i, e := range page {
			rec, err := k.open(e.ID, e.Value)
			switch leads := e.Head().Leads(); {
			case rec != nil && err == nil && belongs(rec, in) && !known[e.ID]:
				known[e.ID] = true
				found = append(found, living{e, at[i].Score, rec.Actor != "", began[i].ID, origin(e.ID, rec)})
			case leads != "":
				next, from = append(next, store.Indexed{ID: leads, Score: at[i].Score}), append(from, began[i])
			case err != nil && e.Head().Kind.Live(): // another server may have the secret
			case e.Absent() && hop == 0 && k.store.Apart() && k.young(at[i].Score): // its login may be under way
			default:
				dead = append(dead, began[i].ID)
			}
		}
		at, began = next, from
	}
	slices.SortStableFunc(found, func(a, b living) int { return cmp.Compare(a.login, b.login) })
	return found, dead, nil
}

func (k *core) young(score int64) bool {
	return k.cfg.Now().Sub(time.UnixMicro(score)).Abs() < entryGrace
}

// idsAlone returns the entries that may be sessions, and what else lies in an index: keys
// made of that could be anybody's.
func idsAlone(entries []store.Indexed) (sessions []store.Indexed, garbage []string) {
	for _, e := range entries {
		if keyspace.IsID(e.ID) {
			sessions = append(sessions, e)
		} else {
			garbage = append(garbage, e.ID)
		}
	}
	return sessions, garbage
}

func idsOf(entries []store.Indexed) []string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	return ids
}

func (k *core) leaveIndex(ctx context.Context, in store.Index, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return k.store.Each(ctx, []store.Step{&store.Leave{Index: in, IDs: ids}})
}

// longIndex is how many entries an index may have before a login looks whether some are
// dead, and at how many: an account that logs in by the minute and never out must not fill
// Redis.
const longIndex = 50

// trim ends the logins of a user beyond Config.MaxPerUser, as entered found them, and
// takes dead entries out of a long index. What cannot be done now is found again at the
// next login. What earlier tries of the same login left, orphaned, counts for nothing.
func (k *core) trim(ctx context.Context, entered *store.Enter, orphaned []string) {
	in, user := entered.Index, entered.User
	if entered.Aside {
		k.emit(ctx, Event{Kind: EventRefused, UserID: user, Reason: "something else lay where the index of " + whose(in) + " belongs"})
	}
	switch {
	case entered.Over > 0:
		if err := k.evict(ctx, entered, orphaned); err != nil {
			k.emit(ctx, Event{Kind: EventFailed, UserID: user, Err: fmt.Errorf("redsession: ending logins beyond MaxPerUser: %w", err)})
		}
	case entered.Length > longIndex:
		k.store.Background(ctx, func(ctx context.Context) {
			// Anywhere: living ones at the beginning would shield the dead behind them.
			entries, err := k.store.Index(ctx, in, rand.IntN(int(entered.Length)-longIndex+1), longIndex)
			if err != nil {
				return
			}
			if _, dead, err := k.current(ctx, in, entries); err == nil {
				_ = k.leaveIndex(ctx, in, dead)
			}
		})
	}
}

// maxEvictPages bounds what one login looks at in its user's index.
const maxEvictPages = 8

// evict takes dead entries out of the index, page by page, and ends the oldest logins of
// which it has seen that they are beyond the limit: what it has not seen may be dead. A
// longer index is healed by the next logins.
func (k *core) evict(ctx context.Context, entered *store.Enter, orphaned []string) error {
	over, entries := entered.Over, entered.Oldest
	counted := map[string]bool{entered.ID: true, entered.Old: true}
	for _, id := range orphaned { // they end in the background
		counted[id] = true
	}
	var alive []store.Indexed
	for page, skip := 1, 0; ; page++ {
		found, dead, err := k.current(ctx, entered.Index, entries)
		if err != nil {
			return err
		}
		if err := k.leaveIndex(ctx, entered.Index, dead); err != nil {
			return err
		}
		for _, e := range found {
			if e.acted { // counts for nothing
				over--
			} else if !counted[e.ID] { // a session that is just rotating may have two entries
				counted[e.ID] = true
				alive = append(alive, store.Indexed{ID: e.ID})
			}
		}
		over -= int64(len(dead))
		skip += len(entries) - len(dead)
		if over <= 0 || len(entries) < store.Page || page == maxEvictPages {
			break
		}
		if entries, err = k.store.Index(ctx, entered.Index, skip, store.Page); err != nil {
			return err
		}
	}
	beyond := min(max(len(alive)+1-entered.Limit, 0), len(alive))
	all := func(string, *record.Record) bool { return true }
	for end := range slices.Chunk(alive[:beyond], store.Page) {
		if _, err := k.revokePage(ctx, entered.Index, end, "more logins than MaxPerUser", all, map[string]bool{}, map[string]bool{}); err != nil {
			return err
		}
	}
	return nil
}

// passes tells whether what failed may be tried again.
func passes(err error) bool { return store.MeaningOf(err).Recovery != rediserr.Stays }

// asStoreError returns what went wrong at the door to Redis, nil for any other error.
func asStoreError(err error) *store.Error {
	if e := (*store.Error)(nil); errors.As(err, &e) {
		return e
	}
	return nil
}
