package redsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// RequireLogin passes on requests of a user who has logged in, all factors
// included. Config.Unauthorized answers the others. It belongs inside Handler. No cache
// stores the response, unless the handler sets Cache-Control.
func (m *Manager) RequireLogin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := m.guarded(r)
		if !s.LoggedIn() {
			m.cfg.Unauthorized.ServeHTTP(w, r)
			return
		}
		if m.refusesUnbound(w, r, s) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireRecentLogin passes on requests of a user who has logged in within the
// last max: ask for the password again before what matters (OWASP ASVS 7.5.3).
// Config.Unauthorized answers the others. It belongs inside Handler, and panics
// if max is not positive. No cache stores the response, unless the handler sets
// Cache-Control.
func (m *Manager) RequireRecentLogin(max time.Duration) func(http.Handler) http.Handler {
	if max <= 0 {
		panic(fmt.Sprintf("redsession: RequireRecentLogin(%s): want a positive duration", max))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.guarded(r)
			if !s.LoggedIn() || m.cfg.Now().Sub(s.AuthTime()) > max {
				m.cfg.Unauthorized.ServeHTTP(w, r)
				return
			}
			if m.refusesUnbound(w, r, s) {
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// guarded returns the session of a page that only some may see.
func (m *Manager) guarded(r *http.Request) *Session {
	s := m.FromContext(r.Context())
	s.lock()
	defer s.mu.Unlock()
	s.guarded = true
	return s
}

func answerForbidden(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "This request is not allowed from here. Please load the page again.", http.StatusForbidden)
}

func answerUnauthorized(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Please log in.", http.StatusUnauthorized)
}

// RevokeOthers ends all sessions of the user of s but s itself, and returns how
// many. It commits the pending changes of s first, so that after a change of
// the password Login can seal s anew. As with RevokeUser, a login or a promotion whose
// password was checked before is ErrGone from then on, but for those of this request.
// It returns 0 if nobody has logged in, all factors included, and an error for a session of
// another Manager.
func (m *Manager) RevokeOthers(ctx context.Context, s *Session) (int, error) {
	if s.m != m {
		return 0, errForeign
	}
	if s.Locked() {
		return 0, errLocked
	}
	if err := s.Save(ctx); err != nil {
		return 0, err
	}
	s.lock()
	base := s.base
	s.mu.Unlock()
	if base == nil || !base.rec.LoggedIn() {
		return 0, nil
	}
	own := origin(base.id, base.rec)
	return m.revokeListed(m.patient(ctx), base.rec.User, s, "others of the user's", func(id string, rec *record.Record) bool {
		return origin(id, rec) != own // another request may be rotating s
	})
}

// errForeign is a session of another Manager.
var errForeign = errors.New("redsession: the session belongs to another Manager: take it by this Manager's FromContext")
