package redsession

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/redsession/redsession/internal/record"
)

// ErrNoUser is what Config.LoadUser returns for a user who does not exist any more: the
// session ends. A Login of such a user is both ErrNoUser and ErrGone. Status 409.
var ErrNoUser = errors.New("no such user")

var (
	// errStamp is that Config.LoadUser or UserStamp failed: no matter of Redis.
	errStamp  = errors.New("asking for the user")
	errNobody = errors.New("Config.LoadUser returned neither a user nor an error")
)

// knownUser is what the program said of a user in this request.
type knownUser struct {
	id    string
	value any
	stamp string
}

func (c Config) checkUsers() error {
	if c.UserStamp != nil && c.LoadUser != nil {
		return errors.New("Config.UserStamp and Config.LoadUser are both set: LoadUser returns the stamp as well")
	}
	return nil
}

// asksForUsers tells whether users have a stamp.
func (c *Config) asksForUsers() bool { return c.LoadUser != nil || c.UserStamp != nil }

// asksFor tells whether the session of rec depends on what the program says of its user.
func (c *Config) asksFor(rec *record.Record) bool { return rec.User != "" && c.asksForUsers() }

// askFor asks the program for the user with this id. The error is ErrNoUser, or errStamp if
// nobody can tell.
func (m *Manager) askFor(ctx context.Context, id string) (u knownUser, err error) {
	u.id = id
	if m.cfg.LoadUser == nil {
		u.stamp, err = m.cfg.UserStamp(ctx, id)
	} else if u.value, u.stamp, err = m.cfg.LoadUser(ctx, id); err == nil && isNil(u.value) {
		err = errNobody
	}
	switch {
	case errors.Is(err, ErrNoUser):
		return knownUser{}, ErrNoUser
	case err != nil:
		return knownUser{}, fmt.Errorf("%w: %w", errStamp, err)
	}
	return u, nil
}

// isNil tells whether v is nothing, or a pointer to nothing: handlers would fall over it.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}

// userNow is askFor, once a request. No lock is held over a call of the program's.
func (s *Session) userNow(id string) (knownUser, error) {
	s.mu.Lock()
	u, known := s.knownUser(id)
	s.mu.Unlock()
	if known {
		return u, nil
	}
	u, err := s.m.askFor(s.r.Context(), id)
	if err == nil {
		s.mu.Lock()
		s.users = append(s.users, u)
		s.mu.Unlock()
	}
	return u, err
}

// knownUser returns the user with this id as the program said last in this request. A login
// as another that fails leaves who was there before.
func (s *Session) knownUser(id string) (knownUser, bool) {
	for _, u := range slices.Backward(s.users) {
		if u.id == id {
			return u, true
		}
	}
	return knownUser{}, false
}

// UserAs returns the user who has logged in to s, as Config.LoadUser returned them in this
// request, and false if nobody has: like UserID, it knows no user before all factors are in.
// After a Login it returns the user as they were loaded anew by that, after a Logout nobody.
// It asks neither Redis nor the program. It panics if the user is no T, naming both types,
// and if Config.LoadUser is not set.
func UserAs[T any](s *Session) (T, bool) {
	v, ok := s.loadedUser()
	if !ok {
		var none T
		return none, false
	}
	user, fits := v.(T)
	if !fits {
		panic(fmt.Sprintf("redsession: UserAs[%s]: Config.LoadUser returns %T", reflect.TypeFor[T](), v))
	}
	return user, true
}

func (s *Session) loadedUser() (any, bool) {
	if s.m.cfg.LoadUser == nil {
		panic("redsession: UserAs without Config.LoadUser, which loads the user")
	}
	s.lock()
	defer s.mu.Unlock()
	if !s.head.LoggedIn() {
		return nil, false
	}
	u, known := s.knownUser(s.head.User)
	return u.value, known
}

// Why a session does not go on.
const (
	stampChanged = "the user's stamp changed"
	userGone     = "no such user"
)

// checkStamp tells whether the user's stamp is the one that rec was sealed with: why is ""
// then. If rec has none, or one by an older secret, it is to take the stamp returned.
func (s *Session) checkStamp(rec *record.Record) (stamp, why string, err error) {
	if !s.m.cfg.asksFor(rec) {
		return "", "", nil
	}
	if why, err := s.actorStands(rec); why != "" || err != nil {
		return "", why, err
	}
	u, err := s.userNow(rec.User)
	switch {
	case errors.Is(err, ErrNoUser):
		return "", userGone, nil
	case err != nil:
		return "", "", err
	}
	newest := s.m.ring[0].Stamp(rec.User, u.stamp)
	if rec.Stamp == newest {
		return "", "", nil
	}
	for _, k := range s.m.ring {
		if rec.Stamp == "" || rec.Stamp == k.Stamp(rec.User, u.stamp) {
			return newest, "", nil
		}
	}
	return "", stampChanged, nil
}

// actorStands tells whether the credentials of who acts in the session of rec are as they
// were when that began: why is "" then. A session from before there was a stamp is not.
func (s *Session) actorStands(rec *record.Record) (why string, err error) {
	if rec.Actor == "" {
		return "", nil
	}
	u, err := s.userNow(rec.Actor)
	switch {
	case errors.Is(err, ErrNoUser):
		return userGone, nil
	case err != nil:
		return "", err
	}
	for _, k := range s.m.ring {
		if rec.ActorStamp == k.Stamp(rec.Actor, u.stamp) {
			return "", nil
		}
	}
	return stampChanged, nil
}

// presentUser asks for the user who logs in, as they are now, and returns what the login is
// sealed with. Nothing else reads that anew, and Login does so when it is called, right after the
// password was checked: whatever was sealed before the stamp changed stays what it was.
func (s *Session) presentUser(id string) (stamp string, err error) {
	m := s.m
	if !m.cfg.asksForUsers() {
		return "", nil
	}
	u, err := m.askFor(context.WithoutCancel(s.r.Context()), id)
	switch {
	case errors.Is(err, ErrNoUser):
		return "", fmt.Errorf("%w: %w", ErrNoUser, s.gone())
	case err != nil:
		return "", unavailable(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, u)
	return m.ring[0].Stamp(id, u.stamp), nil
}
