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
//	cookie.go   the signed cookie
//	sliding.go  GET and EXPIRE, in a pipeline that concurrent loads share; deadlines
//	session.go  what the handler sees, and the changes that it makes
//	commit.go   the write-back; login.go and rotate.go give a new id
//	writer.go   when all that happens
//
// A change that cannot be kept is an error that the client sees: see [ErrGone],
// [ErrTooLarge], [ErrUnavailable] and [ErrHeadersSent].
package redsession

import (
	"context"
	"errors"
	"net/http"

	"github.com/redsession/redsession/internal/redisurl"
)

// Errors that Save returns and Config.ErrorHandler gets, wrapped; find them
// with errors.Is.
var (
	// ErrGone is a change to a session that has ended meanwhile: logged out,
	// revoked or expired. The client should load the page again. Status 409.
	ErrGone = errors.New("session has ended")
	// ErrTooLarge is a session beyond Config.MaxBytes. Nothing was stored.
	// Status 500.
	ErrTooLarge = errors.New("session too large")
	// ErrUnavailable is that Redis, or Config.UserStamp, did not answer in time,
	// or that nobody can tell whether a change was stored. Status 503.
	ErrUnavailable = errors.New("session store unavailable")
	// ErrHeadersSent is a change that needs a cookie, such as a login, after the
	// response has begun. It was not made, but for a logout, which ends the
	// session all the same.
	ErrHeadersSent = errors.New("response headers already sent")
)

// Manager keeps the sessions of one application. It is safe for concurrent
// use. Several servers share sessions if they share Redis, Prefix and Secrets.
type Manager struct {
	*Admin
	transport *transport
	streams   streams
	breakers  *breakers
	memory    *memory
}

// New returns a Manager. It reports every mistake in c at once. It asks Redis
// once, within RedisTimeout, and logs the outcome; that Redis is down now is no
// error. Call Close when the program ends.
func New(c Config) (*Manager, error) {
	c = c.withDefaults()
	a, err := newAdmin(c, c.check())
	if err != nil {
		return nil, err
	}
	m := &Manager{Admin: a, transport: newTransport(c, a.ring)}
	m.breakers = newBreakers(m.store.client, c.RedisTimeout, m.outageChanged)
	m.store.guard = m.breakers
	m.memory = newMemory(m)
	m.breakers.onBlink = m.memory.endAgain
	m.onEnd = m.memory.ended
	m.streams.admin, m.streams.poll = a, streamPoll
	ctx := m.bounded(context.Background())
	defer ctx.end(false)
	where := redisurl.Place(m.store.client)
	if err := m.store.ping(ctx); err != nil {
		c.Logger.Warn("session store cannot be reached", "redis", where, "error", err.Error())
	} else {
		c.Logger.Info("sessions are stored in Redis", "redis", where, "prefix", c.Prefix)
	}
	return m, nil
}

// Close stops background work, brings to Redis what an outage left pending, for
// at most 5 seconds, and closes the connections that New opened. It says what it
// could not keep. A client passed in Config.Client stays open.
func (m *Manager) Close() error {
	m.streams.close()
	err := m.memory.close()
	m.breakers.close()
	return errors.Join(err, m.Admin.Close())
}

// exchange is one request and its response: all that they need, allocated once.
type exchange struct {
	context.Context
	session Session
	writer  responseWriter
}

type contextKey struct{}

func (x *exchange) Value(key any) any {
	if key == (contextKey{}) {
		return &x.session
	}
	return x.Context.Value(key)
}

// Lookup returns the session of the request whose context this is, if Handler
// is in its chain and did not skip it.
func Lookup(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(contextKey{}).(*Session)
	return s, ok
}

// FromContext returns the session of the request whose context this is. It
// panics if there is none: no Handler is in the chain, or Config.Skip skipped
// the request. Lookup does not panic.
func FromContext(ctx context.Context) *Session {
	s, ok := Lookup(ctx)
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
// A middleware that recovers panics belongs outside: Handler commits nothing but
// a logout when a handler panics, and cuts the connection by http.ErrAbortHandler,
// which must be passed on, when a change fails after the response has begun.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.cfg.Skip != nil && m.cfg.Skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		if s, ok := Lookup(r.Context()); ok && s.m == m { // wrapped twice
			next.ServeHTTP(w, r)
			return
		}
		x := &exchange{Context: r.Context()}
		x.session.m, x.session.r = m, r
		if err := x.session.load(r.Context()); err != nil {
			m.answer(w, r, err)
			return
		}
		x.writer.ResponseWriter, x.writer.session = w, &x.session
		x.session.r = r.WithContext(x)
		x.writer.serve(next, x.session.r)
	})
}

// answer lets the ErrorHandler answer a request with err.
func (m *Manager) answer(w http.ResponseWriter, r *http.Request, err error) {
	e := Event{Kind: EventFailed, Err: err, RemoteAddr: remoteAddr(r, m.cfg.TrustedHops)}
	if s, ok := Lookup(r.Context()); ok {
		s.mu.Lock()
		if e.UserID = s.head.User; s.base != nil {
			e.ID = s.base.id
		}
		s.mu.Unlock()
	}
	m.emit(r.Context(), e)
	w.Header().Set("Cache-Control", "no-store") // whatever answers: it is of this moment alone
	m.cfg.ErrorHandler(w, r, err)
}

func answerError(w http.ResponseWriter, _ *http.Request, err error) {
	switch {
	case errors.Is(err, ErrGone):
		http.Error(w, "Your session has ended. Please load the page again.", http.StatusConflict)
	case errors.Is(err, ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		http.Error(w, "The service is unavailable for a moment. Please try again.", http.StatusServiceUnavailable)
	default:
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}
