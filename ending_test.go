package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// latch is a go-redis hook that holds back one exchange with Redis.
type latch struct {
	mu      sync.Mutex
	left    int // exchanges until the one that is held back
	reached chan struct{}
	open    chan struct{}
}

func (l *latch) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *latch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.pass(cmd)
		return next(ctx, cmd)
	}
}

func (l *latch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		l.pass(cmds[0])
		return next(ctx, cmds)
	}
}

func (l *latch) pass(cmd redis.Cmder) {
	switch cmd.Name() {
	case "hello", "client", "ping", "select", "auth", "cluster", "command", "asking": // of the connection
		return
	}
	l.mu.Lock()
	l.left--
	hold, reached, open := l.left == 0, l.reached, l.open
	l.mu.Unlock()
	if hold {
		close(reached)
		<-open
	}
}

// between runs first, and second before first's nth exchange with Redis. It
// reports false if first has fewer, and has then run first alone.
func (l *latch) between(n int, first, second func()) bool {
	l.mu.Lock()
	l.left, l.reached, l.open = n, make(chan struct{}), make(chan struct{})
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		first()
	}()
	select {
	case <-l.reached:
		second()
		close(l.open)
		<-done
		return true
	case <-done:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.left = 0
		return false
	}
}

// hooked makes a Manager whose exchanges with Redis pass through hook.
func (e *env) hooked(t *testing.T, hook redis.Hook, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	client := e.newClient(t)
	client.AddHook(hook)
	return e.manager(t, append(change, func(c *redsession.Config) { c.URL, c.Client = "", client })...)
}

// scene is a session of alice's that is due for rotation on the first server,
// and who may end it on the second.
type scene struct {
	t       *testing.T
	admin   *redsession.Manager
	owner   *browser // of the session
	old, id string   // its cookie and id before the rotation
	visitor *browser // without a cookie, on the second server
	fellow  *browser // logged in as alice too, on the second server
}

// stageScene makes Redis empty and sets a new scene.
func stageScene(t *testing.T, e *env, first, second *browser, admin *redsession.Manager, fellow bool) *scene {
	t.Helper()
	if err := e.client.FlushDB(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, admin: admin, owner: first.fresh(), visitor: second.fresh(), fellow: second.fresh()}
	sc.owner.get("/login?user=alice")
	sc.old, sc.id = sc.owner.cookie(), sc.owner.state().ID
	e.advance(t, 3*time.Hour)
	if fellow {
		sc.fellow.get("/login?user=alice")
	}
	return sc
}

// fresh returns a browser of its own without a cookie.
func (b *browser) fresh() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	client := *b.http
	client.Jar = jar
	return &browser{b.t, b.base, &client}
}

// users tells as whom the cookies that the owner ever had are served, on both
// servers.
func (sc *scene) users() string {
	var users []string
	for _, server := range []*browser{sc.owner, sc.visitor} {
		for _, cookie := range []string{sc.old, sc.owner.cookie()} {
			if cookie != "" {
				users = append(users, server.with(cookie).get("/who").body)
			}
		}
	}
	slices.Sort(users)
	return strings.Join(slices.Compact(users), ",")
}

// records counts alice's sessions in Redis, whether the index has them or not.
func (sc *scene) records() (n int) {
	for i, err := range sc.admin.All(context.Background()) {
		if err != nil {
			sc.t.Error(err)
		}
		if i.UserID == "alice" {
			n++
		}
	}
	return n
}

// endings lists every way to end a session of alice's.
var endings = []struct {
	name   string
	limit  int  // MaxPerUser
	fellow bool // alice has another session
	stays  int  // sessions of hers that are left
	end    func(sc *scene) error
}{
	{"logout", 0, true, 1, func(sc *scene) error { sc.visitor.with(sc.old).get("/logout"); return nil }},
	{"Revoke", 0, true, 1, func(sc *scene) error { return sc.admin.Revoke(context.Background(), sc.id) }},
	{"RevokeOf", 0, true, 1, func(sc *scene) error { return sc.want(sc.admin.RevokeOf(context.Background(), "alice", sc.id)) }},
	{"RevokeUser", 0, true, 0, func(sc *scene) error { return second(sc.admin.RevokeUser(context.Background(), "alice")) }},
	{"RevokeOthers", 0, true, 1, func(sc *scene) error { sc.fellow.get("/others"); return nil }},
	{"RevokeAll", 0, true, 0, func(sc *scene) error { return second(sc.admin.RevokeAll(context.Background())) }},
	{"RevokeAll when there is one session", 0, false, 0, func(sc *scene) error { return second(sc.admin.RevokeAll(context.Background())) }},
	{"a login beyond MaxPerUser", 1, false, 1, func(sc *scene) error { sc.visitor.get("/login?user=alice"); return nil }},
}

