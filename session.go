package redsession

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/dbsc"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/sessioncookie"
)

// Session is the session of one request, or of one Manager.Change. Changes are recorded and reach Redis
// together, before the first byte of the response leaves. All methods are safe
// for concurrent use by the goroutines of that request.
type Session struct {
	m         *Manager
	r         *http.Request
	came      sessioncookie.Request
	confirmed time.Time // when Redis confirmed the session last
	loadedAt  int64     // when the request was loaded, Unix microseconds

	events  collector       // to be told once what is under way is settled
	budget  breaker.Budget  // for waiting for Redis, of the load and of all commits together
	shared  *breaker.Budget // in place of budget: that of the request within which this is used
	outside *outside        // nil in a request

	named stored // the session that the first token names

	mu       sync.Mutex       // guards what follows; never held over a Redis call
	saving   *saving          // the commit under way, if there is one
	base     *stored          // what Redis is known to hold; nil if that is nothing
	others   []*stored        // further live sessions whose cookies came
	inner    []*Session       // of Managers within this one's Handler: the same response carries their cookies
	toEnd    []string         // sessions that an ending cookie asks to end, and that have not been
	dead     bool             // the client's id was ended, and no other took its place
	ended    ending           // of the client's id, if it was ended lately
	isLocked bool             // a session came that belongs to a device, without that device's cookie
	unproven bool             // a rotated id came after its grace, with the second cookie of its session's device
	locked   []*stored        // those that are
	proof    dbsc.BoundCookie // the device's cookie that came, if base belongs to the device
	proving  bool             // the request is a device's proof
	offered  bool             // this request logged in, and the browser may bind the session to its device
	marks    ownMarks         // of indexes in which this request has revoked all
	users    []knownUser      // as the program said in this request; of each user the last counts
	broken   error            // why the session could not be loaded; every commit returns it
	head     record.Record    // all but the values, as the handler sees it
	fields   []record.Field
	parsed   bool // fields holds what the handler sees
	stale    bool // which is not base with the pending changes
	pending  changes
	next     keyspace.SID // of the record that the next commit creates; zero until drawn
	keepID   bool
	looked   bool      // the handler looked at the session
	sent     bool      // the headers have left
	degraded bool      // base comes from this process's memory
	passive  bool      // Config.Passive names the request: it prolongs nothing
	expires  time.Time // when what a passive request has found ends if no other comes; zero if it has found none
	told     string    // leases as the request found them, and failures that it was told of since
	cookie   cookieAction
	vary     [1]string       // the field of the response, allocated with the session
	cache    [1]string       // likewise
	cookies  []string        // ours, as they stand in the response's headers
	guarded  bool            // a guard asked for a login
	checked  bool            // CSRF looks after the request
	over     phase           // whether changes still get anywhere by themselves
	owed     bool            // cookie is due even if the handler's response is dropped
	quits    bool            // it logged out, which takes the cookie of requests that are not secure as well
	stream   context.Context // of Context, once it was asked for
	retired  []*Legacy       // whose cookies the client is to forget
}

// stored is a record and where it lies.
type stored struct {
	sid    keyspace.SID
	id     string
	rec    *record.Record
	legacy string        // the old id, in place of a SID, of an imported session
	inside bool          // whose values were in the old cookie itself
	left   time.Duration // how long Redis keeps it, as a passive request has found it
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
	cookieEnding // asks whoever gets it to end the session, as Redis was away at logout
)

// changes is what the handler asked for since the last commit.
type changes struct {
	ops     []record.Op
	fresh   bool                // go on under a new id and end the old one: login, logout
	carry   bool                // with fresh: on top of the values of the old one
	login   bool                // a user logged in or passed the second factor
	promote bool                // that was the second factor
	logout  bool                // the client's cookie goes, unless there is something to store
	user    string              // who was logged in before the logout
	checked int64               // when the password was checked, Unix microseconds
	rotate  bool                // Rotate was called
	store   bool                // keep the session even if it has no values
	seen    int64               // the successor's own cookie came for the first time
	stamp   string              // the user's stamp, for a record that has none
	bind    string              // thumbprint of the device that the session belongs to from now on
	turn    bool                // the id is to turn when the device proves itself
	extend  bool                // the id is to turn with this commit if it may, as Extend was called
	edits   []edit              // of what is beside the values
	guard   func(*stored) error // says, of what lies there, why the changes must not be made
	said    *facts              // by the login of itself
	err     error               // the first change that could not be recorded
}

