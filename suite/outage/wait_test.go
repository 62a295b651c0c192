package outage_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// kind is a request that cannot go on without Redis.
type kind struct {
	name string
	user string // of a session known here; carol has one that only another server knows
	ops  string
	want string // the answer once Redis is back in time
	kept string // what another server then sees under the client's cookie
	lost string // what it sees if Redis was not back in time
}

var kinds = []kind{
	{"a visitor's first write", "", "set:b:1", "200 set b=1", "b=1", ""},
	{"a visitor's login", "", "login:dave", "200 set dave", "dave", ""},
	{"another server's session", "carol", "", "200 carol a=1", "carol a=1", "carol a=1"},
	{"a write to it", "carol", "set:b:1", "200 carol a=1 b=1", "carol a=1 b=1", "carol a=1"},
	{"its logout", "carol", "logout", "200 expired", "", "carol a=1"},
	{"a write", "alice", "set:b:1", "200 alice a=1 b=1", "alice a=1 b=1", "alice a=1"},
	{"an update", "alice", "add:n", "200 alice a=1 n=1", "alice a=1 n=1", "alice a=1"},
	{"a Save", "alice", "add:n save", "200 alice a=1 n=1", "alice a=1 n=1", "alice a=1"},
	{"a Save and a write", "alice", "add:n save add:n", "200 alice a=1 n=2", "alice a=1 n=2", "alice a=1"},
	{"another login", "alice", "login:alice", "200 set alice a=1", "alice a=1", "alice a=1"},
	{"a login as somebody else", "alice", "login:eve", "200 set eve", "eve", "alice a=1"},
	{"a new id", "alice", "rotate", "200 set alice a=1", "alice a=1", "alice a=1"},
	{"a logout", "alice", "logout", "200 expired", "", ""},
	{"a logout and a new session", "alice", "logout set:b:1", "200 set b=1", "b=1", ""},
}

// running is a request of one kind under way.
type running struct {
	kind
	early  bool // loaded before the outage
	st     *stage.Scripted
	cookie string // before it
	begin  func() stage.Answer
	answer stage.Answer
}

// prepare makes the clients of all kinds, and lets half of the requests come as far as
// their handler.
func prepare(a *arena) (all []*running) {
	for _, k := range kinds {
		for _, early := range []bool{true, false} {
			r := &running{kind: k, early: early, st: a.Here.Fork("")}
			switch k.user {
			case "":
			case "carol":
				r.st = r.st.Fork(loginAt(a.Other, k.user))
			default:
				r.st = r.st.Fork(loginAt(a.Here, k.user))
			}
			r.cookie, r.begin = r.st.Cookie(), func() stage.Answer { return r.st.Do(k.ops) }
			if early {
				r.begin = r.st.Hold("hold " + k.ops)
			}
			all = append(all, r)
		}
	}
	return all
}

// loginAt returns the cookie of a new session of user.
func loginAt(st *stage.Scripted, user string) string {
	fresh := st.Fork("")
	fresh.Must("login:" + user + " set:a:1")
	return fresh.Cookie()
}

func (r *running) describe() string {
	if r.early {
		return r.name + ", loaded before the outage"
	}
	return r.name
}

// outcome is what the client sees, whether the session came from memory or not.
func (r *running) outcome() string {
	return strings.Replace(stage.Outcome(r.answer), " degraded", "", 1)
}

// failure is what the client sees if Redis was not back in time.
func (r *running) failure() string {
	switch {
	case r.ops == "" && r.early:
		return r.want // it had the session
	case strings.Contains(r.ops, "save"):
		return "503" // by the handler itself
	case r.leaves():
		return "503 retry set" // an ending cookie
	}
	return "503 retry"
}

// leaves tells whether r is the logout of a session that its server has got.
func (r *running) leaves() bool {
	return strings.HasPrefix(r.ops, "logout") && (r.early || r.user == "alice")
}

// remains is what another server sees afterwards.
func (r *running) remains() string {
	if r.early && r.ops == "logout" {
		return "" // its session was known, and ends once Redis is back
	}
	return r.lost
}

// beginAll lets all requests go on at once, and returns what waits for their answers.
func beginAll(all []*running) (answered func()) {
	var group sync.WaitGroup
	for _, r := range all {
		group.Go(func() { r.answer = r.begin() })
	}
	return group.Wait
}

func TestOutageThatEndsInTimeFailsNoRequest(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		a := w.arena(t, patient)
		all := prepare(a)
		a.goAway(t, w)
		answered := beginAll(all)
		known := uint64(0)
		for _, k := range kinds {
			if k.user == "alice" {
				known++
			}
		}
		stage.Until(t, "the sessions that are known to be read from memory", func() bool { return a.M.Stats().Degraded >= known })
		a.comeBack(t, w)
		answered()
		for _, r := range all {
			if got := r.outcome(); got != r.want {
				t.Errorf("%s: got %q, want %q", r.describe(), got, r.want)
				continue
			}
			for _, cookie := range []string{r.st.Cookie(), r.cookie} {
				want := r.kept
				if r.st.Cookie() != cookie && r.ops != "rotate" {
					want = "" // the id that a login or a logout ended
				}
				if got := a.Other.Fork(cookie).Do().Text; got != want {
					t.Errorf("%s: got %q at another server, want %q", r.describe(), got, want)
				}
			}
		}
	})
}

func TestOutageThatDoesNotEndInTimeKeepsNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		a := w.arena(t, func(c *redsession.Config) { c.OutageWait = 300 * time.Millisecond })
		all := prepare(a)
		a.goAway(t, w)
		beginAll(all)()
		remain := 0
		for _, r := range all {
			if got, want := r.outcome(), r.failure(); got != want {
				t.Errorf("%s: got %q, want %q", r.describe(), got, want)
			}
			if got := r.cookie != r.st.Cookie(); got != r.leaves() {
				t.Errorf("%s: got another cookie: %t, want %t", r.describe(), got, r.leaves())
			}
			if r.remains() != "" {
				remain++
			}
		}
		a.comeBack(t, w)
		stage.Until(t, "the sessions that remain, and no others", func() bool { return a.Living(t) == remain })
		for _, r := range all {
			if got, want := a.Other.Fork(r.cookie).Do().Text, r.remains(); got != want {
				t.Errorf("%s: got %q at another server, want %q", r.describe(), got, want)
			}
		}
	})
}
