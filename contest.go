package redsession

import (
	"net/http"
	"time"

	"github.com/redsession/redsession/internal/dbsc"
	"github.com/redsession/redsession/internal/record"
)

// contest goes on from c, a rotated id that came after its grace, if the device that its
// session belongs to, or was offered to, has proved itself since somebody else showed what
// followed that id: then it is the owner who has the older id. A thief who copied both cookies
// during the login and was first to use them made the binding begin, and got the new id; so did
// one who used the old id before the owner got the answer to a proof that turned it.
//
// If the second cookie that came is older than that, nobody can tell the two apart, and the
// browser is to prove itself first: see hasToProve.
func (s *Session) contest(bounded *lazyContext, c candidate, tomb *record.Tombstone, now time.Time) (candidate, error) {
	b := s.m.binding
	if b == nil || !s.proving && !b.came(s.r) {
		return c, nil
	}
	late, at, seen := c, c.at, int64(0)
	for range maxEndHops {
		if at.rec != nil || tomb == nil || !tomb.Kind.Leads() {
			break
		}
		seen = tomb.Seen
		next, err := s.m.follow(at, tomb)
		if err != nil {
			return late, nil
		}
		v, left, err := s.look(bounded.get(), next.id)
		if err != nil {
			return late, err
		}
		next.left, at = left, next
		c, tomb = s.inspect(at, v, true, now)
	}
	if at.rec == nil || at.rec.TTL(now) <= 0 || s.m.cache.Blocked(at.id) {
		return late, nil
	}
	if at.rec.Seen != 0 {
		seen = at.rec.Seen
	}
	shown, ok := s.shows(at.rec, now)
	switch {
	case !ok:
	case s.proving, shown.Issued > seen:
		c.verdict = live
		return c, nil
	default:
		s.contested = &shown
	}
	return late, nil
}

// shows returns the second cookie that came, or the proof that is being made, if it is of the
// device that the session of rec belongs to, or was offered to.
func (s *Session) shows(rec *record.Record, now time.Time) (shown dbsc.BoundCookie, ok bool) {
	if shown, ok = s.proof, s.proving; !ok && rec.Binding != "" {
		shown, ok = s.m.binding.bound(s.r, rec.Binding, now)
	}
	bindingID, thumbprint, _ := dbsc.SplitIdentifier(shown.Identifier)
	return shown, ok && bindingID == rec.Binding && (!rec.Bound() || thumbprint == rec.Thumbprint)
}

// hasToProve answers a request with an old id of the session, of which only a proof can tell
// whether it is the owner's: it takes away the second cookie, so that the browser proves itself
// before it asks again. Where it has just done so there is no use in that.
func (m *Manager) hasToProve(w http.ResponseWriter, s *Session) bool {
	b, now := m.binding, m.cfg.Now()
	if s.contested == nil || s.base != nil {
		return false
	}
	bindingID, _, _ := dbsc.SplitIdentifier(s.contested.Identifier)
	cross := b.bounces(s.r)
	if !cross && now.Sub(time.Unix(s.contested.Issued, 0)) < bounceWithin {
		return false
	}
	b.expire(w.Header(), bindingID)
	neverStore(w.Header())
	switch {
	case cross: // whose proof would come without the session's cookie
		b.bounce(w, "")
	case s.r.Method == http.MethodGet || s.r.Method == http.MethodHead:
		http.Redirect(w, s.r, sameAddress(s.r), http.StatusTemporaryRedirect)
	default:
		m.cfg.Forbidden.ServeHTTP(w, s.r)
	}
	return true
}
