package redsession

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/loginfact"
	"github.com/redsession/redsession/internal/record"
)

// LoginOption changes what Login does.
type LoginOption func(*loginOptions)

type loginOptions struct {
	remember time.Duration
	pending  bool
	facts
}

// facts is what a login says of itself beside its user.
type facts struct {
	label *string // nil for none
	tags  []string
	proof loginfact.Proof
	actor string
	stamp string   // of actor, as it was when the request was loaded
	err   error    // the first that was wrong
	marks ownMarks // that say nothing against it
}

// collect returns what opts say. It panics on what contradicts itself.
func collect(opts []LoginOption) (o loginOptions) {
	for _, opt := range opts {
		opt(&o)
	}
	if o.pending && o.actor != "" {
		panic("redsession: Pending and By: who acts as a user has no second factor of theirs")
	}
	return o
}

// refuse keeps the first error.
func (f *facts) refuse(err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("redsession: Login: %w", err)
	}
}

// RememberFor keeps this login for d ("remember me"): the cookie survives the
// browser, and both the idle and the absolute lifetime are d. It panics if d is
// under a second. NIST SP 800-63B advises against it for more than AAL1; with
// Config.Assurance the commit of a login that is longer than the level allows is an error.
func RememberFor(d time.Duration) LoginOption {
	if d < time.Second {
		panic(fmt.Sprintf("redsession: RememberFor(%s): want at least a second", d))
	}
	return func(o *loginOptions) { o.remember = d }
}

// Pending says that the password was right and a second factor is missing:
// LoggedIn stays false, PendingUserID tells the user, and 10 minutes are left
// to call Promote. Until then the session is in no list of the user's.
func Pending() LoginOption { return func(o *loginOptions) { o.pending = true } }

// Label names the session for lists of devices: Info and Session.Label show it. At most 128
// bytes of UTF-8 without control characters, line separators and marks that turn the
// direction of text; anything else fails the commit, and nobody is logged in. Timed
// rotation and Promote keep it, and so does a later login of the same user in the session
// unless that has a Label of its own, which may be "".
func Label(text string) LoginOption {
	return func(o *loginOptions) {
		o.label = &text
		o.refuse(loginfact.CheckLabel(text))
	}
}

// Tag lets Admin.Tagged and RevokeTagged find the session by tag, which is 1 to 256 bytes. A
// login may have four; more, or one of another length, fail the commit, and nobody is logged
// in. For the logout of a provider (OpenID Connect Back-Channel Logout 1.0) use the issuer
// and the session id of the ID token: Tag(iss + "|" + sid).
//
// Redis gets a keyed hash of a tag, and the tag encrypted. Timed rotation and Promote keep
// the tags, and so does a later login of the same user in the session unless that has tags
// of its own, which take their place. A tag costs no round trip more.
func Tag(tag string) LoginOption {
	return func(o *loginOptions) {
		o.tags = append(o.tags, tag)
		o.refuse(loginfact.CheckTags(o.tags))
	}
}

// Proved says what the login proved: an authenticator assurance level of NIST SP 800-63B
// (1 to 3), for RequireLevel, and by which methods, such as "pwd" and "otp" of RFC 8176. A
// later Login or Promote of the same user in the session adds to it: the higher level counts,
// and all methods. What another user proved, or who acts as them, does not. It panics if
// level is not 1 to 3. More than 16 methods, one that is empty or longer than 64 bytes, or one with
// a space or a control character fail the commit, and nobody is logged in.
func Proved(level int, methods ...string) LoginOption {
	checkLevel("Proved", level)
	methods = slices.Clone(methods)
	return func(o *loginOptions) {
		o.refuse(loginfact.CheckMethods(methods))
		o.proof = o.proof.And(loginfact.Proof{Level: level, Methods: methods})
	}
}

func checkLevel(of string, level int) {
	if level < 1 || level > loginfact.MaxLevel {
		panic(fmt.Sprintf("redsession: %s(%d): want a level from 1 to 3", of, level))
	}
}