func (sc *scene) want(found bool, err error) error {
	if err == nil && !found {
		err = errors.New("got false, want true: the session lived")
	}
	return err
}

func second[T any](_ T, err error) error { return err }

// others ends the user's other sessions and says how many.
func others(t *testing.T, m *redsession.Manager) handlers {
	return handlers{"/others": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		n, err := m.RevokeOthers(r.Context(), s)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, n)
	}}
}

// TestEndingsReachASessionThatIsJustRotating runs each ending in each gap
// between two exchanges of a rotation with Redis, and a whole rotation in each
// gap of the ending.
func TestEndingsReachASessionThatIsJustRotating(t *testing.T) {
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				limit := func(c *redsession.Config) { c.MaxPerUser = tt.limit }
				rotation, ending := &latch{}, &latch{}
				one, two := e.hooked(t, rotation, limit), e.hooked(t, ending, limit)
				first, other := alive(t, one, nil), alive(t, two, others(t, two))
				requests := []string{"/who", "/set?v=late"}
				if e.mini == nil {
					requests = requests[1:] // to save time: it rotates and writes
				}
				for _, request := range requests {
					for _, held := range []*latch{rotation, ending} {
						gaps := 0
						for ; ; gaps++ {
							sc := stageScene(t, e, first, other, two, tt.fellow)
							var a answer
							var err error
							rotate, end := func() { a = sc.owner.get(request) }, func() { err = tt.end(sc) }
							when := fmt.Sprintf("%s held before exchange %d, the ending within", request, gaps+1)
							if held == ending {
								rotate, end = end, rotate
								when = fmt.Sprintf("the ending held before exchange %d, %s within", gaps+1, request)
							}
							if !held.between(gaps+1, rotate, end) {
								break
							}
							sc.wantEnded(when, request, a, err, tt.stays)
						}
						if gaps < 2 {
							t.Errorf("%s: got %d gaps, want more to try", request, gaps)
						}
					}
				}
			})
		})
	}
}

func (sc *scene) wantEnded(when, request string, a answer, err error, stays int) {
	sc.t.Helper()
	if err != nil {
		sc.t.Errorf("%s: %v", when, err)
	}
	if lost := a.StatusCode == http.StatusConflict && request != "/who"; a.StatusCode != http.StatusOK && !lost {
		sc.t.Errorf("%s: got %d for the request that rotates, want 200, or 409 for a lost write", when, a.StatusCode)
	}
	if got := sc.users(); got != "" {
		sc.t.Errorf("%s: got the session of %q, want it ended", when, got)
	}
	if got := sc.records(); got != stays {
		sc.t.Errorf("%s: got %d records of the user's, want %d", when, got, stays)
	}
}

func TestAnIDFromManyRotationsAgoEndsTheSession(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(a *redsession.Admin, id string) error
	}{
		{"Revoke", func(a *redsession.Admin, id string) error { return a.Revoke(context.Background(), id) }},
		{"RevokeOf", func(a *redsession.Admin, id string) error {
			return second(a.RevokeOf(context.Background(), "alice", id))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newMini(t)
			m := e.manager(t, func(c *redsession.Config) { c.RotateEvery = time.Hour })
			b := alive(t, m, nil)
			b.get("/login?user=alice")
			id := b.state().ID
			for range 12 {
				e.advance(t, time.Hour)
				b.get("/who") // rotates
				b.get("/who") // shows the new cookie
			}
			if err := tt.end(m.Admin, id); err != nil {
				t.Error(err)
			}
			if got := b.get("/who").body; got != "" || len(e.events.of(redsession.EventRotated)) != 12 {
				t.Errorf("got user %q after %d rotations, want none", got, len(e.events.of(redsession.EventRotated)))
			}
		})
	}
}

