package redsession

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/redsession/redsession/internal/sessioncookie"
)

// complete puts what the session means for the response into its headers. From
// then on a change that needs a cookie is ErrHeadersSent.
func (s *Session) complete(h http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.waitLocked() // for a goroutine of the handler's, which gets the error; its cookie goes along
	s.sent = true
	if s.looked || s.cookie != cookieKeep || len(s.retired) > 0 {
		s.addVary(h, "Cookie")
		if s.m.cfg.Header != "" {
			s.addVary(h, s.m.cfg.Header)
		}
		s.restrictCaching(h)
	}
	if s.isLocked {
		neverStore(h)
	}
	if err := s.cookieLocked(h); err != nil {
		return err
	}
	s.offerBinding(h)
	return nil
}

// restrictCaching keeps a page of somebody who has logged in from caches that others
// use, and a guarded page from all, unless the handler has said what caches may do.
func (s *Session) restrictCaching(h http.Header) {
	if _, said := h["Cache-Control"]; said {
		return
	}
	switch {
	case s.guarded:
		s.cache[0] = "no-store"
	case s.head.User != "" || s.base != nil && s.base.rec.User != "":
		s.cache[0] = "private"
	default:
		return
	}
	h["Cache-Control"] = s.cache[:1:1]
}

// neverStore keeps every cache from storing a response. Fields for some caches alone
// (RFC 9213, and what came before it) would win over Cache-Control.
func neverStore(h http.Header) {
	for name := range h {
		switch lower := strings.ToLower(name); {
		case strings.HasSuffix(lower, "cache-control"), lower == "surrogate-control", lower == "edge-control", lower == "x-accel-expires", lower == "expires":
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
}

// sendCommittedCookie sends what an earlier commit of this request has already made true,
// though the handler's response is dropped: a login saved must not be lost.
func (s *Session) sendCommittedCookie(h http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.owed {
		return nil
	}
	return s.cookieLocked(h)
}

// cookieLocked puts what the response does to the client's cookies into h, in the place
// of what it put there before.
func (s *Session) cookieLocked(h http.Header) error {
	if len(s.cookies) > 0 {
		h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], func(c string) bool { return slices.Contains(s.cookies, c) })
	}
	others := len(h["Set-Cookie"])
	for _, l := range s.retired {
		if l.Cookie != s.cookieName() || s.cookie == cookieKeep {
			h.Add("Set-Cookie", l.expire(!s.m.cfg.Cookie.InsecurePlainHTTP && !s.came.Insecure).String())
		}
	}
	if s.quits {
		s.m.cookies.ExpireStray(h, s.r, &s.came)
	}
	switch {
	case s.cookie == cookieSet && s.base != nil:
		rec := s.base.rec
		tk := tokenOf(s.base)
		if err := s.m.cookies.Send(h, &s.came, tk, rec.Remember > 0, s.m.cfg.Now()); err != nil {
			return err
		}
		s.warnOfMode()
	case s.cookie == cookieEnding && s.base != nil:
		rec := s.base.rec
		tk := tokenOf(s.base)
		if _, err := s.m.cookies.SendEnding(h, &s.came, tk, rec.Remember > 0, s.m.cfg.Now()); err != nil {
			return err
		}
	case s.cookie == cookieExpire:
		s.m.cookies.Expire(h, &s.came)
	case len(h["Set-Cookie"]) == others:
		return nil
	}
	s.cookies = slices.Clone(h["Set-Cookie"][others:])
	neverStore(h)
	return nil
}

// tokenOf is what the cookie of a session says.
func tokenOf(at *stored) sessioncookie.Token {
	tk := sessioncookie.Token{SID: at.sid, Idle: at.rec.Idle, Deadline: at.rec.Deadline}
	if at.rec.Bound() {
		copy(tk.Binding[:], at.rec.Binding)
	}
	return tk
}

