package redsession_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
)

func TestNothingIsLost(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t, patient))
		st.do("set:k:first")
		parallel(50, func(i int) { st.must(fmt.Sprintf("set:k%d:%d", i, i)) })
		if got := strings.Count(st.do().body, "="); got != 51 {
			t.Errorf("50 requests set a key each beside one: got %d keys, want 51", got)
		}
		parallel(60, func(int) { st.must("add:n") })
		if got := st.do("only:n").body; got != "n=60" {
			t.Errorf("60 parallel increments: got %q, want n=60", got)
		}
		for _, row := range []struct{ name, inFlight, meanwhile, want string }{
			{"sets of two keys are both kept", "set:b:1", "set:c:1", "a=0 b=1 c=1 n=5"},
			{"of two sets of one key the later wins", "set:a:late", "set:a:early", "a=late n=5"},
			{"a set outlives a deletion of another key", "set:b:1", "del:a", "b=1 n=5"},
			{"a deletion outlives a set of another key", "del:a", "set:b:1", "b=1 n=5"},
			{"a deletion after a set deletes", "del:a", "set:a:early", "n=5"},
			{"a clear takes what was set meanwhile", "clear set:b:1", "set:c:1 add:n", "b=1"},
			{"a set outlives a clear", "set:b:1", "clear", "b=1"},
			{"an update counts on from what a clear left", "add:n", "clear", "n=1"},
			{"an update after a set of its own is on top of it", "set:b:x del:n add:n", "add:n add:n", "a=0 b=x n=1"},
			{"updates add up", "add:n add:n", "add:n add:n add:n", "a=0 n=10"},
			{"what was set and deleted again was never there", "set:b:1 del:b", "add:n", "a=0 n=6"},
		} {
			st.do("clear set:a:0 add:n add:n add:n add:n add:n")
			release := st.hold("hold " + row.inFlight)
			st.must(row.meanwhile)
			if late := release(); late.StatusCode != http.StatusOK {
				t.Errorf("%s: got status %d, want 200", row.name, late.StatusCode)
			}
			if got := st.do().body; got != row.want {
				t.Errorf("%s: got %q, want %q", row.name, got, row.want)
			}
		}
	})
}

func TestNothingIsLostWhileTheIDRotates(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t, patient))
		st.must("login:alice")
		e.advance(t, 4*time.Hour)
		old := st.cookie()
		parallel(20, func(i int) { st.fork(old).must(fmt.Sprintf("add:n set:k%d:1", i)) })
		got := st.fork(old).do().body
		if n := strings.Count(got, "k"); n != 20 || !strings.Contains(got, "n=20") {
			t.Errorf("20 requests wrote while a rotation was due: got %q, want n=20 and 20 keys", got)
		}
	})
}

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
	{"logs in again", "login:alice", 200, 409},
	{"rotates", "rotate", 409, 409},
}

func TestNothingComesBack(t *testing.T) {
	const idle, absolute = time.Hour, 3 * time.Hour
	mortalRedis(t, func(t *testing.T, e *env) {
		for _, ending := range []struct {
			name     string
			idle     time.Duration
			survives string // what the browser that ended the session sees then
			end      func(m *redsession.Manager, st *stage, id string)
		}{
			{"logout", idle, "", func(_ *redsession.Manager, st *stage, _ string) { st.must("logout") }},
			{"logout, past its tombstone", idle, "", func(_ *redsession.Manager, st *stage, _ string) {
				st.must("logout")
				e.advance(t, 2*time.Minute)
			}},
			{"login", idle, "alice memo=old-data", func(_ *redsession.Manager, st *stage, _ string) { st.must("login:alice") }},
			{"expiry", idle, "", func(*redsession.Manager, *stage, string) { e.advance(t, idle+time.Second) }},
			{"deadline", absolute, "", func(*redsession.Manager, *stage, string) { e.advance(t, absolute+time.Second) }},
			{"revoke", idle, "", func(m *redsession.Manager, _ *stage, id string) {
				if err := m.Revoke(t.Context(), id); err != nil {
					t.Error(err)
				}
			}},
		} {
			m := e.manager(t, func(c *redsession.Config) { c.IdleTimeout, c.AbsoluteTimeout = ending.idle, absolute })
			st := newStage(t, m)
			for _, c := range comebacks {
				for _, user := range []string{"", "alice"} {
					t.Run(fmt.Sprintf("%s of %q, and a request %s", ending.name, user, c.act), func(t *testing.T) {
						c.run(t, e, st.in(t).fork(""), user, func(st *stage, id string) { ending.end(m, st, id) }, ending.survives)
					})
				}
			}
		}
	})
}