// any tells whether the handler asked for something, as opposed to
// bookkeeping that can wait.
func (c *changes) any() bool {
	return len(c.ops) > 0 || c.fresh || c.rotate || c.turn || c.store || c.err != nil || len(c.edits) > 0
}

// edit changes what a record says beside its values, and leaves its id and login alone. It
// is applied at once, and again for each conflict: twice must do what once does.
type edit func(*record.Record)

// editLocked applies e to what the handler sees and keeps it for the commit.
func (s *Session) editLocked(e edit) {
	e(&s.head)
	s.pending.edits = append(s.pending.edits, e)
}

func (s *Session) lock() {
	s.mu.Lock()
	s.looked = true
}

// use makes st what the session goes on from.
func (s *Session) use(st *stored) {
	if s.base == nil {
		s.told = st.rec.Leases
	}
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
	switch {
	case s.base != nil && !s.pending.fresh:
		return s.base.id
	case s.unstoredLocked():
		return ""
	}
	return s.nextSID().ID()
}

// unstoredLocked tells whether the session is neither stored nor going to be.
func (s *Session) unstoredLocked() bool {
	return (s.base == nil || s.pending.fresh) && s.head.User == "" && !s.pending.store && len(s.view()) == 0
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
// Redis cannot be reached. Changes then wait for it, and fail if it does not come back
// in time.
func (s *Session) Degraded() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.degraded
}

// DeviceBound tells whether the session belongs to a device: see Config.DeviceBinding.
func (s *Session) DeviceBound() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.head.Bound()
}

// Locked tells whether a session came that belongs to a device, and that device's cookie
// did not. It looks empty then, and changes fail with ErrLocked, but for a Login and a Logout.
func (s *Session) Locked() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.isLocked
}

// Clear removes every value. The login, and flashes not yet shown, stay.
func (s *Session) Clear() { s.record(record.Op{Kind: record.Clear, Keep: flashKey}) }

// Save commits the pending changes now, within Config.RedisTimeout, and while an outage
// is young within Config.OutageWait and two of those. An exchange with Redis goes on if
// ctx is cancelled, as one that is cut off has an unknown outcome; waiting for Redis ends
// then. After an error the pending changes are gone and the session is as it was stored
// last; the handler decides what the client is told. Errors are ErrGone, ErrTooLarge,
// ErrUnavailable, ErrHeadersSent, or that a value did not encode.
func (s *Session) Save(ctx context.Context) error {
	if s.outside != nil {
		return errOutside("Save")
	}
	s.mu.Lock()
	s.looked = true
	s.mu.Unlock()
	return s.commit(ctx, ctx, nil)
}

// fail makes the next commit return err.
func (s *Session) fail(err error) {
	s.lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *Session) failLocked(err error) {
	if s.pending.err == nil {
		s.pending.err = err
	}
}

// Context returns a context for a response that outlives the request's own
// work, such as server-sent events or a websocket: it is done when the request
// is, at the session's absolute deadline, when the device of a bound session has to prove itself anew, at once when the session ends in this process,
// and within about 3 seconds after it has ended by another server. Looking after it is no
// activity: a session that nothing else hits ends after its idle timeout. While Redis is
// away it goes on for Config.OutageMaxStale. The streams of a process share one round trip
// to Redis every 2 seconds, for each 128 sessions. Without a stored session it is the
// request's context. After a Login or a Rotate in the same request, call it once that is
// committed, by Save or by the first byte.
func (s *Session) Context() context.Context {
	s.lock()
	defer s.mu.Unlock()
	if s.base == nil {
		return s.r.Context()
	}
	if s.stream == nil {
		deadline := s.base.rec.Deadline
		if s.base.rec.Bound() && s.outside == nil {
			deadline = min(deadline, s.proof.Issued+seconds(s.m.cfg.DeviceBinding.Lifetime))
		}
		s.stream = s.m.streams.Watch(s.r.Context(), s.base.id, time.Unix(deadline, 0), s.confirmed)
	}
	return s.stream
}
