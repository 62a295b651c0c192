package redsession

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/redsession/redsession/internal/record"
)

// Session is the session of one request. Changes are recorded and reach Redis
// together, before the first byte of the response leaves. All methods are safe
// for concurrent use by the goroutines of that request.
type Session struct {
	m    *Manager
	r    *http.Request
	came arrival

	mu      sync.Mutex    // guards what follows; never held over a Redis call
	saving  *saving       // the commit under way, if there is one
	base    *stored       // what Redis is known to hold; nil if that is nothing
	dead    bool          // the client's id was ended, and no other took its place
	head    record.Record // all but the values, as the handler sees it
	fields  []record.Field
	parsed  bool // fields holds what the handler sees
	stale   bool // which is not base with the pending changes
	pending changes
	next    sid // of the record that the next commit creates; zero until drawn
	keepID  bool
	read    bool   // the handler looked at the session
	sent    bool   // the headers have left
	memory  bool   // base comes from this process's memory
	replay  *tries // of what was postponed; nil for a request's session
	cookie  cookieAction
	owed    bool            // cookie is due even if the handler's response is dropped
	stream  context.Context // of Context, once it was asked for
	retired []*Legacy       // whose cookies the client is to forget
}

// stored is a record and where it lies.
type stored struct {
	sid    sid
	id     string
	rec    *record.Record
	legacy string // the old id, in place of a SID, of an imported session
}

// bearer is the secret that leads from the tombstone at st to its successor.
func (st *stored) bearer() []byte {
	if st.legacy != "" {
		return []byte(st.legacy)
	}
	return st.sid[:]
}

// saving is a commit under way. err may be read once done is closed.
type saving struct {
	done chan struct{}
	err  error
}

// cookieAction is what the response does to the client's cookie.
type cookieAction int

const (
	cookieKeep cookieAction = iota
	cookieSet
	cookieExpire
)

// changes is what the handler asked for since the last commit.
type changes struct {
	ops    []record.Op
	fresh  bool   // go on under a new id and end the old one: login, logout
	carry  bool   // with fresh: on top of the values of the old one
	login  bool   // a user logged in or passed the second factor
	logout bool   // the client's cookie goes, unless there is something to store
	user   string // who was logged in before the logout
	rotate bool   // Rotate was called
	store  bool   // keep the session even if it has no values
	once   bool   // not to be postponed: another server would do the same
	seen   int64  // the successor's own cookie came for the first time
	stamp  string // the user's stamp, for a record that has none
	err    error  // the first change that could not be recorded
}

// any tells whether the handler asked for something, as opposed to
// bookkeeping that can wait.
func (c *changes) any() bool {
	return len(c.ops) > 0 || c.fresh || c.rotate || c.store || c.err != nil
}

func (s *Session) lock() {
	s.mu.Lock()
	s.read = true
}

// use makes st what the session goes on from.
func (s *Session) use(st *stored) {
	s.base, s.head = st, *st.rec
	s.head.SetFields(nil)
	s.fields, s.parsed = nil, false
}

// view returns the values as the handler sees them.
func (s *Session) view() []record.Field {
	if !s.parsed {
		s.parsed = true
		if s.base != nil {
			s.fields = s.base.rec.Fields()
		}
	}
	return s.fields
}

// ID returns the public id, or "" for a session that is not stored and is not
// going to be. It is not the cookie's value and cannot be turned into it, so it
// may be logged and shown. Login and rotation change it.
func (s *Session) ID() string {
	s.lock()
	defer s.mu.Unlock()
	if s.base != nil && !s.pending.fresh {
		return s.base.id
	}
	if s.head.User == "" && !s.pending.store && len(s.view()) == 0 {
		return ""
	}
	return publicID(s.nextSID())
}

// UserID returns the user who has logged in, all factors included, or "".
func (s *Session) UserID() string {
	s.lock()
	defer s.mu.Unlock()
	if s.head.Pending {
		return ""
	}
	return s.head.User
}

// PendingUserID returns the user who still owes the second factor, or "".
func (s *Session) PendingUserID() string {
	s.lock()
	defer s.mu.Unlock()
	if !s.head.Pending {
		return ""
	}
	return s.head.User
}

// LoggedIn tells whether a user has logged in, all factors included.
func (s *Session) LoggedIn() bool { return s.UserID() != "" }

// CreatedAt returns when the session began, to the second.
func (s *Session) CreatedAt() time.Time {
	s.lock()
	defer s.mu.Unlock()
	return time.Unix(s.head.Created, 0)
}

// AuthTime returns when the user last proved who they are, and the zero time
// if nobody has.
func (s *Session) AuthTime() time.Time {
	s.lock()
	defer s.mu.Unlock()
	return unixMicro(s.head.Auth)
}

