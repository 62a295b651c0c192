package redsession

import (
	"context"
	"errors"
	"fmt"

	"github.com/redsession/redsession/internal/store"
)

// ErrTooManySessions is a Login or a Promote of a user who has Config.MaxPerUser sessions
// already, with Config.RefuseAtLimit. The session is half-open, and its cookie goes with the
// answer: see Session.AtLimit. Status 409.
var ErrTooManySessions = errors.New("too many sessions of the user")

var errAtLimit = fmt.Errorf("redsession: committing login: %w", ErrTooManySessions)

// AtLimit tells whether the session is a login that lacks nothing but a place among the
// user's sessions, as Config.RefuseAtLimit refused it one: every factor was right. Until
// there is a place it is half-open: LoggedIn is false, PendingUserID tells the user, and 10
// minutes are left. Show them Admin.Sessions of that user, end the one that they choose by
// RevokeOf, or all by RevokeUser, and Promote in the same request.
//
// A half-open login that is not AtLimit still lacks a factor: a page that makes room must not
// promote it. Sessions in which somebody acts as the user count for nothing, nor do those that
// have ended, those that this login takes the place of, and those of earlier tries of the same
// login whose outcome Redis did not tell. Sessions taken over from another package count, and
// are never refused. A login that finds no place costs one round trip for each 128 entries of
// the user's index, two more, and on a cluster any login one more.
func (s *Session) AtLimit() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.head.Pending && s.head.AtLimit
}

// maxPlaceTries bounds how often one login looks for a place: others may take the one that
// it has found.
const maxPlaceTries = 8

// findPlace looks which entries of the user's index count towards the limit, as entered
// found it reached, and takes out the dead ones. It returns nil if there may be a place: then
// Redis decides again, with those spared that do not count. Else it is ErrTooManySessions, and
// nothing of the login is left.
func (c *commit) findPlace(ctx context.Context, entered *store.Enter) error {
	if c.looked++; c.looked <= maxPlaceTries {
		places, spared, err := c.countPlaces(ctx, entered)
		switch {
		case err != nil:
			c.withdraw(ctx)
			return unavailable(err)
		case places < entered.Limit:
			c.spared = spared
			return nil
		}
	}
	c.withdraw(ctx)
	return errAtLimit
}

// countPlaces counts the sessions of an index that take a place, until there are as many as
// the limit, and tells which entries are none of these.
func (c *commit) countPlaces(ctx context.Context, entered *store.Enter) (places int, spared []string, err error) {
	counted := c.ownSessions(entered)
	for page, skip := 1, 0; page <= maxEvictPages; page++ {
		entries, err := c.m.store.Index(ctx, entered.Index, skip, store.Page)
		if err != nil {
			return 0, nil, err
		}
		found, dead, err := c.m.current(ctx, entered.Index, entries)
		if err == nil {
			err = c.m.leaveIndex(ctx, entered.Index, dead)
		}
		if err != nil {
			return 0, nil, err
		}
		takes := make(map[string]bool)
		for _, l := range found {
			if l.acted || counted[l.ID] || counted[l.origin] {
				continue
			}
			counted[l.origin], takes[l.entry] = true, true // one that is just rotating may have two entries
			if places++; places >= entered.Limit {
				return places, nil, nil
			}
		}
		for _, e := range entries {
			if !takes[e.ID] {
				spared = append(spared, e.ID)
			}
		}
		if skip += len(entries) - len(dead); len(entries) < store.Page {
			break
		}
	}
	return places, spared, nil
}

// ownSessions are those of the user that the login ends, by id and by origin, and what
// earlier tries of it may have left.
func (c *commit) ownSessions(entered *store.Enter) map[string]bool {
	own := map[string]bool{entered.ID: true}
	for _, id := range c.orphaned {
		own[id] = true
	}
	all := c.others
	if c.base != nil {
		all = append([]*stored{c.base}, all...)
	}
	for _, at := range all {
		if at.rec.User == entered.User {
			own[at.id], own[origin(at.id, at.rec)] = true, true
		}
	}
	return own
}

// waitForPlace makes the login half-open, and tells whether that is to be stored: a login
// that was so before stays as it is.
func (c *commit) waitForPlace() bool {
	if c.promote && c.base != nil && c.base.rec.AtLimit {
		return false
	}
	h := &c.head
	h.Pending, h.AtLimit, h.Auth = true, true, c.checked
	h.Idle, h.Deadline = seconds(pendingLife), min(h.Deadline, c.m.cfg.Now().Add(pendingLife).Unix())
	if !h.Bound() {
		h.Binding = ""
	}
	return true
}