func (c comeback) run(t *testing.T, e *env, st *stage, user string, end func(st *stage, id string), survives string) {
	e.client.FlushAll(t.Context())
	want := c.anonymous
	if user != "" {
		st.must("login:" + user)
		want = c.user
	}
	id := st.must("set:memo:old-data flash:hello").Header.Get("X-Id")
	old := st.cookie()
	release := st.fork(old).hold("hold " + c.ops)
	end(st, id)
	late := release()
	if late.StatusCode != want {
		t.Errorf("got status %d, want %d", late.StatusCode, want)
	}
	cookies := late.setCookies()
	if c.ops == "login:alice" && want == http.StatusOK {
		if len(cookies) != 1 {
			t.Fatalf("a login of its own: got %d cookies, want 1", len(cookies))
		}
		if got := st.fork(cookies[0].Value).do().body; got != "alice" {
			t.Errorf("a login of its own: got %q, want alice with nothing of the old session", got)
		}
	} else if len(cookies) != 0 {
		t.Errorf("the late answer sets %v, want no cookie", cookies)
	}
	if got := st.fork(old).do().body; got != "" {
		t.Errorf("the old cookie reads %q, want an empty anonymous session", got)
	}
	if got := st.do().body; got != survives {
		t.Errorf("the browser that ended it reads %q, want %q", got, survives)
	}
	holding := 0
	for key, value := range e.dump(t) {
		if strings.Contains(value, "old-data") {
			holding++
			if key == "session:"+id {
				t.Errorf("the record is back under its old id: %s", value)
			}
		}
	}
	if want := min(len(survives), 1); holding != want {
		t.Errorf("got %d records with the old data, want %d", holding, want)
	}
}

func TestOneRoundTrip(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		st := newStage(t, m)
		for _, ops := range []string{"login:warm add:n", "add:n", "logout", "login:warm add:n"} {
			st.must(ops) // so that Redis knows the scripts
		}
		guest, user := st.fork(""), st.fork("")
		guest.must("set:a:1")
		user.must("set:a:1")
		sent(p)
		for _, row := range []struct {
			name string
			st   *stage
			ops  string
			want string
		}{
			{"no cookie costs nothing", st.fork(""), "", " in 0"},
			{"a garbage cookie costs nothing", st.fork("garbage"), "", " in 0"},
			{"a cookie that nobody signed costs nothing", st.fork(guest.cookie()[:len(guest.cookie())-4] + "AAAA"), "", " in 0"},
			{"a session that nobody wrote to is not stored", st.fork(""), "only:a flashes del:a clear save", " in 0"},
			{"a session whose writes were taken back is not stored", st.fork(""), "set:a:1 del:a", " in 0"},
			{"a logout of nobody costs nothing", st.fork(""), "logout", " in 0"},
			{"the first write is one SETEX", st.fork(""), "set:a:1", "SETEX in 1"},
			{"a read hit is one round trip", guest, "only:a flashes csrf save", "GET EXPIRE in 1"},
			{"a read hit of a user is one round trip", st, "only:n flashes csrf save", "GET EXPIRE in 1"},
			{"a write hit is one script more", guest, "set:a:2 set:b:1 add:n", "GET EXPIRE EVALSHA in 2"},
			{"a login without a session", st.fork(""), "login:alice set:a:1", "SETEX EVALSHA in 2"},
			{"a login with a session ends the old id last", user, "login:alice set:b:1", "GET EXPIRE SETEX EVALSHA EVALSHA in 4"},
			{"a rotation", user, "rotate", "any"},
			{"the first hit after a rotation writes once", user, "", "GET EXPIRE EVALSHA in 2"},
			{"the second hit after a rotation is one round trip", user, "", "GET EXPIRE in 1"},
			{"a logout", user, "logout", "GET EXPIRE EVALSHA ZREM in 3"},
			{"a logout of an anonymous session", guest, "logout", "GET EXPIRE EVALSHA in 2"},
		} {
			row.st.must(row.ops)
			if got := sent(p); got != row.want && row.want != "any" {
				t.Errorf("%s: got %q, want %q", row.name, got, row.want)
			}
		}
	})
}

