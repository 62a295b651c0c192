package redsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/sessioncookie"
)

// oldSession is a session of another package that a cookie of the request stands for.
type oldSession struct {
	of *Legacy
	at *stored
	// lr is what the old package knows: at once for a session inside its cookie, from Load
	// when that was asked, and nil for what was imported.
	lr     *LegacyRecord
	user   string
	gone   bool           // nothing is there to go on with
	fields []record.Field // that can come along: those of a session not taken over yet
}

// oldSessions returns the sessions that the request's old cookies for l stand for.
func (s *Session) oldSessions(l *Legacy) (list []*oldSession) {
	if s.came.Insecure && sessioncookie.BareName(l.Cookie) != l.Cookie {
		return nil // it is Secure: no browser sent it
	}
	for i, c := range s.r.CookiesNamed(l.Cookie) {
		if i == sessioncookie.MaxCookies {
			break
		}
		if s.m.cookies.Has(l.Cookie) {
			if _, ours := s.m.cookies.Decode(c.Value); ours {
				continue
			}
		}
		o, err := l.read(c.Value, s.m.cfg.Now())
		if err != nil && l.Decode != nil { // it may be ours to mend, such as a type that is not registered
			s.note(Event{Kind: EventRefused, Reason: "old cookie not accepted", Err: &oldStoreError{"decoding the old cookie", c.Value, err}})
		}
		if o != nil {
			list = append(list, o)
		}
	}
	return list
}

// read returns the session that a value of the old cookie stands for, nil if the old
// package would not have accepted it.
func (l *Legacy) read(value string, now time.Time) (o *oldSession, err error) {
	o = &oldSession{of: l}
	id := value
	switch {
	case l.Decode != nil:
		if o.lr, err = l.Decode(value); err != nil || o.lr == nil || !o.within(l.MaxAge, now) {
			return nil, err
		}
		if o.user, id = o.lr.UserID, o.lr.ID; id == "" {
			id = keyspace.HashID([]byte(value))
		}
	case l.Verify != nil:
		id, err = l.Verify(value)
	}
	if err != nil || id == "" || len(id) > maxLegacyID {
		return nil, err
	}
	o.at = &stored{legacy: id, id: legacyID(id), inside: l.Decode != nil}
	return o, nil
}

// within has what a cookie holds end age after it was written, at the latest, as the marks of
// logouts do. It tells whether that is still to come.
func (o *oldSession) within(age time.Duration, now time.Time) bool {
	if o.lr.CreatedAt.IsZero() {
		return true
	}
	ends := o.lr.CreatedAt.Add(age)
	if o.lr.ExpiresAt.IsZero() || ends.Before(o.lr.ExpiresAt) {
		one := *o.lr // which may be shared
		one.ExpiresAt = ends
		o.lr = &one
	}
	return ends.After(now)
}

// link is the Source of a session that was made from the old one with this public id. It
// tells what was inside a cookie, for tools that do not know of Config.Adopt.
func (l *Legacy) link(id string) string {
	if l.Decode != nil {
		return l.Source + insideMark + id
	}
	return l.Source + ":" + id
}

// mayFollow tells whether old cookies of one kind may lead away from the session of ours
// that came with them: if that was made from another one of the kind, or is nobody's.
func (s *Session) mayFollow(l *Legacy, list []*oldSession) bool {
	if s.head.Source == "" && s.head.User != "" {
		return false
	}
	if s.head.Source != "" && !strings.HasPrefix(s.head.Source, l.Source+":") {
		return false
	}
	return !slices.ContainsFunc(list, func(o *oldSession) bool { return s.head.Source == l.link(o.at.id) })
}

// mayLead tells whether an old server has logged somebody else in, inside the cookie,
// since the session of ours. A value with the same user is the same session, written anew.
func (o *oldSession) mayLead(own *record.Record) bool {
	if o.of.Decode == nil || o.user == own.User {
		return o.of.Decode == nil
	}
	return o.user != "" && (own.User == "" || o.lr.CreatedAt.UnixMicro() > own.Auth)
}

// candidates returns the old sessions that the request could go on with, those that
// somebody has logged in to first, and all that its cookies stand for. A single one is not
// looked at yet: taking it over does that.
func (s *Session) candidates(ctx context.Context, live bool, now time.Time) (list, all []*oldSession, err error) {
	for i := range s.m.cfg.Adopt {
		l := &s.m.cfg.Adopt[i]
		if live && !l.SideBySide {
			continue
		}
		olds := s.oldSessions(l)
		follow := !live || s.mayFollow(l, olds)
		for _, o := range olds {
			if all = append(all, o); follow && (!live || o.mayLead(&s.head)) {
				list = append(list, o)
			}
		}
	}
	if len(list) == 0 || len(all) == 1 {
		return list, all, nil
	}
	if err := s.survey(ctx, all, now); err != nil {
		return nil, nil, err
	}
	var users, guests []*oldSession
	for _, o := range list {
		switch {
		case o.gone:
		case o.user != "":
			users = append(users, o)
		default:
			guests = append(guests, o)
		}
	}
	return append(users, guests...), all, nil
}

// survey finds out, in one round trip and from the old stores, whose sessions these are
// and what is in them. What is in neither place may have been taken over in between: for
// that it looks again.
func (s *Session) survey(ctx context.Context, list []*oldSession, now time.Time) error {
	absent, err := s.identify(ctx, list, now)
	if err != nil {
		return err
	}
	var again []*oldSession
	for _, o := range absent {
		if err := o.ask(ctx, s.m); err != nil {
			return err
		}
		if o.gone && o.of.Load != nil {
			again = append(again, o)
		}
	}
	_, err = s.identify(ctx, again, now)
	return err
}