func TestASessionCountsOnceTowardsMaxPerUserWhileItRotates(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		limit := func(c *redsession.Config) { c.MaxPerUser = 2 }
		rotation := &latch{}
		one, two := e.hooked(t, rotation, limit), e.manager(t, limit)
		first, other := alive(t, one, nil), alive(t, two, nil)
		for n, more := 1, true; more; n++ {
			sc := stageScene(t, e, first, other, two, false)
			more = rotation.between(n, func() { sc.owner.get("/who") }, func() { sc.visitor.get("/login?user=alice") })
			if got := sc.users(); got != "alice" {
				t.Errorf("a second login before exchange %d of the rotation: got the first session of %q, want it alive", n, got)
			}
		}
	})
}

func TestRevokeOthersSparesItsOwnSuccessor(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		rotation, ending := &latch{}, &latch{}
		one, two := e.hooked(t, rotation), e.hooked(t, ending)
		first, other := alive(t, one, nil), alive(t, two, others(t, two))
		for _, held := range []*latch{rotation, ending} {
			for n, more := 1, true; more; n++ {
				sc := stageScene(t, e, first, other, two, true)
				ended := "1"
				rotate, end := func() { sc.owner.get("/who") }, func() { ended = sc.visitor.with(sc.old).get("/others").body }
				if held == ending {
					rotate, end = end, rotate
				}
				more = held.between(n, rotate, end)
				if got := sc.users(); got != "alice" || ended != "1" {
					t.Errorf("exchange %d: got the session of %q and %s others ended, want alice's and 1", n, got, ended)
				}
				if got := sc.fellow.get("/who").body; got != "" && more {
					t.Errorf("exchange %d: got the other session of %q, want it ended", n, got)
				}
			}
		}
	})
}

// stamps is a Config.UserStamp that tests change.
type stamps struct {
	mu    sync.Mutex
	stamp string
	err   error
}

func (st *stamps) of(context.Context, string) (string, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stamp, st.err
}

func (st *stamps) set(stamp string, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stamp, st.err = stamp, err
}

func (st *stamps) configure(c *redsession.Config) { c.UserStamp = st.of }

func TestAChangedPasswordEndsEverySessionButTheOneThatLogsInAgain(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		st := &stamps{stamp: "v1"}
		m := e.manager(t, st.configure)
		b := alive(t, m, handlers{"/password": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			st.set("v2", nil)
			s.Login("alice")
			n, err := m.RevokeOthers(r.Context(), s)
			fmt.Fprint(w, n, err)
		}})
		server := alive(t, e.manager(t, st.configure), nil)
		b.play(e, "/login?user=alice", "/set?v=kept", "/rotate")
		var rest []*browser
		for _, at := range []*browser{b, server, server} {
			other := at.fresh()
			other.get("/login?user=alice")
			rest = append(rest, other)
		}
		st.set("v2", nil)
		if a := rest[0].get("/who"); a.StatusCode != http.StatusOK || a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("got %d, user %q and %d Set-Cookie after the change, want 200, nobody and none", a.StatusCode, a.body, len(a.setCookies()))
		}
		st.set("v1", nil)
		if a := b.get("/password"); a.body != "2 <nil>" {
			t.Errorf("got %q, want 2 other sessions ended", a.body)
		}
		for i, other := range rest {
			if got := other.get("/who").body; got != "" {
				t.Errorf("session %d: got user %q after the change, want none", i, got)
			}
		}
		for range 2 {
			if got := b.state(); got.User != "alice" || got.Note != "kept" {
				t.Errorf("got user %q, note %q in the session that changed the password, want alice, kept", got.User, got.Note)
			}
			b.play(e, "+3h", "/who") // and its successor
		}
		if n, err := m.Count(context.Background()); n != 1 || err != nil {
			t.Errorf("got %d sessions, %v, want 1", n, err)
		}
	})
}

func TestAThiefInFlightOverAPasswordChangeCannotResealTheSession(t *testing.T) {
	for _, tt := range []struct {
		name, begin string
		do          func(s *redsession.Session)
	}{
		{"by a write", "/login?user=alice", func(s *redsession.Session) { s.KeepID(); lifeNote.Set(s, "mine") }},
		{"by a timed rotation", "/login?user=alice", func(*redsession.Session) {}},
		{"by Rotate and a write", "/login?user=alice", func(s *redsession.Session) { s.Rotate(); lifeNote.Set(s, "mine") }},
		{"by completing a half-open login", "/half?user=alice", func(s *redsession.Session) { s.Promote() }},
		{"by Save and a second write", "/login?user=alice", func(s *redsession.Session) {
			lifeNote.Set(s, "mine")
			_ = s.Save(context.Background())
			lifeNote.Set(s, "mine again")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, st := newMini(t), &stamps{stamp: "v1"}
			thief := alive(t, e.manager(t, st.configure), handlers{"/steal": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				st.set("v2", nil)
				tt.do(s)
			}})
			thief.get(tt.begin)
			if tt.name == "by a timed rotation" {
				e.advance(t, 3*time.Hour)
			}
			old := thief.cookie()
			thief.get("/steal")
			for _, cookie := range []string{old, thief.cookie()} {
				if got := thief.with(cookie).get("/who").body; got != "" {
					t.Errorf("got user %q after the change, want none", got)
				}
			}
		})
	}
}

