package redsession_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// stage is a browser whose requests say in words what their handler is to do.
type stage struct {
	*browser
	gate gate
}

func newStage(t *testing.T, m *redsession.Manager, more ...handlers) *stage {
	t.Helper()
	g := make(gate)
	hs := handlers{"/": g.play}
	for _, h := range more {
		maps.Copy(hs, h)
	}
	return &stage{newBrowser(t, serve(t, m, hs)), g}
}

// in returns st for a subtest.
func (st *stage) in(t *testing.T) *stage {
	return &stage{&browser{t, st.base, st.http}, st.gate}
}

// fork returns another browser with that cookie, none if it is empty.
func (st *stage) fork(cookie string) *stage {
	b := st.with(cookie)
	if cookie == "" {
		b.http.Jar, _ = cookiejar.New(nil)
	}
	return &stage{b, st.gate}
}

// do has the handler do what ops say; the body is the session as it then is.
func (st *stage) do(ops ...string) answer {
	st.t.Helper()
	return st.get("/?ops=" + url.QueryEscape(strings.Join(ops, " ")))
}

// must is do, and fails the test unless the status is 200.
func (st *stage) must(ops ...string) answer {
	st.t.Helper()
	a := st.do(ops...)
	if a.StatusCode != http.StatusOK {
		st.t.Errorf("%q: got status %d, want 200: %s", ops, a.StatusCode, a.body)
	}
	return a
}

// hold is do for ops with the word hold. It returns once the handler is there;
// release lets the handler go on and returns the answer.
func (st *stage) hold(ops ...string) (release func() answer) {
	st.t.Helper()
	done := make(chan answer, 1)
	go func() { done <- st.do(ops...) }()
	select {
	case leave := <-st.gate:
		release = sync.OnceValue(func() answer {
			close(leave)
			return <-done
		})
	case a := <-done:
		st.t.Fatalf("%q: got an answer of status %d before the handler got there", ops, a.StatusCode)
	}
	st.t.Cleanup(func() { release() })
	return release
}

// gate holds whoever comes until the test lets it go on.
type gate chan chan struct{}

func (g gate) pass() {
	leave := make(chan struct{})
	g <- leave
	<-leave
}

// play does what the words of the query say and answers with the session.
func (g gate) play(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
	for _, op := range strings.Fields(r.FormValue("ops")) {
		word, rest, _ := strings.Cut(op, ":")
		name, value, _ := strings.Cut(rest, ":")
		switch word {
		case "hold":
			g.pass()
		case "set":
			redsession.Key[string](name).Set(s, value)
		case "del":
			redsession.Key[string](name).Delete(s)
		case "add":
			redsession.Key[int](name).Update(s, func(n int) int { return n + 1 })
		case "login":
			s.Login(name)
		case "remember":
			s.Login(name, redsession.RememberFor(2*time.Hour))
		case "flash":
			s.Flash(name)
		case "flashes":
			w.Header().Set("X-Flashes", strings.Join(s.Flashes(), " "))
		case "token":
			w.Header().Set("X-Token", s.Token())
		case "only":
			fmt.Fprint(w, describe(s, name))
			return
		case "save":
			if err := s.Save(r.Context()); err != nil {
				http.Error(w, err.Error(), statusOf(err))
				return
			}
		case "try":
			if err := s.Save(r.Context()); err != nil {
				w.Header().Set("X-Error", strconv.Itoa(statusOf(err)))
			}
		default:
			plainly[word](s)
		}
	}
	w.Header().Set("X-Id", s.ID())
	fmt.Fprint(w, describe(s, s.Keys()...))
}

var plainly = map[string]func(s *redsession.Session){
	"clear": (*redsession.Session).Clear, "logout": (*redsession.Session).Logout, "rotate": (*redsession.Session).Rotate,
	"csrf": func(s *redsession.Session) { s.CSRFToken() },
	"huge": func(s *redsession.Session) { redsession.Key[string]("huge").Set(s, strings.Repeat("x", 3000)) },
	"odd":  func(s *redsession.Session) { redsession.Key[func()]("odd").Set(s, func() {}) },
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, redsession.ErrGone):
		return http.StatusConflict
	case errors.Is(err, redsession.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// describe returns the user and the values: "alice cart=1 n=2".
func describe(s *redsession.Session, keys ...string) string {
	words := []string{s.UserID()}
	for _, k := range keys {
		if v, ok := redsession.Key[any](k).Get(s); ok {
			words = append(words, fmt.Sprintf("%s=%v", k, v))
		}
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// parallel runs fn n times at once.
func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			fn(i)
		})
	}
	close(begin)
	wg.Wait()
}

