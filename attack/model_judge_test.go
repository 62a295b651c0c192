package attack_test

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// script writes a history step by step, one after the other.
type script []porcupine.Operation

func (s *script) add(in event, out *outcomeOf) *script {
	at := int64(len(*s))
	*s = append(*s, operationOf(0, in, out, at, at))
	return s
}

// load is a request of the kind that brings cookie and sees view of the session served.
func (s *script) load(kind, cookie, served, view string) *script {
	return s.add(event{what: "load", kind: kind, cookie: cookie, served: served}, &outcomeOf{status: 200, view: view})
}

// commit is the end of such a request, by user, that is answered by status and the cookie issued.
func (s *script) commit(kind, cookie, served, user string, status int, issued string) *script {
	in := event{what: "commit", kind: kind, cookie: cookie, served: served, user: user, tag: "<" + kind + ">", storm: s.stormy()}
	in.loaded, in.left = span{5, 6}, span{5, 6}
	return s.add(in, known(act{Kind: kind}, &outcomeOf{status: status, issued: issued}))
}

func (s *script) storm() *script { return s.add(event{what: "storm"}, nil) }

// stormy tells whether a storm has begun and not ended.
func (s *script) stormy() (is bool) {
	for _, op := range *s {
		is = is != (op.Input.(event).what == "storm")
	}
	return is
}

func (s *script) end(login string) *script {
	return s.add(event{what: "end", logins: []string{login}}, nil)
}

// revoke is the mark of a revocation of user's sessions.
func (s *script) revoke(user string) *script {
	return s.add(event{what: "mark", user: user, left: span{9, 9}}, nil)
}

func begin() *script { return &script{} }

// loggedIn is a history that begins with a login of user's under the id.
func loggedIn(user, id string) *script { return begin().commit("login", "", "", user, 200, id) }

