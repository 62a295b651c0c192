package redsession

import (
	"errors"
	"strings"

	"github.com/redsession/redsession/internal/record"
)

var (
	errActor  = errors.New("redsession: Login: By wants the session of the actor, who has logged in, in an earlier request, and acts as nobody yet, and another user")
	errActing = errors.New("redsession: RevokeOthers: somebody acts as the user in this session")
)

// By says that actor, whose session this is, acts as the user that Login names, as support
// staff do:
//
//	s.Login("customer", redsession.By(s.UserID()))
//
// It takes the place of the actor's own session, which ends: afterwards they log in again.
// It starts empty. It is the user's (UserID, lists, RevokeUser), and ActorID tells who acts.
// It ends when the actor's own would have ended at the latest, whatever RememberFor says, with
// the credentials of either (Config.UserStamp), and with RevokeUser of either. It
// neither counts nor ends others under MaxPerUser; RevokeOthers is refused, RequireRecentLogin fails,
// and so does RequireLevel unless the login says Proved of the actor.
//
// The commit fails, and the actor's session stays, unless actor has logged in to this very
// session, all factors included, in an earlier request or before a Save, acts as nobody in it yet, and is not user; it is
// ErrGone if the actor's session has ended meanwhile. By panics if actor is "", Login with By and
// Pending does.
func By(actor string) LoginOption {
	if actor == "" {
		panic(`redsession: By(""): want the id of who acts`)
	}
	return func(o *loginOptions) { o.actor = actor }
}

// ActorID returns who acts as the session's user, or "" if nobody does: see By.
func (s *Session) ActorID() string {
	s.lock()
	defer s.mu.Unlock()
	return strings.Clone(s.head.Actor)
}

// checkActor tells why f.actor must not act as user in this session, and takes over the stamp
// that the actor's session was found with. Nothing reads that anew: their password may have
// changed since.
func (s *Session) checkActor(user string, f *facts) error {
	switch {
	case f.actor == "":
		return nil
	case s.isLocked:
		return errLocked
	case s.base == nil || s.pending.fresh || !s.base.rec.LoggedIn() || s.base.rec.User != f.actor || s.base.rec.Actor != "" || user == f.actor:
		return errActor
	}
	if f.stamp = s.pending.stamp; f.stamp == "" {
		f.stamp = s.base.rec.Stamp
	}
	return nil
}

// limitActor has a session in which somebody acts end no later than own, theirs, would have, by
// its deadline or by LimitTo: otherwise nobody's would ever have to.
func limitActor(head, own *record.Record) {
	if head.Actor != "" {
		limit(head, own.Deadline)
	}
}