func TestLogoutEndsRequestsInFlight(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		st.must("login:alice set:memo:old")
		cookie := st.cookie()
		want := map[string]int{"hold": 200, "hold set:memo:late": 409, "hold add:n": 409, "hold logout": 200}
		late := map[string]func() answer{}
		for ops := range want {
			late[ops] = st.fork(cookie).hold(ops)
		}
		st.must("logout set:memo:new")
		for ops, release := range late {
			a := release()
			if a.StatusCode != want[ops] {
				t.Errorf("%q: got status %d, want %d", ops, a.StatusCode, want[ops])
			}
			if strings.Contains(ops, "logout") {
				continue // its client asked for the cookie to go
			}
			if len(a.setCookies()) != 0 {
				t.Errorf("%q: got cookies %v, want none", ops, a.setCookies())
			}
		}
		if got := st.do().body; got != "memo=new" {
			t.Errorf("the session begun at logout: got %q, want memo=new", got)
		}
		if got := len(e.dump(t)); got != 2 {
			t.Errorf("got %d keys with a value, want the tombstone and the new record", got)
		}
	})
}

func TestLoginWithAnotherRequestInFlight(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		for _, row := range []struct{ name, before, held, meanwhile, want, then string }{
			{"what was written before the login commits comes along", "set:a:0 add:n", "login:alice set:c:1 add:n", "set:b:1 add:n", "200 200", "alice a=0 b=1 c=1 n=3"},
			{"what comes after the login is refused", "set:a:0", "set:b:1", "login:alice", "409 200", "alice a=0"},
			{"a user's writes before another login come along", "login:alice set:a:0", "login:alice", "set:b:1", "200 200", "alice a=0 b=1"},
			{"another user does not get them", "login:alice set:a:0", "login:bob", "set:b:1", "200 200", "bob"},
			{"a login that comes after a logout starts empty", "set:a:0", "login:alice set:c:1", "logout", "200 200", "alice c=1"},
			{"a deletion before the login commits is kept", "set:a:0 set:b:0", "login:alice", "del:a", "200 200", "alice b=0"},
		} {
			st := root.fork("")
			st.must(row.before)
			other := root.fork(st.cookie())
			release := st.hold("hold " + row.held)
			meanwhile := other.do(row.meanwhile)
			held := release()
			if got := fmt.Sprint(held.StatusCode, meanwhile.StatusCode); got != row.want {
				t.Errorf("%s: got statuses %s, want %s", row.name, got, row.want)
			}
			if held.StatusCode != http.StatusOK {
				st = other
			}
			if got := st.do().body; got != row.then {
				t.Errorf("%s: got %q, want %q", row.name, got, row.then)
			}
		}
	})
}

// A login and a rotation take several commands. What another request writes
// between any two of them, and is told that it was kept, must come along.
func TestAWriteBetweenTheStepsOfANewIDComesAlong(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		slow, fast := newStage(t, m), newStage(t, e.manager(t))
		slow.must("login:warm add:n") // Redis knows the scripts from here on
		slow.must("add:n")
		for _, ops := range []string{"login:alice add:n", "rotate add:n"} {
			for step, pick := range []func([]string) bool{storesRecord, entersIndex, setsTombstone} {
				st := slow.fork("")
				st.must("set:a:0 add:n login:alice")
				st.must() // a rotated id is seen
				other := fast.fork(st.cookie())
				release := st.hold("hold " + ops)
				between := make(gate)
				var once sync.Once
				p.Reply(func(args []string) (string, bool) {
					if pick(args) {
						once.Do(between.pass)
					}
					return "", false
				})
				done := make(chan answer)
				go func() { done <- release() }()
				leave := <-between
				other.must("set:b:1 add:n")
				close(leave)
				if a := <-done; a.StatusCode != http.StatusOK {
					t.Errorf("%q, before step %d: got status %d, want 200", ops, step+1, a.StatusCode)
				}
				p.Reply(nil)
				if got := st.do().body; got != "alice a=0 b=1 n=3" {
					t.Errorf("%q, before step %d: got %q, want alice a=0 b=1 n=3", ops, step+1, got)
				}
			}
		}
	})
}