func TestIDAtRestIsUseless(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		st := newStage(t, m)
		var cookies []string
		keep := func(a answer) {
			for _, c := range a.setCookies() {
				cookies = append(cookies, c.Value)
			}
		}
		keep(st.fork("").must("set:memo:anonymous"))
		keep(st.must("set:memo:x login:alice"))
		e.advance(t, 4*time.Hour)
		keep(st.must("set:memo:rotated"))
		ended := st.fork("")
		keep(ended.must("login:bob"))
		ended.must("logout")
		keep(st.fork(st.cookie()[:len(st.cookie())-1]).must("set:memo:unsigned"))
		if len(cookies) != 5 {
			t.Fatalf("got %d cookies, want 5", len(cookies))
		}
		sessions, err := m.Sessions(t.Context(), "alice")
		if err != nil || len(sessions) != 1 {
			t.Fatalf("got %d sessions, %v, want 1", len(sessions), err)
		}
		listed, _ := json.Marshal(sessions)
		rest := fmt.Sprint(e.dump(t), e.keys(t), string(listed), e.events.log(), e.events.list)
		for _, c := range cookies {
			for _, form := range secretForms(t, c) {
				if strings.Contains(rest, form) {
					t.Errorf("what Redis, the log and the list hold contains %q of a cookie", form)
				}
			}
		}
		for _, key := range e.keys(t) {
			for _, forged := range []string{strings.TrimPrefix(key, "session:"), key} {
				if got := st.fork(forged).do("only:memo").body; got != "" {
					t.Errorf("%q sent as a cookie reads %q, want an anonymous session", forged, got)
				}
			}
		}
	})
}

// secretForms returns what an attacker could make a cookie of.
func secretForms(t *testing.T, cookie string) []string {
	t.Helper()
	ring, err := record.NewRing([][]byte{secret})
	if err != nil {
		t.Fatal(err)
	}
	var ticket []byte
	codec := securecookie.New(ring[0].Cookie, nil).SetSerializer(securecookie.NopEncoder{}).MaxAge(0)
	if err := codec.Decode("session", cookie, &ticket); err != nil {
		t.Fatal(err)
	}
	sid := ticket[:32]
	forms := []string{cookie, string(sid), hex.EncodeToString(sid), strings.Trim(strconv.Quote(string(sid)), `"`)}
	for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		forms = append(forms, enc.EncodeToString(sid), enc.EncodeToString(ticket))
	}
	return slices.Compact(forms)
}

func TestWhatRedisSaysIsChecked(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, func(c *redsession.Config) { c.Outage = redsession.FailClosed }) // so that no memory hides a failure
		st := newStage(t, m)
		for _, row := range forgeries {
			t.Run(row.name+", at load", func(t *testing.T) { row.atLoad(t, e, st.in(t).fork("")) })
			t.Run(row.name+", at logout", func(t *testing.T) { row.atLogout(t, e, st.in(t).fork("")) })
			t.Run(row.name+", at commit", func(t *testing.T) { row.atCommit(t, e, st.in(t).fork("")) })
		}
	})
}