// TestTheModelTellsRightFromWrong asks for short histories, as the model that is content with everything finds nothing.
func TestTheModelTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	ended := func(s *script) *script { return s.load("read", "A", "", "") }
	const fine, wrong = porcupine.Ok, porcupine.Illegal
	for _, row := range []struct {
		name    string
		history *script
		want    porcupine.CheckResult
	}{
		{"a login is seen", loggedIn("alice", "A").load("read", "A", "A", "alice"), fine},
		{"a login is not seen", ended(loggedIn("alice", "A")), wrong},
		{"a login is seen as somebody else's", loggedIn("alice", "A").load("read", "A", "A", "bob"), wrong},
		{"a logout ends the session", ended(loggedIn("alice", "A").commit("logout", "A", "A", "", 200, "")), fine},
		{"what was logged out is seen again", loggedIn("alice", "A").commit("logout", "A", "A", "", 200, "").load("read", "A", "A", "alice"), wrong},
		{"a logout with an unknown outcome may have been made", ended(loggedIn("alice", "A").storm().commit("logout", "A", "A", "", 503, "").storm()), fine},
		{"a revoked session is seen again", loggedIn("alice", "A").end("A").load("read", "A", "A", "alice"), wrong},
		{"a write is seen", loggedIn("alice", "A").commit("set", "A", "A", "", 200, "").load("read", "A", "A", "alice k=<set>"), fine},
		{"an acknowledged write is lost", loggedIn("alice", "A").commit("set", "A", "A", "", 200, "").load("read", "A", "A", "alice"), wrong},
		{"a write to a session that has ended is acknowledged", loggedIn("alice", "A").end("A").commit("set", "A", "A", "", 200, ""), wrong},
		{"a write is refused though the session lives", loggedIn("alice", "A").commit("set", "A", "A", "", 409, ""), wrong},
		{"a rotated id leads on", loggedIn("alice", "A").commit("rotate", "A", "A", "", 200, "B").load("read", "A", "B", "alice"), fine},
		{"the successor of a revoked session is seen", loggedIn("alice", "A").commit("rotate", "A", "A", "", 200, "B").end("A").load("read", "B", "B", "alice"), wrong},
		{"RevokeOthers rotated the session and then failed", loggedIn("alice", "A").storm().commit("others", "A", "A", "", 503, "B").storm().load("read", "B", "B", "alice"), fine},
		{"RevokeOthers failed, and a cookie is of nothing", loggedIn("alice", "A").storm().commit("others", "A", "A", "", 503, "").storm().load("read", "B", "B", "alice"), wrong},
		{"a login is refused after a revocation", begin().revoke("alice").commit("login", "", "", "alice", 409, ""), fine},
		{"a login is refused without one", begin().commit("login", "", "", "alice", 409, ""), wrong},
		{"a login stands though its password was checked before a revocation", begin().revoke("alice").commit("login", "", "", "alice", 200, "A"), wrong},
		{"a second factor is refused after a revocation", begin().commit("half", "", "", "alice", 200, "A").revoke("alice").commit("promote", "A", "A", "", 409, ""), fine},
		{"a second factor counts though its password was checked before a revocation", begin().commit("half", "", "", "alice", 200, "A").revoke("alice").commit("promote", "A", "A", "", 200, "B"), wrong},
		{"a refused login ended nobody's session", loggedIn("bob", "A").revoke("alice").commit("login", "A", "A", "alice", 409, "").load("read", "A", "A", "bob"), fine},
		{"a refused login ended another user's session", ended(loggedIn("bob", "A").revoke("alice").commit("login", "A", "A", "alice", 409, "")), wrong},
		{"in a storm that may be, by a try whose reply was lost", ended(loggedIn("bob", "A").storm().revoke("alice").commit("login", "A", "A", "alice", 409, "").storm()), fine},
		{"in a storm that need not be", loggedIn("bob", "A").storm().revoke("alice").commit("login", "A", "A", "alice", 409, "").storm().load("read", "A", "A", "bob"), fine},
		{"in a storm a refused login ends no session of the same user", ended(loggedIn("alice", "A").storm().revoke("alice").commit("login", "A", "A", "alice", 409, "").storm()), wrong},
		{"in a storm a refused write ends nothing", ended(loggedIn("alice", "A").storm().commit("set", "A", "A", "", 409, "").storm()), wrong},
		{"of three logins beside each other the last is seen", afterTheDouble().load("read", "E", "E", "half:alice"), fine},
		{"a login with a dead id ends the one that had taken its place", afterTheDouble().load("read", "C", "", ""), fine},
		{"after a storm that one may live as well", afterTheDouble().load("read", "C", "C", "half:alice"), fine},
		{"the whole login, that the half-open one does not go on from, is lost", afterTheDouble().load("read", "D", "", ""), wrong},
		{"a login over a session that was perhaps evicted carries its values over", perhapsEvicted().load("read", "D", "D", "alice k=<set>"), fine},
		{"or begins from nothing", perhapsEvicted().load("read", "D", "D", "alice"), fine},
		{"but is not lost", perhapsEvicted().load("read", "D", "", ""), wrong},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := &play{ops: *row.history}
			if got, why := p.judge(); got != row.want {
				t.Errorf("got %s, want %s: %s\n%s", got, row.want, why, p)
			}
		})
	}
}

// afterTheDouble is a history of a half-open login A, in whose place B came in a storm. Two requests go on from B, one by
// the id A and one by its own; the second of them begins from nothing, and has the id D. Then another comes with the id B:
// it goes on from C, which took the place of B first.
func afterTheDouble() *script {
	return begin().commit("half", "", "", "alice", 200, "A").
		storm().commit("half", "A", "A", "alice", 200, "B").storm().
		load("login", "B", "B", "half:alice").
		load("half", "A", "", "").commit("half", "A", "", "alice", 200, "C").
		commit("login", "B", "B", "alice", 200, "D").
		load("half", "B", "", "").commit("half", "B", "", "alice", 200, "E")
}

// perhapsEvicted is a history of more logins in a storm than MaxPerUser allows, and of a login over the oldest of them in
// another storm.
func perhapsEvicted() *script {
	s := loggedIn("alice", "A").commit("set", "A", "A", "", 200, "").storm().
		commit("login", "", "", "alice", 200, "B").commit("login", "", "", "alice", 200, "C").storm()
	return s.add(event{what: "doubt", user: "alice"}, nil).storm().commit("login", "A", "A", "alice", 200, "D").storm()
}