func TestTwoLoginsFromOneAnonymousSession(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		for _, users := range [][2]string{{"alice", "alice"}, {"alice", "bob"}} {
			st := root.fork("")
			st.must("set:cart:1")
			var browsers [2]*stage
			var release [2]func() answer
			for i := range browsers {
				browsers[i] = root.fork(st.cookie())
				release[i] = browsers[i].hold("hold login:" + users[i])
			}
			parallel(2, func(i int) {
				if a := release[i](); a.StatusCode != http.StatusOK || len(a.setCookies()) != 1 {
					t.Errorf("login %d: got %d and cookies %v, want 200 and one", i, a.StatusCode, a.setCookies())
				}
			})
			carried := 0
			for i, b := range browsers {
				switch got := b.do().body; got {
				case users[i]:
				case users[i] + " cart=1":
					carried++
				default:
					t.Errorf("login %d: got %q, want %s", i, got, users[i])
				}
			}
			if carried != 1 {
				t.Errorf("the anonymous session was carried over by %d logins, want 1", carried)
			}
			if got := st.do().body; got != "" {
				t.Errorf("the old cookie reads %q, want an anonymous session", got)
			}
		}
	})
}

func TestSaveInTheMiddle(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		root := newStage(t, m)
		root.must("set:warm:1")
		root.must("set:warm:2")
		for _, row := range []struct{ name, before, ops, meanwhile, want, commands string }{
			{"changes before and after", "add:n", "set:a:1 add:n save hold set:b:1 add:n", "", "a=1 b=1 n=3", "GET EXPIRE EVALSHA EVALSHA in 3"},
			{"another request's between them", "add:n", "set:a:1 add:n save hold set:b:1 add:n", "set:c:1 add:n", "a=1 b=1 c=1 n=4", ""},
			{"nothing after it", "add:n", "set:a:1 save hold", "", "a=1 n=1", "GET EXPIRE EVALSHA in 2"},
			{"a first write, and more", "", "set:a:1 save hold set:b:1", "", "a=1 b=1", "SETEX EVALSHA in 2"},
			{"a login after it", "add:n", "set:a:1 save hold login:alice", "", "alice a=1 n=1", ""},
			{"a clear after it", "add:n", "set:a:1 save hold clear set:b:1", "set:c:1", "b=1", ""},
			{"a save twice", "add:n", "add:n save save hold save", "", "n=2", "GET EXPIRE EVALSHA in 2"},
		} {
			st := root.fork("")
			st.must(row.before)
			other := root.fork(st.cookie())
			sent(p)
			release := st.hold(row.ops)
			if row.meanwhile != "" {
				other.must(row.meanwhile)
			}
			if a := release(); a.StatusCode != http.StatusOK || len(a.setCookies()) > 1 {
				t.Errorf("%s: got %d and cookies %v, want 200 and at most one", row.name, a.StatusCode, a.setCookies())
			}
			if got := sent(p); row.commands != "" && got != row.commands {
				t.Errorf("%s: got %q, want %q", row.name, got, row.commands)
			}
			if got := st.do().body; got != row.want {
				t.Errorf("%s: got %q, want %q", row.name, got, row.want)
			}
		}
	})
}

func TestSaveFromManyGoroutines(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		many := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			parallel(20, func(i int) {
				redsession.Key[int]("n").Update(s, func(n int) int { return n + 1 })
				redsession.Key[int](fmt.Sprint("k", i)).Set(s, i)
				if err := s.Save(r.Context()); err != nil {
					t.Errorf("Save: got %v, want nil", err)
				}
			})
			fmt.Fprint(w, describe(s, "n"))
		}
		st := newStage(t, e.manager(t), handlers{"/many": many})
		for i := range 3 { // first as a new session
			want := fmt.Sprintf("n=%d", (i+1)*20)
			if a := st.get("/many"); a.body != want {
				t.Errorf("in the handler: got %q, want %s", a.body, want)
			}
			got := st.do().body
			if n := strings.Count(got, "k"); n != 20 || !strings.Contains(got, want) {
				t.Errorf("got %q, want 20 keys and %s", got, want)
			}
		}
		login := st.fork("")
		login.must("login:alice")
		e.advance(t, 4*time.Hour) // a rotation is due
		if a := login.get("/many"); a.body != "alice n=20" || len(a.setCookies()) != 1 {
			t.Errorf("with a rotation: got %q and cookies %v, want alice n=20 and one", a.body, a.setCookies())
		}
	})
}

