// Package redsession gives net/http programs server-side sessions kept in
// Redis.
//
// Make one [Manager] with [New], wrap the handler with [Manager.Handler], and
// take the [Session] of a request with [FromContext]. Values are read and
// changed through a typed [Key]. Changes are recorded and reach Redis together,
// before the first byte of the response leaves, on top of what other requests
// have changed meanwhile.
//
// The request's way through the package, file by file:
//
//	sliding.go  the load: cookie, GET and EXPIRE, deadlines
//	session.go  what the handler sees, and the changes that it makes
//	writer.go   when they are committed
//	commit.go   the write-back; login.go and rotate.go give a new id
//	plan.go     what each of them does to Redis
//
// A change that cannot be kept is an error that the client sees: see [ErrGone],
// [ErrTooLarge], [ErrUnavailable] and [ErrHeadersSent].
package redsession

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/outage"
	"github.com/redsession/redsession/internal/sessioncookie"
	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/tuning"
	"github.com/redsession/redsession/internal/watch"
)

// Errors that Save returns and Config.ErrorHandler gets, wrapped; find them
// with errors.Is.
var (
	// ErrGone is a change to a session that has ended meanwhile: logged out,
	// revoked or expired. The client should load the page again. Status 409.
	ErrGone = errors.New("session has ended")
	// ErrTooLarge is a session whose values are beyond Config.MaxBytes. Nothing was
	// stored. Status 500.
	ErrTooLarge = errors.New("session too large")
	// ErrUnavailable is that Redis, or Config.LoadUser or UserStamp, did not answer in time,
	// that Redis refused, that nobody can tell whether a change was stored, or that the
	// request's deadline was over before a change that needs a cookie. Status 503.
	ErrUnavailable = errors.New("session store unavailable")
	// ErrLocked is a change to a session that belongs to a device, by a request that did not
	// show that device's cookie: see Config.DeviceBinding. Status 403.
	ErrLocked = errors.New("session is bound to a device that has not proved itself")
	// ErrHeadersSent is a change that needs a cookie, such as a login, after the
	// response has begun. It was not made, but for a logout, which ends the
	// session all the same.
	ErrHeadersSent = errors.New("response headers already sent")
)

// Manager keeps the sessions of one application. It is safe for concurrent
// use. Several servers share sessions if they share Redis, Prefix and Secrets.
type Manager struct {
	*Admin
	cookies *sessioncookie.Codec
	binding *deviceBinding // nil unless sessions are bound to devices
	streams *watch.Watcher
	cache   *outage.Cache

	expireTold   sometimes   // of refusals to prolong
	readTold     sometimes   // of refusals to read
	flashTold    sometimes   // of flashes that do not decode
	plainHTTP    atomic.Bool // told that browsers drop the cookies
	insecureTold atomic.Bool // told that a request over HTTPS has a cookie that is not Secure
	sameName     atomic.Bool // told that another Manager's cookie has the same name
	notPassive   atomic.Bool // told that TimeLeft is asked by requests that prolong
	lateTold     atomic.Bool // told that a session was changed after its request
	away         atomic.Bool // down is not empty
	down         []string    // what Redis does not do at the moment; outageChanged alone uses it
}

// New returns a Manager. It reports every mistake in c at once. It asks Redis
// once, within two RedisTimeout, and logs the outcome, with the name of each command
// that Redis refuses; that Redis is down now is no error. Call Close when the program
// ends.
func New(c Config) (*Manager, error) {
	c = c.withDefaults()
	k, err := newCore(c, c.check())
	if err != nil {
		return nil, err
	}
	m := &Manager{Admin: &Admin{k}, cookies: newCodec(c, k), binding: newDeviceBinding(c, k)}
	m.breaker = breaker.New(breaker.Config{
		Topology: k.topology, Timeout: c.RedisTimeout, Wait: k.wait(), ProbeEvery: tuning.Current().Probe,
		Probe:    m.probe,
		OnChange: m.outageChanged,
		OnBlink:  m.reconnected,
		DropIdle: k.dropIdle,
	})
	m.openStore()
	m.cache = outage.New(outage.Config{
		MaxEntries: maxCached, MaxBytes: maxCachedBytes, MaxStale: c.OutageMaxStale, MaxEnded: maxEndedIDs,
		EndAgainFor: endAgainFor, Now: c.Now, End: m.endAgain, Again: tuning.Current().EndAgain,
	})
	m.streams = watch.New(watch.Config{
		Poll: tuning.Current().StreamPoll, Page: store.Page, MaxStale: c.OutageMaxStale, Now: c.Now,
		Look: m.lookAtStreams, Shard: m.shard, Ended: ErrGone,
	})
	m.onEnd = m.forgetEnded
	managers.add(m)
	m.greet()
	return m, nil
}

