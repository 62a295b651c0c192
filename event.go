package redsession

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/redsession/redsession/internal/clientinfo"
)

// EventKind names what happened.
type EventKind string

// The life of a session, and of the connection to Redis.
const (
	EventCreated     EventKind = "created"      // an anonymous session was stored
	EventLogin       EventKind = "login"        // a user logged in, or passed the second factor
	EventPending     EventKind = "pending"      // a user's password was accepted, the second factor is missing
	EventLogout      EventKind = "logout"       // a session ended at its user's wish
	EventRotated     EventKind = "rotated"      // a session got a new id
	EventBound       EventKind = "bound"        // a session belongs to a device from now on
	EventRevoked     EventKind = "revoked"      // a session was ended by somebody else
	EventExpired     EventKind = "expired"      // a cookie came whose session had ended by time
	EventRefused     EventKind = "refused"      // a cookie, a record, or by CSRF a request, was not accepted; see Reason
	EventReplayed    EventKind = "replayed"     // a rotated id came after its grace: it may be stolen
	EventOutageBegan EventKind = "outage began" // a primary cannot be read, or not be written: Reason tells
	EventOutageEnded EventKind = "outage ended" // it can again, with the same Reason
	EventImported    EventKind = "imported"     // a session of another package was imported, or, with a Reason, taken over by its old cookie
	EventFailed      EventKind = "failed"       // a load or a commit was answered with an error, or Redis refuses what no request waits for
)

// Event tells of one thing that happened. It holds no SID, no cookie and no
// value of a session.
type Event struct {
	Kind       EventKind
	ID         string // public id of the session, if there is one
	UserID     string // of the session, if somebody had logged in
	ActorID    string // who acts as that user, if somebody does: see By
	Reason     string // why a cookie or record was refused, or a session revoked; of which package one was taken over
	RemoteAddr string // of the request, if there is one
	Method     string // of a request that failed, or that CSRF refused
	Path       string // of that, without the query
	Err        error  // what failed
}

// ofRequest adds what is to be told of the request: of one that failed, which it was.
func (e *Event) ofRequest(r *http.Request, hops int) {
	e.RemoteAddr = clientinfo.RemoteAddr(r, hops)
	if e.Kind == EventFailed && r.URL != nil {
		e.Method, e.Path = r.Method, r.URL.Path
	}
}

// level is what a line of e deserves in a log.
func (e Event) level() slog.Level {
	switch e.Kind {
	case EventFailed:
		if refusal(e.Err) != "" && !passes(e.Err) { // nothing but the operator helps
			return slog.LevelError
		}
		return slog.LevelWarn
	case EventRefused, EventReplayed, EventOutageBegan:
		return slog.LevelWarn
	case EventImported:
		if e.Reason != "" { // one that was taken over, and not one of millions
			return slog.LevelInfo
		}
		return slog.LevelDebug
	case EventCreated, EventExpired, EventRotated, EventBound:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

// Stats counts since the Manager was made. All counters only grow.
type Stats struct {
	Hits         uint64 // loads that found a session
	Misses       uint64 // loads that found none
	Refused      uint64 // cookies, records and, by CSRF, requests that were not accepted
	Created      uint64 // anonymous sessions stored
	Logins       uint64
	Logouts      uint64
	Rotated      uint64 // timed rotations
	Bound        uint64 // sessions that were bound to a device
	Locked       uint64 // loads of a bound session without its device's cookie
	Proofs       uint64 // proofs of a device that were accepted
	Revoked      uint64
	Expired      uint64
	Replayed     uint64 // rotated ids used after their grace
	Commits      uint64 // write-backs that Redis acknowledged
	Conflicts    uint64 // write-backs that had to merge and try again
	Gone         uint64 // changes refused because their session had ended
	Failed       uint64 // loads and commits answered with an error
	ExpireFailed uint64 // hits whose EXPIRE Redis refused
	Degraded     uint64 // loads served from memory
	Outages      uint64
}

type counters struct {
	hits, misses, refused, created, logins, logouts, rotated, revoked, expired atomic.Uint64
	replayed, commits, conflicts, gone, failed, expireFailed                   atomic.Uint64
	degraded, outages, bound, locked, proofs                                   atomic.Uint64
}

// Stats returns the counters. It is safe for concurrent use.
func (m *Manager) Stats() Stats {
	c := &m.count
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Refused: c.refused.Load(), Created: c.created.Load(),
		Logins: c.logins.Load(), Logouts: c.logouts.Load(), Rotated: c.rotated.Load(), Bound: c.bound.Load(), Locked: c.locked.Load(), Proofs: c.proofs.Load(), Revoked: c.revoked.Load(),
		Expired: c.expired.Load(), Replayed: c.replayed.Load(), Commits: c.commits.Load(), Conflicts: c.conflicts.Load(),
		Gone: c.gone.Load(), Failed: c.failed.Load(), ExpireFailed: c.expireFailed.Load(),
		Degraded: c.degraded.Load(), Outages: c.outages.Load(),
	}
}

// collector keeps events until what is under way is settled.
type collector struct {
	mu   sync.Mutex // guards list
	list []Event
}

// collectorKey finds the collector of one Manager: what another emits meanwhile is its own.
type collectorKey struct{ of *core }

// collecting returns a context under which k's emit leaves events with c.
func (k *core) collecting(ctx context.Context, c *collector) context.Context {
	return context.WithValue(ctx, collectorKey{k}, c)
}

func (c *collector) add(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, e)
}

// take returns what was collected.
func (c *collector) take() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// emit counts e, logs it and hands it to Config.OnEvent; under a context made by
// collecting it leaves that for later.
func (a *core) emit(ctx context.Context, e Event) {
	if c, ok := ctx.Value(collectorKey{a}).(*collector); ok {
		c.add(e)
		return
	}
	if n := a.counter(e.Kind); n != nil {
		n.Add(1)
	}
	if level := e.level(); a.cfg.Logger.Enabled(ctx, level) {
		attrs := make([]slog.Attr, 0, 8)
		for _, a := range [...]struct{ key, value string }{
			{"id", e.ID}, {"user", e.UserID}, {"actor", e.ActorID}, {"reason", e.Reason}, {"remote", e.RemoteAddr}, {"method", e.Method}, {"path", e.Path},
		} {
			if a.value != "" {
				attrs = append(attrs, slog.String(a.key, a.value))
			}
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		a.cfg.Logger.LogAttrs(ctx, level, "session "+string(e.Kind), attrs...)
	}
	if a.cfg.OnEvent != nil {
		a.cfg.OnEvent(ctx, e)
	}
}

func (a *core) counter(k EventKind) *atomic.Uint64 {
	c := &a.count
	switch k {
	case EventCreated:
		return &c.created
	case EventLogin:
		return &c.logins
	case EventLogout:
		return &c.logouts
	case EventRotated:
		return &c.rotated
	case EventBound:
		return &c.bound
	case EventRevoked:
		return &c.revoked
	case EventExpired:
		return &c.expired
	case EventRefused:
		return &c.refused
	case EventReplayed:
		return &c.replayed
	case EventFailed:
		return &c.failed
	case EventOutageBegan:
		return &c.outages
	}
	return nil
}

// note keeps e to be told by tell.
func (s *Session) note(e Event) { s.events.add(e) }

// tell tells of what was noted, and of what was collected for the request elsewhere, with
// the request that it belongs to. Nothing is under way then, and no lock is held: what
// listens may use the session.
func (s *Session) tell() {
	for _, e := range s.events.take() {
		e.ofRequest(s.r, s.m.cfg.TrustedHops)
		s.m.emit(s.r.Context(), e)
	}
}