// Goroutines of one request may read while another saves. The race detector
// tells if that is not safe.
func TestReadingDuringASave(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		var armed atomic.Bool
		begun, read := make(chan struct{}), make(chan struct{})
		m, p := e.behind(t, func(c *redsession.Config) {
			c.Now = func() time.Time {
				if armed.CompareAndSwap(true, false) {
					close(begun) // the commit goes on meanwhile, up to Redis
				}
				return e.clock.Now()
			}
		})
		st := newStage(t, m, handlers{"/read": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
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
		st.must("login:alice set:a:1 set:b:2")
		p.Reply(func(args []string) (string, bool) {
			if storesRecord(args) {
				<-read
			}
			return "", false
		})
		if got := st.get("/read").body; got != "[a b]" {
			t.Errorf("got the keys %s, want [a b]", got)
		}
		if got := st.do().body; got != "alice a=1 b=2" {
			t.Errorf("got %q, want alice a=1 b=2", got)
		}
	})
}

func TestTheHandlerDecidesAfterAFailedSave(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		direct := newStage(t, e.manager(t))
		nothing := func(*stage, *redistest.Proxy) {}
		logout := func(other *stage, _ *redistest.Proxy) { other.must("logout") }
		down := func(_ *stage, p *redistest.Proxy) { p.CutRequest(func([]string) bool { return true }) }
		for _, row := range []struct {
			name, ops string
			meanwhile func(other *stage, p *redistest.Proxy)
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
			{"a logout, unavailable", "hold logout set:b:1 try", down, "503", 200, "alice a=1", "alice a=1"},
			{"a rotation, unavailable", "hold rotate try", down, "503", 200, "alice a=1", "alice a=1"},
			{"ended", "hold set:b:1 try", logout, "409", 200, "", ""},
			{"ended, and more", "hold set:b:1 try set:c:1", logout, "409", 409, "", ""},
			{"ended, and a login", "hold set:b:1 try login:alice set:c:1", logout, "409", 200, "alice c=1", "alice c=1"},
		} {
			m, p := e.behind(t, func(c *redsession.Config) { c.MaxBytes, c.Outage = 2000, redsession.FailClosed })
			st := newStage(t, m)
			st.must("login:alice set:a:1")
			release := st.hold(row.ops)
			row.meanwhile(direct.fork(st.cookie()), p)
			a := release()
			if got := a.Header.Get("X-Error"); got != row.reason && a.StatusCode == http.StatusOK || a.StatusCode != row.status {
				t.Errorf("%s: got the error %s of Save and then status %d, want %s and %d", row.name, got, a.StatusCode, row.reason, row.status)
			}
			if a.body != row.body && a.StatusCode == http.StatusOK {
				t.Errorf("%s: after Save the handler sees %q, want %q", row.name, a.body, row.body)
			}
			if got := direct.fork(st.cookie()).do().body; got != row.then {
				t.Errorf("%s: got %q, want %q", row.name, got, row.then)
			}
		}
	})
}

func TestAnUpdateRunsAgainOnlyOnConflict(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		var seen []int
		g := make(gate)
		root := newStage(t, e.manager(t), handlers{"/update": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			redsession.Key[string]("b").Set(s, "1")
			redsession.Key[int]("n").Update(s, func(old int) int {
				seen = append(seen, old)
				return old + 10
			})
			if user := r.FormValue("login"); user != "" {
				s.Login(user)
			}
			redsession.Key[string]("c").Set(s, "1")
			g.pass()
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
			st := root.fork("")
			st.must(row.before)
			other := root.fork(st.cookie())
			seen = nil
			done := make(chan answer)
			go func() { done <- st.get(row.path) }()
			leave := <-g
			if row.meanwhile != "" {
				other.must(row.meanwhile)
			}
			close(leave)
			if a := <-done; a.StatusCode != http.StatusOK || fmt.Sprint(seen) != row.seen {
				t.Errorf("%s: got %d and the function saw %v, want 200 and %s", row.name, a.StatusCode, seen, row.seen)
			}
			if got := st.do().body; got != row.then {
				t.Errorf("%s: got %q, want %q", row.name, got, row.then)
			}
		}
	})
}

// An update function may panic when it runs again on another value. That must
// not leave the request waiting for the commit that never ends.
func TestAPanicDuringACommitDoesNotHangTheRequest(t *testing.T) {
	m := newMini(t).manager(t)
	st := newStage(t, m)
	st.must("add:n")
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
		st.must("add:n")
		fmt.Fprint(w, "done")
	}))
	r, w, done := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder(), make(chan struct{})
	r.AddCookie(&http.Cookie{Name: "session", Value: st.cookie()})
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
	if got := st.do().body; got != "n=2" {
		t.Errorf("got %q, want n=2", got)
	}
}