// greet asks Redis for a sign of life and logs what it finds.
func (m *Manager) greet() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*m.cfg.RedisTimeout)
	defer cancel()
	log, where := m.cfg.Logger, m.topology.String()
	refused, err := m.store.Check(ctx)
	if err != nil {
		log.Warn("session store cannot be reached", "redis", where, "error", err.Error())
		return
	}
	for _, r := range refused {
		log.Warn("session store refuses a command that sessions need", "redis", where, "error", r.Error())
	}
	log.Info("sessions are stored in Redis", "redis", where, "prefix", m.cfg.Prefix)
}

// Close stops background work, makes the endings that an outage left, for at most 5
// seconds, and closes the connections that New opened. It says what it could not end.
// Afterwards every load and commit is ErrUnavailable. A client passed in Config.Client
// stays open.
func (m *Manager) Close() error {
	managers.remove(m)
	m.streams.Close()
	err := m.closeOutage()
	m.store.Close() // first: what commits left to the background is still sent
	m.breaker.Close()
	return errors.Join(err, m.Admin.Close())
}

// exchange is one request and its response: all that they need, allocated once.
type exchange struct {
	context.Context
	session Session
	writer  responseWriter
}

// contextKey finds the session of the innermost Manager. That of a certain Manager is
// found by the Manager's core.
type contextKey struct{}

func (x *exchange) Value(key any) any {
	switch key := key.(type) {
	case contextKey:
		return &x.session
	case *core:
		if key == x.session.m.core {
			return &x.session
		}
	}
	return x.Context.Value(key)
}

// loading is the context of the load of a request. It has no session yet, and leaves the
// events to be told once the load is settled. Made of a pointer alone, it costs nothing.
type loading struct{ *exchange }

func (l loading) Value(key any) any {
	if key == (collectorKey{l.session.m.core}) {
		return &l.session.events
	}
	return l.Context.Value(key)
}

// Lookup returns the session of the request whose context this is, if a Handler is
// in its chain and did not skip it; of several Managers in the chain, that of the
// innermost.
func Lookup(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(contextKey{}).(*Session)
	return s, ok
}

// FromContext returns the session of the request whose context this is; of several
// Managers in the chain, that of the innermost. It panics if there is none: no Handler
// is in the chain, or Config.Skip skipped the request. Lookup does not panic.
func FromContext(ctx context.Context) *Session {
	s, ok := Lookup(ctx)
	return mustHave(s, ok)
}

// Lookup returns the session that m loaded for the request whose context this is,
// however many Managers are in the chain.
func (m *Manager) Lookup(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(m.core).(*Session)
	return s, ok
}

// FromContext returns the session that m loaded for the request whose context this is,
// however many Managers are in the chain. It panics if there is none: m's Handler is not
// in the chain, or Config.Skip skipped the request.
func (m *Manager) FromContext(ctx context.Context) *Session {
	s, ok := m.Lookup(ctx)
	return mustHave(s, ok)
}

func mustHave(s *Session, ok bool) *Session {
	if !ok {
		panic("redsession: no session in this context: wrap the handler with Manager.Handler; or Config.Skip skipped this request, then use Lookup")
	}
	return s
}