func TestALoginUnderWayOverAPasswordChangeDoesNotStand(t *testing.T) {
	for _, tt := range []struct{ name, begin string }{
		{"from no session", "/who"},
		{"from an anonymous session", "/set?v=1"},
		{"from a session of the user's", "/login?user=alice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, st := newMini(t), &stamps{stamp: "v1"}
			m := e.manager(t, st.configure)
			thief := alive(t, m, handlers{"/steal": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				s.Login("alice") // the password was right a moment ago
				st.set("v2", nil)
				if _, err := m.RevokeUser(r.Context(), "alice"); err != nil {
					t.Error(err)
				}
			}})
			thief.get(tt.begin)
			thief.get("/steal")
			if got := thief.get("/who").body; got != "" {
				t.Errorf("got user %q after the change, want none", got)
			}
		})
	}
}

func TestAFailingUserStampLogsNobodyOut(t *testing.T) {
	e, st := newMini(t), &stamps{stamp: "v1"}
	b := alive(t, e.manager(t, st.configure), nil)
	b.get("/login?user=alice")
	b.get("/rotate")
	st.set("", errors.New("the database is away"))
	for _, try := range []struct {
		b    *browser
		path string
	}{{b, "/who"}, {b, "/set?v=1"}, {b.fresh(), "/login?user=alice"}} {
		a := try.b.get(try.path)
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.setCookies()) != 0 {
			t.Errorf("%s: got %d and %d Set-Cookie, want 503 with Retry-After and none", try.path, a.StatusCode, len(a.setCookies()))
		}
	}
	st.set("v1", nil)
	if got := b.get("/who").body; got != "alice" {
		t.Errorf("got user %q afterwards, want alice", got)
	}
}

// The record takes the present stamp at its load, and the password changes after.
func TestALoginOverARecordWithoutAStampTakesTheStampOfTheLogin(t *testing.T) {
	e, st := newMini(t), &stamps{stamp: "v1"}
	before := alive(t, e.manager(t), nil)
	before.get("/login?user=alice")
	b := alive(t, e.manager(t, st.configure), handlers{"/password": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		st.set("v2", nil)
		s.Login("alice")
	}}).with(before.cookie())
	b.get("/password")
	if got := b.get("/who").body; got != "alice" {
		t.Errorf("got user %q, want alice, who has just logged in", got)
	}
}

func TestARecordWithAnotherKindOfStampTakesThePresentOne(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after [][]byte // secrets
		stamped       bool     // before
	}{
		{"without a stamp", [][]byte{secret}, [][]byte{secret}, false},
		{"stamped under an older secret", [][]byte{secret}, [][]byte{newerSecret, secret}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, st := newMini(t), &stamps{stamp: "v1"}
			before := alive(t, e.manager(t, func(c *redsession.Config) {
				if c.Secrets = tt.before; tt.stamped {
					st.configure(c)
				}
			}), nil)
			before.get("/login?user=alice")
			after := alive(t, e.manager(t, func(c *redsession.Config) { c.Secrets = tt.after }, st.configure), nil).with(before.cookie())
			token := before.state().Token
			for range 2 {
				if got := after.state(); got.User != "alice" {
					t.Errorf("got user %q, want alice", got.User)
				}
			}
			if got := after.state().Token; !tt.stamped && got == token {
				t.Errorf("got the record as it was, want it to keep the present stamp")
			}
			after.get("/set?v=1")
			if got := after.state(); got.User != "alice" {
				t.Errorf("got user %q after a write, want alice", got.User)
			}
			st.set("v2", nil)
			if got := after.get("/who").body; got != "" {
				t.Errorf("got user %q after the change, want none", got)
			}
		})
	}
}

var newerSecret = []byte("fedcba9876543210fedcba9876543210")