func (s *Session) addVary(h http.Header, name string) {
	if _, ok := h["Vary"]; !ok {
		s.vary[0] = name
		h["Vary"] = s.vary[:1:1]
		return
	}
	for _, v := range h.Values("Vary") {
		if slices.ContainsFunc(strings.Split(v, ","), func(f string) bool {
			f = strings.TrimSpace(f)
			return f == "*" || strings.EqualFold(f, name)
		}) {
			return
		}
	}
	h.Add("Vary", name)
}

// sendInnerCookies is sendCommittedCookie for the Managers within this one's Handler.
func (s *Session) sendInnerCookies(h http.Header) {
	s.mu.Lock()
	list := s.inner
	s.mu.Unlock()
	for _, inner := range list {
		_ = inner.sendCommittedCookie(h) // signed once already
		inner.sendInnerCookies(h)
	}
}

// nest is told of the session of a Manager whose Handler is within this one's.
func (s *Session) nest(inner *Session) {
	s.mu.Lock()
	s.inner = append(s.inner, inner)
	s.mu.Unlock()
	mine, its := &s.m.cfg, &inner.m.cfg
	if s.cookieName() == inner.cookieName() || mine.Header != "" && strings.EqualFold(mine.Header, its.Header) {
		inner.m.warnOfSameName(s.m)
	}
}

// warnOfSameName says once, in the log, that the sessions of m and of another Manager are in each
// other's way.
func (m *Manager) warnOfSameName(other *Manager) {
	if !m.sameName.CompareAndSwap(false, true) {
		return
	}
	m.cfg.Logger.Warn("two Managers handle requests of the same browsers and keep their sessions in a cookie, or header, of the same name: each makes browsers forget "+
		"the other's sessions. Give each a Cookie.Name and a Header of its own", "cookie", m.cfg.Cookie.Name, "prefix", m.cfg.Prefix, "other prefix", other.cfg.Prefix)
}

// managers are those of this program that are not closed, to tell one whose cookies another
// takes for its own. It keeps none of them alive.
var managers neighbours

type neighbours struct {
	mu   sync.Mutex // guards list
	list []weak.Pointer[Manager]
}

func (n *neighbours) add(m *Manager) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(slices.DeleteFunc(n.list, func(p weak.Pointer[Manager]) bool { return p.Value() == nil }), weak.Make(m))
}

func (n *neighbours) remove(m *Manager) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = slices.DeleteFunc(n.list, func(p weak.Pointer[Manager]) bool { return p.Value() == m })
}

// of returns the Managers whose cookies browsers cannot keep beside that of m with this name,
// and that keep other sessions.
func (n *neighbours) of(m *Manager, name string) (others []*Manager) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.list {
		o := p.Value()
		if o == nil || o == m {
			continue
		}
		a, b := m.cfg.Cookie, o.cfg.Cookie
		if o.cookies.Has(name) && a.Path == b.Path && a.Domain == b.Domain && (m.cfg.Prefix != o.cfg.Prefix || m.topology.String() != o.topology.String()) {
			others = append(others, o)
		}
	}
	return others
}

// lookForNeighbours finds out whether a cookie that led nowhere is another Manager's of this
// program: one that it alone has signed or, with the same secrets, whose session it knows.
func (s *Session) lookForNeighbours(now time.Time) {
	m := s.m
	if s.came.Header || m.sameName.Load() {
		return
	}
	for _, other := range managers.of(m, s.cookieName()) {
		_, theirs := other.cookies.Read(s.r, other.cookies.Name(true) == s.cookieName(), now) // whose function is not to be asked
		_, ours := m.cookies.Read(s.r, s.came.Insecure, now)
		for _, tk := range theirs.All() {
			if !slices.Contains(ours.All(), tk) {
				m.warnOfSameName(other)
			} else if _, _, _, known := other.cache.Recall(tk.SID.ID()); known && m.cfg.Prefix != other.cfg.Prefix {
				m.warnOfSameName(other)
			}
		}
	}
}
