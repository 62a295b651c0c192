package redsession

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
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
			if !s.LoggedIn() || s.ActorID() != "" || s.AuthTime().IsZero() || s.AuthAge() > max { // nobody knows when an imported login was
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

// ForwardAuth answers for a proxy in front of other programs whether a user has logged in:
// for nginx's auth_request, and for forward_auth of Traefik and Caddy. It answers 200, with
// the headers that set is to put there for the program behind the proxy, such as the user's id;
// 401 if nobody has logged in, half-way, or in a locked session; 403 if Config.DeviceBinding
// requires a bound one; 503 if Redis does not answer, which nginx makes a 500 of. No answer has a body.
//
// It prolongs the session as any hit does and costs the same one round trip, but it neither
// rotates it nor sends any cookie, since those proxies drop Set-Cookie: that is left to the
// requests that reach Handler. It needs no Handler around it, which would answer its errors by
// Config.ErrorHandler, and looks at neither Config.Skip nor CSRF: the program behind the proxy
// has to protect itself from requests of other sites.
//
// set is called for users alone, from several goroutines at once. It should set each of its
// headers every time, to "" if there is nothing to say: some proxies pass on what the client
// sent otherwise. A name that is no header's or is HTTP's own, such as Set-Cookie, and a value with a control
// character, or a space at its ends, which would be cut off, are 500 and an error in the log: what
// a user may choose must not become another user's name. What set changes in the session is
// kept, but for what needs a cookie, as Login and Rotate do.
//
// Nothing but the proxy must reach the handler and the program behind it. See
// docs/forward-auth.md for the proxies' configurations.
func (m *Manager) ForwardAuth(set func(*Session, http.Header)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := m.Lookup(r.Context())
		if !ok {
			x, _ := m.receive(r) // broken says what failed
			s = &x.session
		}
		fields := http.Header{}
		status, err := s.vouchFor(set, fields)
		if err != nil {
			m.tellOf(r, s, Event{Kind: EventFailed, Reason: refusal(err), Err: err})
		}
		h := w.Header()
		if status == http.StatusOK {
			maps.Copy(h, fields)
		}
		neverStore(h)
		if status == http.StatusServiceUnavailable {
			h.Set("Retry-After", "5")
		}
		w.WriteHeader(status)
	})
}

// vouchFor returns what ForwardAuth answers, and puts what set says into fields. From then on
// the response has no cookie of the session's.
func (s *Session) vouchFor(set func(*Session, http.Header), fields http.Header) (status int, err error) {
	defer s.withholdCookies() // what set changed in the session may want one
	s.withholdCookies()
	s.lock()
	broken, user := s.broken, s.head.User != "" && !s.head.Pending
	if !user {
		s.forget()
	}
	s.mu.Unlock()
	switch {
	case broken != nil:
		return http.StatusServiceUnavailable, broken
	case !user:
		return http.StatusUnauthorized, nil
	case s.lacksDevice(s.r):
		return http.StatusForbidden, nil
	}
	set(s, fields)
	if err := checkFields(fields); err != nil {
		return http.StatusInternalServerError, err
	}
	switch err := s.commit(s.r.Context(), nil, nil); {
	case err == nil && s.LoggedIn():
		return http.StatusOK, nil
	case errors.Is(err, ErrGone), !errors.Is(err, ErrUnavailable) && !s.LoggedIn(): // ended meanwhile, perhaps by set
		return http.StatusUnauthorized, nil
	case errors.Is(err, ErrUnavailable):
		return http.StatusServiceUnavailable, err
	default:
		return http.StatusInternalServerError, err
	}
}

// withholdCookies lets the response have no cookie of the session's, as after its headers: so
// nothing is rotated either.
func (s *Session) withholdCookies() {
	s.lock()
	defer s.mu.Unlock()
	s.sent, s.cookie, s.owed, s.retired, s.quits = true, cookieKeep, false, nil, false
}

// checkFields refuses what would not arrive as it is, and what is not the caller's to say.
func checkFields(fields http.Header) error {
	for name, values := range fields {
		switch canonical := http.CanonicalHeaderKey(name); {
		case canonical != name || !isToken(name):
			return fmt.Errorf("redsession: ForwardAuth: %q is no header name in canonical form: use Header.Set", name)
		case strings.HasPrefix(name, "Content-"), strings.HasPrefix(name, "Transfer-"), name == "Connection", name == "Trailer",
			name == "Upgrade", name == "Set-Cookie", name == "Cache-Control", name == "Location", name == "Date":
			return fmt.Errorf("redsession: ForwardAuth: the header %s is not to be set", name)
		}
		for _, v := range values {
			if v != strings.TrimSpace(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return fmt.Errorf("redsession: ForwardAuth: the value for the header %s has a control character, or a space at its ends", name)
			}
		}
	}
	return nil
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