// identify finds out what lies here under the old ids, and returns those where nothing does.
func (s *Session) identify(ctx context.Context, list []*oldSession, now time.Time) (absent []*oldSession, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	ids := make([]string, len(list))
	for i, o := range list {
		ids[i] = o.at.id
	}
	found, err := s.m.store.Entries(ctx, ids)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	bounded := lazyContext{parent: ctx, deadline: deadline}
	defer bounded.cancel()
	for i, o := range list {
		if found[i].Absent() {
			absent = append(absent, o)
			continue
		}
		c, err := s.resolve(&bounded, &stored{legacy: o.at.legacy, id: o.at.id}, claim{}, found[i].Value, now)
		if err != nil {
			return nil, err
		}
		if o.user, o.gone = "", c.verdict != live; o.gone {
			continue
		}
		if o.user = c.at.rec.User; c.at.id == o.at.id {
			o.fields = c.at.rec.Fields()
		}
	}
	return absent, nil
}

// ask reads the session from where the old package keeps it.
func (o *oldSession) ask(ctx context.Context, m *Manager) (err error) {
	if o.lr == nil && o.of.Load != nil {
		if o.lr, err = o.of.Load(ctx, o.at.legacy); err != nil {
			return &oldStoreError{"loading the old session", o.at.legacy, err}
		}
	}
	if o.gone = o.lr == nil || !o.lr.ExpiresAt.IsZero() && !o.lr.ExpiresAt.After(m.cfg.Now()); o.gone {
		return nil
	}
	o.user = o.lr.UserID
	o.fields, err = legacyFields(o.lr.Values)
	if err != nil { // taking it over tells of it
		o.fields = nil
	}
	return nil
}

// along returns those of all whose values come along to a session of user's: nobody's
// and the user's own, in the order of Config.Adopt. Another user's stays where it is.
func (s *Session) along(all []*oldSession, winner *oldSession, user string) (list []*oldSession) {
	for _, o := range all {
		switch {
		case o.gone, o.at.id == winner.at.id:
		case o.user != "" && o.user != user:
			s.note(Event{Kind: EventRefused, ID: o.at.id, Reason: "old cookies of two users: the first of Config.Adopt counts"})
		case len(o.fields) > 0:
			list = append(list, o)
		}
	}
	return list
}

// bring adds the values of others under the names that the session does not have, as far
// as there is room.
func (s *Session) bring(others []*oldSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.m.cfg.MaxBytes - s.base.rec.DataLen()
	for _, o := range others {
		for _, f := range o.fields {
			if _, taken := record.Find(s.view(), f.Name); taken {
				continue
			}
			if room -= 6*len(f.Name) + len(f.Raw) + len(`"":,`); room < 0 {
				s.note(Event{Kind: EventRefused, ID: o.at.id, Reason: "no room for the values of another old session: Config.MaxBytes"})
				return
			}
			unlessThere := func(old string) (string, error) {
				if old != "" {
					return old, nil
				}
				return f.Raw, nil
			}
			s.recordLocked(record.Op{Kind: record.Update, Name: f.Name, Func: unlessThere}, setOp(f.Name, f.Raw))
		}
	}
}

// leaveOthers ends the old sessions whose values came along: nobody is to find them again.
func (s *Session) leaveOthers(ctx context.Context, others []*oldSession) error {
	for _, o := range others {
		if o.of.SideBySide {
			continue
		}
		if err := s.m.endOld(ctx, o.at.id); err != nil {
			return err
		}
		s.leaveStore(ctx, o)
	}
	return nil
}

// leaveStore has the client forget the old cookie and the old store the session.
func (s *Session) leaveStore(ctx context.Context, o *oldSession) {
	s.retire(o.of)
	if o.of.Delete == nil {
		return
	}
	if err := o.of.Delete(ctx, o.at.legacy); err != nil { // it stays there, and leads nowhere
		s.m.emit(ctx, Event{Kind: EventFailed, ID: o.at.id, Err: fmt.Errorf("redsession: %w", &oldStoreError{"deleting the old session", o.at.legacy, err})})
	}
}

// noteOfInvalid tells of cookies of our name that are not ours. What an old package has
// written under the same name is told apart: its session has ended, or is somebody's that
// must not be taken over.
func (s *Session) noteOfInvalid() {
	old := 0
	for i := range s.m.cfg.Adopt {
		if l := &s.m.cfg.Adopt[i]; l.Cookie == s.cookieName() {
			if n := len(s.oldSessions(l)); n > 0 {
				s.retire(l)
				old = max(old, n)
			}
		}
	}
	switch {
	case s.came.Invalid > old:
		s.note(Event{Kind: EventRefused, Reason: "cookie not signed by us"})
	case old > 0:
		s.note(Event{Kind: EventExpired, Reason: "an old cookie, whose session has ended"})
	}
}

// checkDecode tells of mistakes in what takes sessions from inside the cookie.
func (l *Legacy) checkDecode() (err error) {
	if l.Decode == nil {
		if l.MaxAge != 0 {
			err = errors.New(".MaxAge is for sessions inside the cookie: set Decode too")
		}
		return err
	}
	if l.Verify != nil || l.Load != nil || l.Delete != nil {
		err = errors.New(".Decode finds all in the cookie: leave out Verify, Load and Delete")
	}
	if l.MaxAge < time.Second {
		err = errors.Join(err, fmt.Errorf(".MaxAge is %s: say for how long the old package accepts a value of the cookie", l.MaxAge))
	}
	return err
}