// Handler loads the session of each request, passes it on in the request's
// context, and commits its changes before the first byte of the response
// leaves. A request without a cookie of ours costs Redis nothing, a read-only
// one a GET and an EXPIRE in one round trip.
//
// While an outage of Redis is young, a request that cannot go on without Redis waits for
// it, for up to Config.OutageWait: that may be inside the handler's first Write. Hold no
// lock and no database transaction across it.
//
// A middleware that recovers panics belongs outside: Handler commits nothing but
// a logout when a handler panics. When a change fails after the response has begun, Handler
// cuts the connection: it lets further writes fail, and panics with http.ErrAbortHandler.
//
// After the deadline of the request's context, as http.TimeoutHandler sets it, a change
// that needs a cookie is ErrUnavailable, but for a logout.
//
// The handler's http.ResponseWriter is an http.Flusher, Hijacker or Pusher if what is
// below it is. A response with a cookie of ours has Cache-Control: no-store and no other
// field for caches; one that read the session of a user is private, one behind a guard
// no-store, unless the handler sets Cache-Control.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.binding != nil && m.serveBinding(w, r) {
			return
		}
		if m.cfg.Skip != nil && m.cfg.Skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		if _, ok := m.Lookup(r.Context()); ok { // wrapped twice
			next.ServeHTTP(w, r)
			return
		}
		x, err := m.receive(r)
		s := &x.session
		if err != nil {
			m.answer(w, s.r, err)
			return
		}
		if outer, ok := Lookup(r.Context()); ok {
			outer.nest(s)
		}
		if m.asksForProof(w, r, s) {
			return
		}
		defer settleCopy(r, s.r)
		x.writer.ResponseWriter, x.writer.session = w, s
		x.writer.serve(next, s.r)
	})
}

// errLoading is how a load ends in which a function of the caller's panics.
var errLoading = errors.New("redsession: loading session: a function of the caller's panicked")

// receive loads the session of r.
func (m *Manager) receive(r *http.Request) (*exchange, error) {
	x := &exchange{Context: r.Context()}
	s := &x.session
	s.m, s.r = m, r
	ctx, done := m.trace(loading{x}, OperationLoad)
	loaded := false
	defer func() {
		if !loaded { // a function of the caller's panicked
			done(errLoading)
		}
	}()
	s.broken = s.load(ctx)
	loaded = true
	done(s.broken)
	s.tell()
	s.r = r.WithContext(x)
	return x, s.broken
}

// settleCopy gives the request that the server knows what its copy with a context owes
// it: the route, for middlewares outside that name it in logs and metrics, and the removal
// of uploaded files. It does not show them the form, which may hold passwords.
func settleCopy(r, inner *http.Request) {
	r.Pattern = inner.Pattern
	if inner.MultipartForm != nil && r.MultipartForm == nil {
		_ = inner.MultipartForm.RemoveAll()
	}
}

// answer lets the ErrorHandler answer a request with err.
func (m *Manager) answer(w http.ResponseWriter, r *http.Request, err error) {
	s := m.FromContext(r.Context())
	m.tellOf(r, s, Event{Kind: EventFailed, Reason: refusal(err), Err: err})
	neverStore(w.Header()) // whatever answers: it is of this moment alone
	m.cfg.ErrorHandler(w, r, err)
	if s.changed() {
		m.cfg.Logger.Warn("what Config.ErrorHandler changes in a session is lost: it must call Save", "method", r.Method, "path", r.URL.Path)
	}
}

// tellOf emits e with what is to be told of r and its session, which may be nil.
func (m *Manager) tellOf(r *http.Request, s *Session, e Event) {
	e.ofRequest(r, m.cfg.TrustedHops)
	if s != nil {
		s.mu.Lock()
		if e.UserID = s.head.User; s.base != nil {
			e.ID = s.base.id
		}
		s.mu.Unlock()
	}
	m.emit(r.Context(), e)
}

func answerError(w http.ResponseWriter, _ *http.Request, err error) {
	switch {
	case errors.Is(err, ErrGone):
		http.Error(w, "Your session has ended. Please load the page again.", http.StatusConflict)
	case errors.Is(err, ErrTooManySessions):
		http.Error(w, "You are logged in at too many places. Please log out at one of them.", http.StatusConflict)
	case errors.Is(err, ErrLocked):
		http.Error(w, "Please load the page again, or log in.", http.StatusForbidden)
	case errors.Is(err, ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		http.Error(w, "The service is unavailable for a moment. Please try again.", http.StatusServiceUnavailable)
	default:
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}
