package writes_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestSaveInTheMiddle(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		root := stage.NewScripted(t, m)
		root.Must("set:warm:1")
		root.Must("set:warm:2")
		for _, row := range []struct{ name, before, ops, meanwhile, want, commands string }{
			{"changes before and after", "add:n", "set:a:1 add:n save hold set:b:1 add:n", "", "a=1 b=1 n=3", "GET EXPIRE EVALSHA EVALSHA in 3"},
			{"another request's between them", "add:n", "set:a:1 add:n save hold set:b:1 add:n", "set:c:1 add:n", "a=1 b=1 c=1 n=4", ""},
			{"nothing after it", "add:n", "set:a:1 save hold", "", "a=1 n=1", "GET EXPIRE EVALSHA in 2"},
			{"a first write, and more", "", "set:a:1 save hold set:b:1", "", "a=1 b=1", "EVALSHA EVALSHA in 2"},
			{"a login after it", "add:n", "set:a:1 save hold login:alice", "", "alice a=1 n=1", ""},
			{"a clear after it", "add:n", "set:a:1 save hold clear set:b:1", "set:c:1", "b=1", ""},
			{"a save twice", "add:n", "add:n save save hold save", "", "n=2", "GET EXPIRE EVALSHA in 2"},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				st.Must(row.before)
				other := root.Fork(st.Cookie())
				stage.Sent(p)
				release := st.Hold(row.ops)
				if row.meanwhile != "" {
					other.Must(row.meanwhile)
				}
				if a := release(); a.StatusCode != http.StatusOK || len(a.SetCookies()) > 1 {
					t.Errorf("got %d and cookies %v, want 200 and at most one", a.StatusCode, a.SetCookies())
				}
				if got := stage.Sent(p); row.commands != "" && got != row.commands {
					t.Errorf("got %q, want %q", got, row.commands)
				}
				if got := st.Do().Text; got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			})
		}
	})
}

func TestSaveFromManyGoroutines(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		many := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			stage.Parallel(20, func(i int) {
				redsession.Key[int]("n").Update(s, func(n int) int { return n + 1 })
				redsession.Key[int](fmt.Sprint("k", i)).Set(s, i)
				if err := s.Save(r.Context()); err != nil {
					t.Errorf("Save: got %v, want nil", err)
				}
			})
			fmt.Fprint(w, stage.Describe(s, "n"))
		}
		st := stage.NewScripted(t, e.Manager(t), stage.Handlers{"/many": many})
		for i := range 3 { // first as a new session
			want := fmt.Sprintf("n=%d", (i+1)*20)
			if a := st.Get("/many"); a.Text != want {
				t.Errorf("in the handler: got %q, want %s", a.Text, want)
			}
			got := st.Do().Text
			if n := strings.Count(got, "k"); n != 20 || !strings.Contains(got, want) {
				t.Errorf("got %q, want 20 keys and %s", got, want)
			}
		}
		login := st.Fork("")
		login.Must("login:alice")
		e.Advance(t, 4*time.Hour) // a rotation is due
		if a := login.Get("/many"); a.Text != "alice n=20" || len(a.SetCookies()) != 1 {
			t.Errorf("with a rotation: got %q and cookies %v, want alice n=20 and one", a.Text, a.SetCookies())
		}
	})
}

// Goroutines of one request may read while another saves. The race detector
// tells if that is not safe.
func TestSaveLetsOthersRead(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		var armed atomic.Bool
		begun, read := make(chan struct{}), make(chan struct{})
		m, p := e.Behind(t, func(c *redsession.Config) {
			c.Now = func() time.Time {
				if armed.CompareAndSwap(true, false) {
					close(begun) // the commit goes on meanwhile, up to Redis
				}
				return e.Clock.Now()
			}
		})
		st := stage.NewScripted(t, m, stage.Handlers{"/read": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			s.Rotate()
			saved := make(chan error)
			armed.Store(true)
			go func() { saved <- s.Save(r.Context()) }()
			<-begun
			keys := s.Keys()
			close(read)
			if err := <-saved; err != nil {
				t.Errorf("Save: got %v, want nil", err)
			}
			fmt.Fprint(w, keys)
		}})
		st.Must("login:alice set:a:1 set:b:2")
		p.Reply(func(args []string) (string, bool) {
			if stage.StoresRecord(args) {
				<-read
			}
			return "", false
		})
		if got := st.Get("/read").Text; got != "[a b]" {
			t.Errorf("got the keys %s, want [a b]", got)
		}
		if got := st.Do().Text; got != "alice a=1 b=2" {
			t.Errorf("got %q, want alice a=1 b=2", got)
		}
	})
}

