package redsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// An imported session lies under the hash of its old id, and its record names the
// source. The first request with the old cookie rotates it to an id of ours: the
// tombstone that a rotation leaves keeps the old id from leading anywhere else for
// as long as the old session could have lived. From then on the record also says
// which old session it was made from.

// adopt goes on with the session of an old cookie, if there is one. live tells
// whether the request has a session of ours already.
func (s *Session) adopt(ctx context.Context, live bool, now time.Time) (bool, error) {
	for i := range s.m.cfg.Adopt {
		l := &s.m.cfg.Adopt[i]
		if live && (!l.SideBySide || !strings.HasPrefix(s.head.Source, l.Source+":")) {
			continue
		}
		for _, old := range l.ids(s.r) {
			at := &stored{legacy: old, id: legacyID(old)}
			if live && s.head.Source == l.link(at.id) {
				break // it is what ours was made from
			}
			taken, err := s.takeOver(ctx, l, at, now)
			if taken || err != nil {
				return taken, err
			}
		}
	}
	return false, nil
}

// ids returns the ids that the old cookies of r stand for.
func (l *Legacy) ids(r *http.Request) (ids []string) {
	for i, c := range r.CookiesNamed(l.Cookie) {
		if i == maxCookies {
			break
		}
		id, err := c.Value, error(nil)
		if l.Verify != nil {
			id, err = l.Verify(c.Value)
		}
		if err == nil && id != "" && len(id) <= maxLegacyID {
			ids = append(ids, id)
		}
	}
	return ids
}

// link is the Source of a session that was made from the old one with this id.
func (l *Legacy) link(id string) string { return l.Source + ":" + id }

// takeOver goes on with the old session at, which may have to be read from where
// the old package keeps it first.
func (s *Session) takeOver(ctx context.Context, l *Legacy, at *stored, now time.Time) (bool, error) {
	m := s.m
	bounded := m.bounded(ctx)
	defer bounded.end(false)
	ctx = bounded
	own, pending, cookie := s.base, s.pending, s.cookie
	found, err := m.store.get(ctx, at.id)
	if err != nil {
		return false, err
	}
	if found == "" && l.Load != nil {
		if err := m.importOne(ctx, l, at.legacy); err != nil {
			return false, err
		}
	}
	s.pending = changes{}
	f, err := s.lookUp(ctx, at, ticket{}, now)
	if f == foundLive && s.base.legacy != "" && s.head.Source != l.Source {
		f = s.refuse(EventRefused, at.id, "the old cookie is of another kind than the imported session")
	}
	if f != foundLive || err != nil {
		s.pending, s.cookie = pending, cookie
		if s.base = own; own != nil {
			s.use(own)
		} else {
			s.head = m.anonymous()
		}
		return false, err
	}
	if s.base.legacy != "" {
		s.pending.rotate = true
		if err := s.commit(ctx); err != nil {
			return false, err
		}
	}
	if own != nil && own.id != s.base.id {
		// The user has gone on at a server of the old kind, logged in for example.
		if _, err := m.endSession(ctx, own.id, false); err != nil {
			return true, err
		}
	}
	if !l.SideBySide {
		s.retired = append(s.retired, l)
		if l.Delete != nil {
			if err := l.Delete(ctx, at.legacy); err != nil { // it stays there, and leads nowhere
				m.emit(ctx, Event{Kind: EventFailed, ID: s.base.id, Err: fmt.Errorf("redsession: deleting the old session: %w", err)})
			}
		}
	}
	return true, nil
}

// importOne imports one session from where the old package keeps it. Parallel
// requests all find what the first of them stored.
func (m *Manager) importOne(ctx context.Context, l *Legacy, id string) error {
	lr, err := l.Load(ctx, id)
	if err != nil {
		return fmt.Errorf("loading the old session: %w", err)
	}
	if lr == nil {
		return nil
	}
	one := *lr
	one.ID, one.Source = id, l.Source
	outcomes, err := m.Import(ctx, []LegacyRecord{one}, false)
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
		for _, old := range l.ids(s.r) {
			id := legacyID(old)
			if _, err := m.endSession(ctx, id, false); err != nil {
				return err
			}
			if err := m.store.create(ctx, id, m.grave(id).tombstone, m.cfg.AbsoluteTimeout); err != nil {
				return err
			}
			if l.Delete != nil {
				if err := l.Delete(ctx, old); err != nil {
					return fmt.Errorf("deleting the old session: %w", err)
				}
			}
			s.retire(l)
		}
	}
	return nil
}

func (s *Session) retire(l *Legacy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = append(s.retired, l)
}

// grave is the tombstone of an old session that must not be taken over or
// imported again for as long as it might still be found where it was kept.
func (a *Admin) grave(id string) burial { return a.bury(id, a.cfg.AbsoluteTimeout) }

func (a *Admin) bury(id string, life time.Duration) burial {
	return burial{record.NewTombstone(a.cfg.Now(), life).Encode(a.ring, a.store.key(id)), life}
}

// expire is the cookie that makes a browser forget the old one.
func (l *Legacy) expire() *http.Cookie {
	path := l.Path
	if path == "" {
		path = "/"
	}
	return &http.Cookie{Name: l.Cookie, Domain: l.Domain, Path: path, MaxAge: -1, Expires: time.Unix(1, 0), HttpOnly: true}
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
		refuse(l.SideBySide && l.Cookie == c.Cookie.Name, "[%d].SideBySide needs another cookie than %q, which is ours: set Config.Cookie.Name", i, l.Cookie)
		for j, other := range c.Adopt[:i] {
			refuse(l.Source == other.Source && l.Cookie == other.Cookie, "[%d] is the same as [%d]", i, j)
		}
	}
	return errors.Join(errs...)
}