func (f forgery) atLoad(t *testing.T, e *env, st *stage) {
	st.must("login:alice set:memo:old-data")
	key := f.over(t, e, st)
	planted := e.content(t, key)
	if a := st.do(); a.StatusCode != http.StatusOK || a.body != "" || len(a.setCookies()) != 0 {
		t.Errorf("got %d, %q and cookies %v, want 200, an empty session and no cookie", a.StatusCode, a.body, a.setCookies())
	}
	if n := len(e.events.of(redsession.EventRefused)); n != 1 {
		t.Errorf("got %d events of a refusal, want 1", n)
	}
	a := st.do("set:memo:new")
	if a.StatusCode != http.StatusOK || len(a.setCookies()) != 1 || "session:"+a.Header.Get("X-Id") == key {
		t.Errorf("the next write: got %d, cookies %v and id %q, want 200 and one cookie of another id", a.StatusCode, a.setCookies(), a.Header.Get("X-Id"))
	}
	if got := e.content(t, key); got != planted {
		t.Errorf("the next write left %.200q under the planted key, want it untouched: %.200q", got, planted)
	}
	if got := st.do().body; got != "memo=new" {
		t.Errorf("after the next write: got %q, want memo=new", got)
	}
}

// atCommit plants while a request is between its load and its commit.
func (f forgery) atCommit(t *testing.T, e *env, st *stage) {
	st.must("login:alice set:memo:old-data")
	release := st.hold("hold set:memo:new")
	key := f.over(t, e, st)
	planted := e.content(t, key)
	late := release()
	if f.sameRevision { // the write goes over it, and nothing of it is believed
		if got := st.do().body; late.StatusCode != http.StatusOK || got != "alice memo=new" {
			t.Errorf("got %d, and then %q, want 200 and alice memo=new", late.StatusCode, got)
		}
		return
	}
	if late.StatusCode != http.StatusConflict || len(late.setCookies()) != 0 {
		t.Errorf("got %d and cookies %v, want 409 and none: the change is not kept", late.StatusCode, late.setCookies())
	}
	if n := len(e.events.of(redsession.EventRefused)); n != 1 {
		t.Errorf("got %d events of a refusal, want 1", n)
	}
	if got := e.content(t, key); got != planted {
		t.Errorf("got %.200q under the planted key, want it untouched: %.200q", got, planted)
	}
}

func (f forgery) atLogout(t *testing.T, e *env, st *stage) {
	st.must("login:alice set:memo:old-data")
	old := st.cookie()
	release := st.fork(old).hold("hold logout")
	f.over(t, e, st)
	if a := release(); a.StatusCode != http.StatusOK || len(a.setCookies()) != 1 || a.setCookies()[0].MaxAge >= 0 {
		t.Errorf("got %d and cookies %v, want 200 and the cookie expired", a.StatusCode, a.setCookies())
	}
	if got := st.fork(old).do().body; got != "" {
		t.Errorf("the old cookie reads %q, want an anonymous session", got)
	}
}

