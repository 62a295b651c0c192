package redsession

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"

	"github.com/redsession/redsession/internal/csrf"
	"github.com/redsession/redsession/internal/record"
)

// Where CSRF looks for the token of a session.
const (
	// CSRFHeader is the request header.
	CSRFHeader = csrf.Header
	// CSRFField is the field of a form: <input type="hidden" name="csrf_token" value="…">.
	CSRFField = csrf.Field
)

// CSRF protects next from cross-site request forgery (OWASP ASVS 3.5.1; NIST SP 800-63B 5.1).
// It passes on:
//
//   - GET, HEAD and OPTIONS; handlers must not change anything by them.
//   - Other methods if http.CrossOriginProtection does, which refuses what pages of other
//     origins send, of other subdomains too; and for a user who has logged in, half of a login
//     included, if the request brings a CSRFToken of the session besides.
//   - Handshakes of websockets if http.CrossOriginProtection would pass on a POST.
//
// A request of a session that came by Config.Header needs no token, as no browser adds that
// header by itself. Anonymous sessions need none, nor do locked ones and ids that have ended,
// which are nobody's: there the check of the origin protects login forms, so that a login form
// stores nothing. For that CSRFToken is "" behind CSRF as long as the session is not stored.
//
// The token is read from CSRFHeader or, without that, from the field CSRFField of a urlencoded
// body of at most 1 MiB; never from the query, and never from a multipart body: a form with
// files has to send the header, as has JSON. The body is as it was afterwards. Of several
// tokens, up to four, one has to be right: a page may send those of two Managers.
//
// Config.Forbidden answers what is refused, and an event says why. It belongs inside Handler and
// outside of middleware that takes another method from a header or a form; a request with such a
// header is never taken for a GET. What Config.Skip skips has its origin checked alone.
// A proxy in front must pass on the Host that the browser sent. CSRF costs Redis nothing.
func (m *Manager) CSRF(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := csrf.KindOf(r)
		s, ok := m.Lookup(r.Context())
		if ok {
			s.mu.Lock()
			s.checked = true
			s.mu.Unlock()
		}
		if err := csrf.CrossOrigin(r, kind); err != nil {
			m.forbid(w, r, s, err.Error())
			return
		}
		if kind != csrf.Unsafe || !ok && m.cfg.Skip != nil && m.cfg.Skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		s = m.FromContext(r.Context()) // which says what is missing
		if s.owesToken() && !slices.ContainsFunc(csrf.Tokens(r), s.VerifyCSRF) {
			m.forbid(w, r, s, "no CSRF token of this session came")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// owesToken tells whether an unsafe request of the session has to bring a token.
func (s *Session) owesToken() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.head.User != "" && !s.came.Header
}

// forbid answers a request that CSRF refuses; s may be nil.
func (m *Manager) forbid(w http.ResponseWriter, r *http.Request, s *Session, reason string) {
	if s != nil {
		s.lock()
		s.guarded = true
		s.mu.Unlock()
	}
	m.tellOf(r, s, Event{Kind: EventRefused, Reason: reason, Method: r.Method, Path: r.URL.Path})
	m.cfg.Forbidden.ServeHTTP(w, r)
}

const csrfLen = 32

// CSRFToken returns a token to put into forms and headers of unsafe requests,
// and to check there with VerifyCSRF, or by CSRF for all handlers. It is masked anew at each
// call, so that compression does not leak it (BREACH). Timed rotation keeps it valid, login
// and logout do not. Reading it stores the session; one that was read in a locked session is
// valid for a Login as well. One that was read under an id that
// had ended a moment before, as the answer to a login was lost, is valid for a Login.
//
// Behind CSRF, that of a session which is neither stored nor going to be is "", and reading it
// stores nothing.
func (s *Session) CSRFToken() string {
	var b [2 * csrfLen]byte
	mask, masked := b[:csrfLen], b[csrfLen:]
	rand.Read(mask)
	s.lock()
	defer s.mu.Unlock()
	switch {
	case s.checked && s.unstoredLocked():
		return ""
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
