package promises_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// comeback is a request that is still running when its session ends.
type comeback struct {
	act, ops        string
	anonymous, user int // status, by what the session was
}

var comebacks = []comeback{
	{"reads", "", 200, 200},
	{"writes", "set:memo:late", 409, 409},
	{"updates", "add:n", 409, 409},
	{"deletes", "del:memo", 409, 409},
	{"clears", "clear", 409, 409},
	{"saves", "set:memo:late save", 409, 409},
	{"saves nothing", "save", 200, 200},
	{"leaves a flash", "flash:late", 409, 409},
	{"reads flashes", "flashes", 409, 409}, // and so takes them away
	{"calls CSRFToken", "csrf", 200, 200},
	{"logs in again", "login:alice", 200, 200},
	{"logs in as somebody else", "login:bob", 200, 200},
	{"rotates", "rotate", 409, 409},
}

func TestNothingComesBack(t *testing.T) {
	t.Parallel()
	const idle, absolute = time.Hour, 3 * time.Hour
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, ending := range []struct {
			name     string
			idle     time.Duration
			survives string // what the browser that ended the session sees then
			end      func(m *redsession.Manager, st *stage.Scripted, id string)
		}{
			{"logout", idle, "", func(_ *redsession.Manager, st *stage.Scripted, _ string) { st.Must("logout") }},
			{"logout, past its tombstone", idle, "", func(_ *redsession.Manager, st *stage.Scripted, _ string) {
				st.Must("logout")
				e.Advance(t, 2*time.Minute)
			}},
			{"login", idle, "alice memo=old-data", func(_ *redsession.Manager, st *stage.Scripted, _ string) { st.Must("login:alice") }},
			{"expiry", idle, "", func(*redsession.Manager, *stage.Scripted, string) { e.Advance(t, idle+time.Second) }},
			{"deadline", absolute, "", func(*redsession.Manager, *stage.Scripted, string) { e.Advance(t, absolute+time.Second) }},
			{"revoke", idle, "", func(m *redsession.Manager, _ *stage.Scripted, id string) {
				if err := m.Revoke(t.Context(), id); err != nil {
					t.Error(err)
				}
			}},
		} {
			m := e.Manager(t, func(c *redsession.Config) { c.IdleTimeout, c.AbsoluteTimeout = ending.idle, absolute })
			st := stage.NewScripted(t, m)
			for _, c := range comebacks {
				for _, user := range []string{"", "alice"} {
					t.Run(fmt.Sprintf("%s of %q, and a request %s", ending.name, user, c.act), func(t *testing.T) {
						again := ending.name == "login" && c.ops == "login:alice" // the same browser's: it goes on from there
						c.run(t, e, inSubtest(t, st).Fork(""), user, func(st *stage.Scripted, id string) { ending.end(m, st, id) }, ending.survives, again)
					})
				}
			}
		}
	})
}

func (c comeback) run(t *testing.T, e *stage.Env, st *stage.Scripted, user string, end func(st *stage.Scripted, id string), survives string, again bool) {
	e.Client.FlushAll(t.Context())
	want := c.anonymous
	if user != "" {
		st.Must("login:" + user)
		want = c.user
	}
	id := st.Must("set:memo:old-data flash:hello").Header.Get("X-Id")
	old := st.Cookie()
	release := st.Fork(old).Hold("hold " + c.ops)
	end(st, id)
	late := release()
	if late.StatusCode != want {
		t.Errorf("got status %d, want %d", late.StatusCode, want)
	}
	cookies, held := late.SetCookies(), min(len(survives), 1)
	if name, login := strings.CutPrefix(c.ops, "login:"); login {
		if len(cookies) != 1 {
			t.Fatalf("a login of its own: got %d cookies, want 1", len(cookies))
		}
		if again {
			name, survives = survives, ""
		}
		if got := st.Fork(cookies[0].Value).Do().Text; got != name {
			t.Errorf("a login of its own: got %q, want %q with nothing of what has ended", got, name)
		}
	} else if len(cookies) != 0 {
		t.Errorf("the late answer sets %v, want no cookie", cookies)
	}
	if got := st.Fork(old).Do().Text; got != "" {
		t.Errorf("the old cookie reads %q, want an empty anonymous session", got)
	}
	if got := st.Do().Text; got != survives {
		t.Errorf("the browser that ended it reads %q, want %q", got, survives)
	}
	holding := 0
	for key, value := range e.Dump(t) {
		if strings.Contains(value, "old-data") {
			holding++
			if key == "session:"+id {
				t.Errorf("the record is back under its old id: %s", value)
			}
		}
	}
	if holding != held {
		t.Errorf("got %d records with the old data, want %d", holding, held)
	}
}