func unixMicro(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// ExpiresAt returns when the session ends if no further request comes.
func (s *Session) ExpiresAt() time.Time {
	s.lock()
	defer s.mu.Unlock()
	now := s.m.cfg.Now()
	return now.Add(s.head.TTL(now)).Truncate(time.Second)
}

// Token returns the seal of the stored record, "" if nothing is stored. Every
// write changes it, and login, logout and rotation always do.
func (s *Session) Token() string {
	s.lock()
	defer s.mu.Unlock()
	if s.base == nil {
		return ""
	}
	return s.base.rec.Token
}

// Keys returns the keys that have a value, sorted.
func (s *Session) Keys() []string {
	s.lock()
	defer s.mu.Unlock()
	fields := s.view()
	keys := make([]string, 0, len(fields))
	for _, f := range fields {
		if f.Name != flashKey {
			keys = append(keys, f.Name)
		}
	}
	slices.Sort(keys)
	return keys
}

// Degraded tells whether the session comes from this process's memory because
// Redis cannot be reached. Changes are then kept in memory until it can be.
func (s *Session) Degraded() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.memory
}

// Clear removes every value. The login, and flashes not yet shown, stay.
func (s *Session) Clear() { s.record(record.Op{Kind: record.Clear, Keep: flashKey}) }

// Save commits the pending changes now, within Config.RedisTimeout. It goes on
// if ctx is cancelled: a commit cut off has an unknown outcome. After an error
// the pending changes are gone and the session is as it was stored last; the
// handler decides what the client is told. Errors are ErrGone, ErrTooLarge,
// ErrUnavailable, ErrHeadersSent, or that a value did not encode.
func (s *Session) Save(ctx context.Context) error {
	s.mu.Lock()
	s.read = true
	s.mu.Unlock()
	return s.commit(ctx)
}

// fail makes the next commit return err.
func (s *Session) fail(err error) {
	s.lock()
	defer s.mu.Unlock()
	if s.pending.err == nil {
		s.pending.err = err
	}
}

// record applies op to what the handler sees and keeps it for the commit.
func (s *Session) record(op record.Op) {
	s.lock()
	defer s.mu.Unlock()
	s.recordLocked(op, op)
}

// recordLocked keeps op for the commit and shows the handler its effect.
func (s *Session) recordLocked(op, effect record.Op) {
	fields, err := record.Apply(s.view(), []record.Op{effect})
	if err == nil && !utf8.ValidString(op.Name) {
		err = errKeyNotUTF8
	}
	if err != nil {
		if s.pending.err == nil {
			s.pending.err = err
		}
		return
	}
	s.fields = fields
	switch op.Kind { // what op makes void need not be applied again
	case record.Clear:
		s.pending.ops = slices.DeleteFunc(s.pending.ops, func(o record.Op) bool { return o.Name != flashKey })
	case record.Set, record.Delete:
		s.pending.ops = slices.DeleteFunc(s.pending.ops, func(o record.Op) bool { return o.Kind != record.Clear && o.Name == op.Name })
	}
	s.pending.ops = append(s.pending.ops, op)
}

// update replaces the value called name by what fn makes of it, now and once
// more for each conflict. fn runs without the lock, so that it cannot
// deadlock; if the value changed meanwhile it runs again.
func (s *Session) update(name string, fn func(old string) (string, error)) {
	for {
		old, _ := s.value(name)
		raw, err := fn(old)
		if err != nil {
			s.fail(err)
			return
		}
		if s.updateFrom(name, old, raw, fn) {
			return
		}
	}
}

// updateFrom records that fn made raw of old, unless the value is another now.
func (s *Session) updateFrom(name, old, raw string, fn func(old string) (string, error)) bool {
	s.lock()
	defer s.mu.Unlock()
	if now, _ := record.Find(s.view(), name); now != old {
		return false
	}
	effect := setOp(name, raw)
	if raw == "" {
		effect = deleteOp(name)
	}
	s.recordLocked(record.Op{Kind: record.Update, Name: name, Func: fn}, effect)
	return true
}

// take removes the value called name by a commit of its own, and returns it as the
// application that Redis accepted found it, "" for none.
func (s *Session) take(ctx context.Context, name string) (taken string, err error) {
	if _, there := s.value(name); !there {
		return "", nil
	}
	remove := func(old string) (string, error) {
		taken = old
		return "", nil
	}
	err = s.commitWith(ctx, func() {
		if taken, _ = record.Find(s.view(), name); taken != "" {
			s.recordLocked(record.Op{Kind: record.Update, Name: name, Func: remove}, deleteOp(name))
			s.pending.once = true
		}
	})
	return taken, err
}

// value returns the JSON of the value called name.
func (s *Session) value(name string) (string, bool) {
	s.lock()
	defer s.mu.Unlock()
	return record.Find(s.view(), name)
}

func (s *Session) nextSID() sid {
	if s.next == (sid{}) {
		s.next = newSID()
	}
	return s.next
}