// checkFacts tells why a login of user must not be made, and completes f.
func (s *Session) checkFacts(user string, f *facts) error {
	if f.err != nil {
		return f.err
	}
	return s.checkActor(user, f)
}

// stateLocked has head say what a login said of itself, on top of what the session said
// before if that goes on.
func (s *Session) stateLocked(head *record.Record, said facts, goesOn bool) {
	before := &record.Record{}
	if goesOn {
		before = &s.head
		if s.pending.said != nil { // by this request: it stands or falls with this one
			said = said.after(*s.pending.said)
		}
	}
	if err := said.state(s.m.ring, head, before); err != nil {
		s.failLocked(err)
	}
	s.pending.said = &said
}

// after is f with what an earlier login said of the same session.
func (f facts) after(earlier facts) facts {
	if f.label == nil {
		f.label = earlier.label
	}
	if len(f.tags) == 0 {
		f.tags = earlier.tags
	}
	f.proof = earlier.proof.And(f.proof)
	return f
}

// state writes f into head, on top of before.
func (f *facts) state(ring record.Ring, head, before *record.Record) (err error) {
	head.Actor, head.ActorStamp = f.actor, f.stamp
	head.Proved = loginfact.Parse(before.Proved).And(f.proof).String()
	head.Label = before.Label
	if f.label != nil {
		head.Label = *f.label
	}
	if len(f.tags) > 0 {
		head.Tags, err = ring.SealTags(f.tags)
	} else {
		head.Tags, err = ring.RenewTags(before.Tags)
	}
	return err
}

// Label returns the name that the login gave the session, or "".
func (s *Session) Label() string {
	s.lock()
	defer s.mu.Unlock()
	return strings.Clone(s.head.Label)
}

// Tags returns the tags that the login gave the session.
func (s *Session) Tags() []string {
	s.lock()
	tags := s.head.Tags
	s.mu.Unlock()
	return s.m.ring.OpenTags(tags)
}

// Level returns the assurance level that the session's user has proved in it: 0 if no login
// said so (see Proved), and before all factors are in.
func (s *Session) Level() int { return s.proved().Level }

// Methods returns how the session's user has proved who they are, in the order in which they
// did, each method once: none if no login said so (see Proved), and before all factors are
// in.
func (s *Session) Methods() []string { return s.proved().Methods }

func (s *Session) proved() loginfact.Proof {
	s.lock()
	defer s.mu.Unlock()
	if !s.head.LoggedIn() {
		return loginfact.Proof{}
	}
	return loginfact.Parse(s.head.Proved)
}

// Remembered tells whether the login was with RememberFor.
func (s *Session) Remembered() bool {
	s.lock()
	defer s.mu.Unlock()
	return s.head.Remember > 0
}

// AuthAge returns how long ago the user last proved who they are, by the Manager's clock. It
// is 0 if nobody has: ask LoggedIn; and the longest duration there is if an old package has
// not told, so that no such login counts as recent. In a session that somebody acts in (see By) it is how
// long they have done so.
func (s *Session) AuthAge() time.Duration {
	s.lock()
	defer s.mu.Unlock()
	switch {
	case s.head.Auth == 0 && s.head.LoggedIn():
		return math.MaxInt64
	case s.head.Auth == 0:
		return 0
	}
	return s.m.cfg.Now().Sub(time.UnixMicro(s.head.Auth))
}

// RequireLevel passes on requests of a user whose logins in this session have proved level,
// as Proved said, or a higher one: ask for a further factor before what matters (NIST SP
// 800-63B-4, OWASP ASVS 7.5.3). A login without Proved has level 0. Config.Unauthorized
// answers the others. It belongs inside Handler, and panics if level is not 1 to 3. No cache
// stores the response, unless the handler sets Cache-Control.
func (m *Manager) RequireLevel(level int) func(http.Handler) http.Handler {
	checkLevel("RequireLevel", level)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.guarded(r)
			if s.Level() < level {
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