func TestSaveThatFailsLeavesTheHandlerToDecide(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		direct := stage.NewScripted(t, e.Manager(t))
		nothing := func(*stage.Scripted, *redistest.Proxy) {}
		logout := func(other *stage.Scripted, _ *redistest.Proxy) { other.Must("logout") }
		down := func(_ *stage.Scripted, p *redistest.Proxy) { p.CutRequest(func([]string) bool { return true }) }
		for _, row := range []struct {
			name, ops string
			meanwhile func(other *stage.Scripted, p *redistest.Proxy)
			reason    string // of the failed Save
			status    int
			body      string // what the handler sees then
			then      string // what the next request sees
		}{
			{"too large", "hold set:b:1 huge try", nothing, "500", 200, "alice a=1", "alice a=1"},
			{"too large, and more", "hold set:b:1 huge try set:c:1", nothing, "500", 200, "alice a=1 c=1", "alice a=1 c=1"},
			{"not to be encoded, and more", "hold set:b:1 odd try set:c:1", nothing, "500", 200, "alice a=1 c=1", "alice a=1 c=1"},
			{"a login too large", "hold login:bob huge try", nothing, "500", 200, "alice a=1", "alice a=1"},
			{"unavailable", "hold set:b:1 del:a try", down, "503", 200, "alice a=1", "alice a=1"},
			{"a login, unavailable", "hold login:bob set:b:1 try", down, "503", 200, "alice a=1", "alice a=1"},
			{"a logout, unavailable: the cookie has any server end it", "hold logout set:b:1 try", down, "503", 200, "alice a=1", ""},
			{"a rotation, unavailable", "hold rotate try", down, "503", 200, "alice a=1", "alice a=1"},
			{"ended", "hold set:b:1 try", logout, "409", 200, "", ""},
			{"ended, and more", "hold set:b:1 try set:c:1", logout, "409", 409, "", ""},
			{"ended, and a login", "hold set:b:1 try login:alice set:c:1", logout, "409", 200, "alice c=1", "alice c=1"},
		} {
			t.Run(row.name, func(t *testing.T) {
				m, p := e.Behind(t, func(c *redsession.Config) { c.MaxBytes, c.Outage = 2000, redsession.FailClosed })
				st := stage.NewScripted(t, m)
				st.Must("login:alice set:a:1")
				release := st.Hold(row.ops)
				row.meanwhile(direct.Fork(st.Cookie()), p)
				a := release()
				p.CutRequest(nil)
				if got := a.Header.Get("X-Error"); got != row.reason && a.StatusCode == http.StatusOK || a.StatusCode != row.status {
					t.Errorf("got the error %s of Save and then status %d, want %s and %d", got, a.StatusCode, row.reason, row.status)
				}
				if a.Text != row.body && a.StatusCode == http.StatusOK {
					t.Errorf("after Save the handler sees %q, want %q", a.Text, row.body)
				}
				if got := direct.Fork(st.Cookie()).Do().Text; got != row.then {
					t.Errorf("got %q, want %q", got, row.then)
				}
			})
		}
	})
}

func TestUpdateRunsAgainOnlyOnConflict(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		var seen []int
		g := make(stage.Gate)
		root := stage.NewScripted(t, e.Manager(t), stage.Handlers{"/update": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			redsession.Key[string]("b").Set(s, "1")
			redsession.Key[int]("n").Update(s, func(old int) int {
				seen = append(seen, old)
				return old + 10
			})
			if user := r.FormValue("login"); user != "" {
				s.Login(user)
			}
			redsession.Key[string]("c").Set(s, "1")
			g.Pass()
		}})
		for _, row := range []struct{ name, before, path, meanwhile, seen, then string }{
			{"a first write", "", "/update", "", "[0]", "b=1 c=1 n=10"},
			{"a write", "add:n", "/update", "", "[1]", "b=1 c=1 n=11"},
			{"a login", "add:n", "/update?login=alice", "", "[1]", "alice b=1 c=1 n=11"},
			{"another update", "add:n", "/update", "add:n add:n", "[1 3]", "b=1 c=1 n=13"},
			{"another key", "add:n", "/update", "set:z:1", "[1 1]", "b=1 c=1 n=11 z=1"},
			{"a deletion", "add:n", "/update", "del:n", "[1 0]", "b=1 c=1 n=10"},
			{"a login and another update", "add:n", "/update?login=alice", "add:n add:n", "[1 3]", "alice b=1 c=1 n=13"},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				st.Must(row.before)
				other := root.Fork(st.Cookie())
				seen = nil
				done := make(chan stage.Answer)
				go func() { done <- st.Get(row.path) }()
				leave := <-g
				if row.meanwhile != "" {
					other.Must(row.meanwhile)
				}
				close(leave)
				if a := <-done; a.StatusCode != http.StatusOK || fmt.Sprint(seen) != row.seen {
					t.Errorf("got %d and the function saw %v, want 200 and %s", a.StatusCode, seen, row.seen)
				}
				if got := st.Do().Text; got != row.then {
					t.Errorf("got %q, want %q", got, row.then)
				}
			})
		}
	})
}

// An update function may panic when it runs again on another value. That must
// not leave the request waiting for the commit that never ends.
func TestUpdateThatPanicsDuringACommitDoesNotHangTheRequest(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	st := stage.NewScripted(t, m)
	st.Must("add:n")
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { // as a middleware that recovers
			if recover() != nil {
				http.Error(w, "", http.StatusInternalServerError)
			}
		}()
		redsession.Key[int]("n").Update(redsession.FromContext(r.Context()), func(n int) int {
			if n != 1 {
				panic("not what it was at first")
			}
			return n + 1
		})
		st.Must("add:n")
		fmt.Fprint(w, "done")
	}))
	r, w, done := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder(), make(chan struct{})
	r.AddCookie(&http.Cookie{Name: "session", Value: st.Cookie()})
	go func() {
		h.ServeHTTP(w, r)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the request hangs")
	}
	if w.Code == http.StatusOK {
		t.Error("got status 200, want an error: the change is not kept")
	}
	if got := st.Do().Text; got != "n=2" {
		t.Errorf("got %q, want n=2", got)
	}
}