func TestLoginAndLogoutRotate(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		for _, row := range []struct{ name, before, ops, want string }{
			{"a login carries an anonymous session over", "set:cart:1 flash:hi", "login:alice", "alice cart=1"},
			{"a login keeps what is set before and after it", "set:cart:1", "set:a:1 login:alice set:b:1", "alice a=1 b=1 cart=1"},
			{"a login of the same user keeps the data", "login:alice set:cart:1", "login:alice", "alice cart=1"},
			{"a login as another user starts empty", "login:alice set:cart:1", "set:a:1 login:bob set:b:1", "bob b=1"},
			{"a login as another user in between starts empty", "login:alice set:cart:1", "login:bob login:alice", "alice"},
			{"a logout leaves nothing", "login:alice set:cart:1", "set:a:1 logout", ""},
			{"what is set after a logout stays", "login:alice set:cart:1", "logout set:a:1", "a=1"},
			{"a logout of an anonymous session leaves nothing", "set:cart:1", "logout", ""},
			{"a login after a logout starts empty", "login:alice set:cart:1", "logout login:alice set:a:1", "alice a=1"},
			{"a logout after a login leaves nothing", "set:cart:1", "login:alice set:a:1 logout", ""},
			{"a login, a save and a logout", "set:cart:1", "login:alice save logout", ""},
			{"a logout, a save and a login", "login:alice set:cart:1", "logout save login:bob", "bob"},
		} {
			st := root.fork("")
			first := st.must(row.before + " token")
			old := st.cookie()
			tokens := []string{first.Header.Get("X-Token"), st.do("token").Header.Get("X-Token")}
			a := st.must(row.ops)
			if n := len(a.setCookies()); n != 1 {
				t.Errorf("%s: got %d cookies, want exactly one", row.name, n)
			}
			if got := root.fork(old).do().body; got != "" {
				t.Errorf("%s: the old cookie reads %q, want an anonymous session at once", row.name, got)
			}
			now := st.do("token")
			if now.body != row.want {
				t.Errorf("%s: got %q, want %q", row.name, now.body, row.want)
			}
			if id := now.Header.Get("X-Id"); id == first.Header.Get("X-Id") || st.cookie() == old {
				t.Errorf("%s: got the id %q again, want another id and cookie", row.name, id)
			}
			if slices.Contains(tokens, now.Header.Get("X-Token")) && row.want != "" {
				t.Errorf("%s: the token is as before, want another", row.name)
			}
		}
	})
}

func TestFlashesSurviveLoginAndLogout(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		st.must("flash:guest")
		st.must("flash:in login:alice")
		st.must("set:cart:1 flash:out logout flash:bye")
		if got, want := st.do("flashes").Header.Get("X-Flashes"), "guest in out bye"; got != want {
			t.Errorf("got the flashes %q, want %q", got, want)
		}
		if a := st.do("flashes"); a.Header.Get("X-Flashes") != "" || a.body != "" {
			t.Errorf("got %q and the flashes %q, want nothing left", a.body, a.Header.Get("X-Flashes"))
		}
	})
}

func TestARepeatedLoginSucceeds(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		root.must("set:cart:1")
		cookie := root.cookie()
		first, second := root.fork(cookie), root.fork(cookie)
		release := second.hold("hold login:alice")
		first.must("login:alice")
		if a := release(); a.StatusCode != http.StatusOK {
			t.Errorf("the second click: got status %d, want 200", a.StatusCode)
		}
		third := root.fork(cookie) // as if no answer had come
		third.must("login:alice")
		e.advance(t, time.Hour) // the tombstone has gone
		fourth := root.fork(cookie)
		fourth.must("login:alice")
		for i, st := range []*stage{first, second, third, fourth} {
			want := "alice"
			if i == 0 {
				want = "alice cart=1" // the others start from empty
			}
			if got := st.do().body; got != want {
				t.Errorf("login %d: got %q, want %q", i+1, got, want)
			}
		}
	})
}

func TestLoginOfNobodyPanics(t *testing.T) {
	st := newStage(t, newMini(t).manager(t), handlers{"/nobody": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		defer func() { fmt.Fprint(w, recover()) }()
		s.Login("")
	}})
	if got := st.get("/nobody"); !strings.Contains(got.body, "Login") || len(got.setCookies()) != 0 {
		t.Errorf("got %q and cookies %v, want a panic and none", got.body, got.setCookies())
	}
}

// content is what lies under key, whatever its type.
func (e *env) content(t *testing.T, key string) string {
	t.Helper()
	ctx := t.Context()
	switch kind := e.client.Type(ctx, key).Val(); kind {
	case "hash":
		return fmt.Sprint(kind, e.client.HGetAll(ctx, key).Val())
	case "list":
		return fmt.Sprint(kind, e.client.LRange(ctx, key, 0, -1).Val())
	default:
		return kind + " " + e.client.Get(ctx, key).Val()
	}
}

