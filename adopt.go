package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/sessioncookie"
	"github.com/redsession/redsession/internal/store"
)

// An imported session lies under the hash of its old id, and its record names the
// source. The first request with the old cookie rotates it to an id of ours: the
// tombstone that a rotation leaves keeps the old id from leading anywhere else for
// as long as the old session could have lived. From then on the record also says
// which old session it was made from.

// adoptPatiently is adopt, again while an outage is young.
func (s *Session) adoptPatiently(ctx context.Context, live bool, now time.Time) (taken bool, err error) {
	for leave := func() {}; ; {
		taken, err = s.adopt(ctx, live, now)
		leave()
		if err == nil {
			return taken, nil
		}
		if leave, err = s.m.await(ctx, err, "", &s.budget); err != nil {
			return false, err
		}
	}
}

// adopt goes on with the session of an old cookie, if there is one. live tells
// whether the request has a session of ours already.
func (s *Session) adopt(ctx context.Context, live bool, now time.Time) (bool, error) {
	if s.came.Header {
		return false, nil // it wins over cookies, and a script must not turn one into the other
	}
	bounded, cancel := s.m.bounded(ctx) // all sources together
	defer cancel()
	list, all, err := s.candidates(bounded, live, now)
	if err != nil {
		return false, err
	}
	for _, o := range list {
		taken, err := s.takeOver(bounded, o, all, now)
		if taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// outranks tells whether own stays though the old session that was found is
// another: nobody's session displaces neither a login made here nor one of ours.
func (l *Legacy) outranks(own *stored, found *record.Record) bool {
	if own == nil || found.User != "" {
		return false
	}
	return own.rec.Source == "" || own.rec.User != "" && own.rec.Source != l.link(own.rec.Origin)
}

// takeOver goes on with the old session o, which may have to be read from where the old
// package keeps it first. Values of the others come along.
func (s *Session) takeOver(ctx context.Context, o *oldSession, all []*oldSession, now time.Time) (bool, error) {
	m := s.m
	own, pending, cookie, expires := s.base, s.pending, s.cookie, s.expires
	found, err := m.store.Get(ctx, o.at.id)
	if err != nil {
		return false, err
	}
	if found.Absent() {
		if err := m.importOne(ctx, o); err != nil {
			return false, err
		}
	}
	others, taken, err := s.rotateOld(ctx, o, own, all, now)
	if !taken || err != nil {
		s.pending, s.cookie, s.expires = pending, cookie, expires
		if s.base = own; own != nil {
			s.use(own)
		} else {
			s.head = m.anonymous()
		}
		return false, err
	}
	s.came.Cookie = true // its client has kept the session in one
	if err := s.leaveOthers(ctx, others); err != nil {
		return true, err
	}
	return true, s.leaveBehind(ctx, o, own)
}

// rotateOld goes on with the session of an old id under one of ours, and returns those
// whose values came along. If it ends, or is imported once more, at the same moment, it
// looks again.
func (s *Session) rotateOld(ctx context.Context, o *oldSession, own *stored, all []*oldSession, now time.Time) (others []*oldSession, taken bool, err error) {
	for try := 1; ; try++ {
		found, err := s.findOld(ctx, o, now)
		if !found || err != nil || o.of.outranks(own, s.base.rec) {
			return nil, false, err
		}
		user := s.base.rec.User
		others = s.along(all, o, user)
		s.bring(others)
		s.pending.rotate = s.base.legacy != "" // or else another request was first
		err = s.settle(ctx, ctx, nil)
		if errors.Is(err, errRevoked) { // it is older than a revocation of all that its user had
			s.dead = false
			s.note(Event{Kind: EventRefused, ID: o.at.id, UserID: user, Reason: "an old session from before the end of what its user had"})
			return nil, false, s.m.endOld(ctx, o.at.id)
		}
		if !errors.Is(err, ErrGone) || try == maxHops || ctx.Err() != nil {
			return others, err == nil, err
		}
		s.dead = false
	}
}

// leaveBehind ends what the request came with: a session of ours whose user has
// gone on at a server of the old kind, and the old session itself.
func (s *Session) leaveBehind(ctx context.Context, o *oldSession, own *stored) error {
	if own != nil && own.id != s.base.id {
		if _, err := s.m.end(ctx, own.id, true); err != nil {
			return err
		}
	}
	if !o.of.SideBySide {
		s.leaveStore(ctx, o)
	}
	return nil
}

// findOld looks for the session of an old id, and takes one of the same kind alone.
func (s *Session) findOld(ctx context.Context, o *oldSession, now time.Time) (bool, error) {
	l, at := o.of, o.at
	s.pending = changes{}
	v, left, err := s.look(ctx, at.id)
	if err != nil {
		return false, err
	}
	at.left = left
	deadline, _ := ctx.Deadline()
	bounded := lazyContext{parent: ctx, deadline: deadline}
	defer bounded.cancel()
	c, err := s.resolve(&bounded, at, claim{}, v, now)
	switch {
	case err == nil && c.verdict == live:
		err = s.vouch(&bounded, &c)
	case err == nil && c.verdict == replayed:
		if replays := s.noteReplays([]lateUse{c.late}, nil); !l.SideBySide {
			err = s.endReplayed(&bounded, replays, now)
		}
	}
	if err != nil || c.verdict != live {
		return false, err
	}
	s.admit(&bounded, &c, now, false)
	if s.head.Source != l.Source && s.head.Source != l.link(at.id) {
		s.note(Event{Kind: EventRefused, ID: at.id, Reason: "the old cookie is of another kind than the imported session"})
		return false, nil
	}
	return true, nil
}

// oldStoreError is what an old package's store says. It leaves out the old id,
// which may be as good as the cookie.
type oldStoreError struct {
	doing, id string
	cause     error
}

func (e *oldStoreError) Error() string {
	return e.doing + ": " + strings.ReplaceAll(e.cause.Error(), e.id, "(id)")
}
func (e *oldStoreError) Unwrap() error { return e.cause }

// importOne imports one session from where the old package keeps it. Parallel
// requests all find what the first of them stored.
func (m *Manager) importOne(ctx context.Context, o *oldSession) error {
	if o.lr == nil && o.of.Load != nil {
		var err error
		if o.lr, err = o.of.Load(ctx, o.at.legacy); err != nil {
			return &oldStoreError{"loading the old session", o.at.legacy, err}
		}
	}
	if o.lr == nil {
		return nil
	}
	one := *o.lr
	one.ID, one.Source = o.at.legacy, o.of.Source
	var quiet collector // taking it over is told
	outcomes, err := m.importAll(m.collecting(ctx, &quiet), []LegacyRecord{one}, false)
	if err == nil && outcomes[0].Status == ImportRefused {
		m.emit(ctx, Event{Kind: EventFailed, ID: outcomes[0].ID, Err: outcomes[0].Err})
	}
	return err
}

// endLegacy ends the old sessions whose cookies the request carries, wherever
// they are kept, so that a logged-out session is not taken over again.
func (s *Session) endLegacy(ctx context.Context) error {
	m := s.m
	for i := range m.cfg.Adopt {
		l := &m.cfg.Adopt[i]
		for _, o := range s.oldSessions(l) {
			if err := cmp.Or(m.markInside(ctx, o.user, m.insideAge()), m.endOld(ctx, o.at.id)); err != nil {
				return err
			}
			if l.Delete != nil {
				if err := l.Delete(ctx, o.at.legacy); err != nil {
					return &oldStoreError{"deleting the old session", o.at.legacy, err}
				}
			}
			s.retire(l)
		}
	}
	return nil
}

// endOld ends an old session. If another request takes it over meanwhile, it ends
// what that made of it.
func (m *Manager) endOld(ctx context.Context, id string) error {
	for range maxHops {
		if _, err := m.end(ctx, id, true); err != nil {
			return err
		}
		bury := &store.End{ID: id, With: m.grave(id), Grave: m.grave(id), Bury: true, HeadOnly: true}
		if _, err := m.runEnding(ctx, planEnding(bury, nil)); err != nil || bury.Found.Absent() || bury.Found.Head().Kind == record.Ended {
			return err
		}
	}
	return errUnsettled
}

func (s *Session) retire(l *Legacy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.retired, l) {
		s.retired = append(s.retired, l)
	}
}

// expire is the cookie that makes a browser forget the old one, which it does for
// a name with a prefix only if the cookie is Secure.
func (l *Legacy) expire(secure bool) *http.Cookie {
	path := l.Path
	if path == "" {
		path = "/"
	}
	return &http.Cookie{Name: l.Cookie, Domain: l.Domain, Path: path, MaxAge: -1, Expires: time.Unix(1, 0), HttpOnly: true, Secure: secure || strings.HasPrefix(l.Cookie, "__")}
}

func (c Config) checkAdopt() error {
	var errs []error
	refuse := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf("Config.Adopt"+format, args...))
		}
	}
	for i, l := range c.Adopt {
		refuse(!isToken(l.Source), "[%d].Source %q is no name: use letters, digits and -, as importer does", i, l.Source)
		refuse(!isToken(l.Cookie), "[%d].Cookie %q is no cookie name: say what the old package called it", i, l.Cookie)
		// Otherwise net/http would leave them out, and the browser keep the old cookie.
		refuse((&http.Cookie{Name: "x", Domain: l.Domain}).Valid() != nil, "[%d].Domain %q is no domain name", i, l.Domain)
		refuse((&http.Cookie{Name: "x", Path: l.Path}).Valid() != nil || l.Path != "" && l.Path[0] != '/', `[%d].Path %q must begin with "/" and have no semicolon`, i, l.Path)
		refuse(l.SideBySide && (l.Cookie == c.Cookie.Name || c.Cookie.InsecureWhen != nil && l.Cookie == sessioncookie.BareName(c.Cookie.Name)), "[%d].SideBySide needs another cookie than %q, which is ours: set Config.Cookie.Name", i, l.Cookie)
		if err := l.checkDecode(); err != nil {
			errs = append(errs, fmt.Errorf("Config.Adopt[%d]%w", i, err))
		}
		for j, other := range c.Adopt[:i] {
			refuse(l.Source == other.Source && l.Cookie == other.Cookie, "[%d] is the same as [%d]", i, j)
		}
	}
	return errors.Join(errs...)
}
