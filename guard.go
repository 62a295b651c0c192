package redsession

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
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
// if max is not positive. In a session that somebody else acts in (see By) nobody has: the
// user did not log in there. No cache stores the response, unless the handler sets
// Cache-Control.
func (m *Manager) RequireRecentLogin(max time.Duration) func(http.Handler) http.Handler {
	if max <= 0 {
		panic(fmt.Sprintf("redsession: RequireRecentLogin(%s): want a positive duration", max))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.guarded(r)
			if !s.LoggedIn() || s.ActorID() != "" || s.AuthAge() > max {
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
	http.Error(w, "Your browser could not prove that this is your device.", http.StatusForbidden)
}

func answerUnauthorized(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Please log in.", http.StatusUnauthorized)
}

// RevokeOthers ends all sessions of the user of s but s itself, and returns how
// many. It commits the pending changes of s first, so that after a change of
// the password Login can seal s anew. As with RevokeUser, a login or a promotion whose
// password was checked before is ErrGone from then on, but for those of this request.
// It returns 0 if nobody has logged in, all factors included, and an error for a session of
// another Manager, and for one in which somebody else acts as the user (see By).
func (m *Manager) RevokeOthers(ctx context.Context, s *Session) (int, error) {
	if s.m != m {
		return 0, errForeign
	}
	if s.Locked() {
		return 0, errLocked
	}
	if s.ActorID() != "" {
		return 0, errActing
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
	return m.revokeListed(m.patient(ctx), store.OfUser(base.rec.User), s, "others of the user's", func(id string, rec *record.Record) bool {
		return origin(id, rec) != own // another request may be rotating s
	})
}

// errForeign is a session of another Manager.
var errForeign = errors.New("redsession: the session belongs to another Manager: take it by this Manager's FromContext")

const csrfLen = 32

// CSRFToken returns a token to put into forms and headers of unsafe requests,
// and to check there with VerifyCSRF. It is masked anew at each call, so that
// compression does not leak it (BREACH). Timed rotation keeps it valid, login
// and logout do not. Reading it stores the session; one that was read in a locked session is
// valid for a Login as well. One that was read under an id that
// had ended a moment before, as the answer to a login was lost, is valid for a Login.
func (s *Session) CSRFToken() string {
	var b [2 * csrfLen]byte
	mask, masked := b[:csrfLen], b[csrfLen:]
	rand.Read(mask)
	s.lock()
	defer s.mu.Unlock()
	switch {
	case s.dead && !s.pending.login && s.ended.id == "":
		rand.Read(masked) // belongs to no session, and is refused
		return base64.RawURLEncoding.EncodeToString(b[:])
	case s.dead && !s.pending.login: // the form may be that of a login, which works
	case s.isLocked && !s.pending.fresh: // likewise
	case s.base == nil || s.pending.fresh:
		s.pending.store = true
	}
	subtle.XORBytes(masked, mask, s.csrfLocked(s.m.ring[0]))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// VerifyCSRF tells whether token came from CSRFToken of this session, in
// constant time.
func (s *Session) VerifyCSRF(token string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 2*csrfLen {
		return false
	}
	s.lock()
	defer s.mu.Unlock()
	if s.base == nil && s.ended.id == "" && !s.isLocked {
		return false
	}
	subtle.XORBytes(b[:csrfLen], b[:csrfLen], b[csrfLen:])
	valid := 0
	for _, k := range s.m.ring {
		valid |= subtle.ConstantTimeCompare(b[:csrfLen], s.csrfLocked(k))
	}
	return valid == 1
}

// csrfLocked derives the secret from what names this login and no other; an id that was
// ended lately has one of its own.
func (s *Session) csrfLocked(k *record.Keys) []byte {
	if s.isLocked && !s.pending.fresh {
		return k.CSRF(s.locked[0].id, "locked")
	}
	if s.base == nil && s.ended.id != "" && !s.pending.store && !s.pending.fresh {
		return k.CSRF(s.ended.id, "ended")
	}
	if s.base == nil || s.pending.fresh {
		return k.CSRF(s.nextSID().ID(), strconv.FormatInt(s.head.Auth, 10))
	}
	return k.CSRF(origin(s.base.id, s.base.rec), strconv.FormatInt(s.base.rec.Auth, 10))
}