// forgery is what somebody with access to Redis puts under a session's key.
type forgery struct {
	name         string
	sameRevision bool
	plant        func(ctx context.Context, c redis.Cmdable, key string, s spoils)
}

// spoils is what that somebody finds in Redis.
type spoils struct{ own, otherKey, other, tombstone string }

var forgeries = []forgery{
	{"JSON of another program", false, writing(func(spoils) string { return `{"user":"root","admin":true}` })},
	{"JSON that looks like a record", false, writing(func(spoils) string {
		return `{"v":"AAAAAAAA","c":1,"x":9999999999,"i":9999,"u":"root","d":{},"t":"AAAAAAAAAAAAAAAAAAAAAA"}`
	})},
	{"an altered revision", false, writing(func(s spoils) string { return flip(s.own, 8) })},
	{"an altered user", true, writing(func(s spoils) string { return strings.Replace(s.own, `"alice"`, `"admin"`, 1) })},
	{"altered data", true, writing(func(s spoils) string { return strings.Replace(s.own, "old-data", "own-data", 1) })},
	{"an altered token", true, writing(func(s spoils) string { return flip(s.own, len(s.own)-10) })},
	{"a record without its end", true, writing(func(s spoils) string { return s.own[:len(s.own)-1] })},
	{"another session's record", false, writing(func(s spoils) string { return s.other })},
	{"another session's tombstone", false, writing(func(s spoils) string { return s.tombstone })},
	{"two records swapped", false, func(ctx context.Context, c redis.Cmdable, key string, s spoils) {
		c.Set(ctx, key, s.other, time.Hour)
		c.Set(ctx, s.otherKey, s.own, time.Hour)
	}},
	{"garbage", false, writing(func(spoils) string { return "\x00\xff{\"v\":\"\r\n" })},
	{"one character", false, writing(func(spoils) string { return "{" })},
	{"an empty string", false, writing(func(spoils) string { return "" })},
	{"a megabyte of garbage", false, writing(func(spoils) string { return strings.Repeat(`{"v":"AA`, 1<<17) })},
	{"a hash", false, func(ctx context.Context, c redis.Cmdable, key string, _ spoils) { c.HSet(ctx, key, "u", "root") }},
	{"a list", false, func(ctx context.Context, c redis.Cmdable, key string, _ spoils) { c.RPush(ctx, key, "root") }},
}

func writing(of func(s spoils) string) func(context.Context, redis.Cmdable, string, spoils) {
	return func(ctx context.Context, c redis.Cmdable, key string, s spoils) { c.Set(ctx, key, of(s), time.Hour) }
}

// flip alters one character of raw.
func flip(raw string, at int) string {
	b := []byte(raw)
	b[at] ^= 1
	return string(b)
}

// over plants the forgery over the session of st, and returns its key. Events
// are counted from then on.
func (f forgery) over(t *testing.T, e *env, st *stage) (key string) {
	t.Helper()
	ctx := t.Context()
	own := "session:" + st.must().Header.Get("X-Id")
	other, ended := st.fork(""), st.fork("")
	otherKey := "session:" + other.must("login:mallory set:memo:planted").Header.Get("X-Id")
	endedKey := "session:" + ended.must("login:mallory").Header.Get("X-Id")
	ended.must("logout")
	values := e.dump(t)
	e.client.Del(ctx, own)
	f.plant(ctx, e.client, own, spoils{values[own], otherKey, values[otherKey], values[endedKey]})
	e.client.Expire(ctx, own, time.Hour)
	if e.client.Exists(ctx, own).Val() != 1 || len(values[endedKey]) == 0 {
		t.Fatal("nothing was planted")
	}
	e.events.mu.Lock()
	defer e.events.mu.Unlock()
	e.events.list = nil
	return own
}
