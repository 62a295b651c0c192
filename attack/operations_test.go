package attack_test

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/keyspace"
)

func all(hs ...handler) handler {
	return func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		for _, h := range hs {
			h(w, r, s)
		}
	}
}

func login(user string, opts ...redsession.LoginOption) handler {
	return func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login(user, opts...) }
}

func logout(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Logout() }

func rotate(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Rotate() }

func set(key, value string) handler {
	return func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		redsession.Key[string](key).Set(s, value)
	}
}

func add(key string) handler {
	return func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		redsession.Key[int](key).Update(s, func(n int) int { return n + 1 })
	}
}

// operations are what design.md, section 6 to 8, promises to survive.
var operations = map[string]operation{
	"login without a session": {
		prepare: func(*scene) []string { return nil },
		run:     func(c *crashing) { c.ask("", nil, all(set("b", "1"), login("alice"))) },
		check: func(sc *scene, d death) {
			if cookie, ok := d.acknowledged(0); ok {
				sc.sees("the new login", cookie, "alice b=1")
			}
		},
	},
	"login on an anonymous session": {
		prepare: func(sc *scene) []string { return []string{sc.anonymous()} },
		run:     func(c *crashing) { c.ask(c.Cookies[0], nil, login("alice")) },
		check:   checkLogin,
	},
	"login beyond the limit": {
		prepare: func(sc *scene) (cookies []string) {
			for range crashLimit {
				cookies = append(cookies, sc.login("alice"))
			}
			return cookies
		},
		run: func(c *crashing) { c.ask("", nil, login("alice")) },
		check: func(sc *scene, d death) {
			if cookie, ok := d.acknowledged(0); ok {
				sc.sees("the new login", cookie, "alice")
				sc.sees("the oldest login", d.cookies[0], "")
			}
			for _, cookie := range d.cookies[1:] {
				sc.sees("a login within the limit", cookie, "alice")
			}
		},
	},
	"second factor": {
		prepare: func(sc *scene) []string {
			var b browser
			sc.must(b.send(context.Background(), sc.m, all(set("a", "1"), login("alice", redsession.Pending()))))
			return []string{b.cookie}
		},
		run: func(c *crashing) {
			c.ask(c.Cookies[0], nil, func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Promote() })
		},
		check: func(sc *scene, d death) {
			if cookie, ok := d.acknowledged(0); ok {
				sc.sees("the promoted login", cookie, "alice a=1")
				sc.sees("the half-open login", d.cookies[0], "")
			}
			sc.sees("the half-open login", d.cookies[0], "half:alice a=1", "")
		},
	},
	"timed rotation": {
		later:   4 * time.Hour,
		prepare: func(sc *scene) []string { return []string{sc.login("alice", set("a", "1"))} },
		run:     func(c *crashing) { c.ask(c.Cookies[0], nil, set("b", "1")) },
		check:   checkRotation,
	},
	"logout": {
		prepare: func(sc *scene) []string { return []string{sc.login("alice", set("a", "1"))} },
		run:     func(c *crashing) { c.ask(c.Cookies[0], nil, all(logout, set("b", "1"))) },
		check: func(sc *scene, d death) {
			if cookie, ok := d.acknowledged(0); ok {
				sc.sees("the old cookie", d.cookies[0], "")
				sc.sees("what began at logout", cookie, "b=1")
			}
			sc.sees("the old cookie", d.cookies[0], "alice a=1", "")
		},
	},
	"logout with a rotated cookie": {
		prepare: rotated,
		run:     func(c *crashing) { c.ask(c.Cookies[0], nil, logout) },
		check:   checkEnded,
	},
	"revoke a rotated id": {
		prepare: rotated,
		run:     func(c *crashing) { c.note(c.m.Revoke(context.Background(), publicID(c.Cookies[0]))) },
		check: func(sc *scene, d death) {
			checkEnded(sc, d)
			if err := sc.m.Revoke(context.Background(), publicID(d.cookies[0])); err != nil {
				sc.Error(err)
			}
			sc.sees("the successor, revoked again by the old id", d.cookies[1], "", "alice a=1")
		},
	},
	"revoke a user": {
		prepare: func(sc *scene) []string {
			var half browser
			sc.must(half.send(context.Background(), sc.m, login("alice", redsession.Pending())))
			return append(rotated(sc), sc.login("alice"), half.cookie, sc.login("bob"))
		},
		run: func(c *crashing) {
			_, err := c.m.RevokeUser(context.Background(), "alice")
			c.note(err)
		},
		check: checkRevokeUser,
	},
	"import": {
		prepare: func(*scene) []string { return nil },
		run: func(c *crashing) {
			_, err := c.m.Import(context.Background(), oldRecords, false)
			c.note(err)
		},
		check: checkImport,
	},
	"adoption": {
		prepare: func(sc *scene) []string {
			if err := sc.client.Set(context.Background(), "old:"+sc.prefix+"one", "1", time.Hour).Err(); err != nil {
				sc.Fatal(err)
			}
			return nil
		},
		run:   func(c *crashing) { c.ask("", oldCookie("one"), describe) },
		check: checkAdoption,
	},
	"outage": {
		prepare: func(sc *scene) []string { return []string{sc.login("alice"), sc.login("bob")} },
		run: func(c *crashing) {
			for _, cookie := range c.Cookies {
				c.ask(cookie, nil, describe)
			}
			c.network.setAway(true)
			c.ask(c.Cookies[0], nil, describe)
			c.ask(c.Cookies[0], nil, add("n"))
			c.ask("", nil, login("carol"))
			c.ask(c.Cookies[1], nil, logout)
			c.network.setAway(false)
		},
		check: checkOutage,
	},
	"outage that passes": {
		wait:    20 * time.Second,
		prepare: func(sc *scene) []string { return []string{sc.login("alice")} },
		run: func(c *crashing) {
			c.ask(c.Cookies[0], nil, describe)
			c.passing.Store(true)
			for _, one := range []struct {
				cookie string
				do     handler
			}{{c.Cookies[0], add("n")}, {"", login("carol")}} {
				select {
				case <-c.passed: // of a node that came back later than another
				default:
				}
				c.network.setAway(true)
				c.ask(one.cookie, nil, one.do)
				<-c.passed
			}
		},
		check: checkPassingOutage,
	},
}

// oldRecords have no time of login, as old packages seldom keep one.
var oldRecords = []redsession.LegacyRecord{
	{Source: "shop", ID: "one", UserID: "alice", Values: map[string]any{"a": "1"}},
	{Source: "shop", ID: "two", UserID: "alice", Values: map[string]any{"a": "2"}, CreatedAt: time.Now().Add(-time.Hour)},
	{Source: "shop", ID: "three", Values: map[string]any{"a": "3"}},
}

func oldCookie(id string) *http.Cookie { return &http.Cookie{Name: "oldshop", Value: id} }

// anonymous begins a session with a value and returns its cookie.
func (sc *scene) anonymous() string {
	sc.Helper()
	var b browser
	sc.must(b.send(context.Background(), sc.m, set("a", "1")))
	return b.cookie
}

// rotated returns the cookie of a login before and after its rotation.
func rotated(sc *scene) []string {
	b := browser{cookie: sc.login("alice", set("a", "1"))}
	old := b.cookie
	sc.must(b.send(context.Background(), sc.m, rotate))
	if b.cookie == old {
		sc.Fatal("Rotate: got the same cookie, want another")
	}
	return []string{old, b.cookie}
}

func checkLogin(sc *scene, d death) {
	old := d.cookies[0]
	if cookie, ok := d.acknowledged(0); ok {
		sc.sees("the new login", cookie, "alice a=1")
		sc.sees("the old cookie", old, "")
		return
	}
	if sc.sees("the old cookie", old, "a=1", "") == "" {
		if a := request(context.Background(), sc.m, old, nil, set("b", "1")); a.status != http.StatusConflict {
			sc.Errorf("a write with the ended id: got status %d, want 409", a.status)
		}
	}
	b := browser{cookie: old}
	sc.must(b.send(context.Background(), sc.m, login("alice")))
	sc.sees("the login tried again", b.cookie, "alice a=1", "alice")
}

func checkRotation(sc *scene, d death) {
	want := []string{"alice a=1", "alice a=1 b=1"}
	if cookie, ok := d.acknowledged(0); ok {
		want = want[1:]
		sc.sees("the new cookie", cookie, want...)
	}
	sc.sees("the old cookie", d.cookies[0], want...)
	b := browser{cookie: d.cookies[0]}
	for _, later := range []time.Duration{4, 4, 8, 8, 12} { // every second one shows that the id arrived
		m := sc.at(later * time.Hour)
		if a := b.send(context.Background(), m, describe); a.status != 200 || !strings.HasPrefix(a.body, "alice a=1") {
			sc.Errorf("going on after %d h: got status %d and %q, want the session", later, a.status, a.body)
		}
		sc.m = m
	}
	sc.staysThoughOthersLogIn(b.cookie, look(sc.m, b.cookie).body)
	if body := look(sc.m, b.cookie).body; body == "" {
		sc.Error("got nothing, want the session that was rotated thrice")
	}
}

func checkEnded(sc *scene, d death) {
	if _, ok := d.acknowledged(0); ok {
		sc.sees("the old cookie", d.cookies[0], "")
		sc.sees("the successor's cookie", d.cookies[1], "")
	}
	for _, cookie := range d.cookies {
		sc.sees("a cookie of the session", cookie, "alice a=1", "")
	}
}

func checkRevokeUser(sc *scene, d death) {
	_, done := d.acknowledged(0)
	of := d.cookies[:len(d.cookies)-1]
	half := of[len(of)-1]
	for _, again := range []bool{false, true} {
		if again {
			if _, err := sc.m.RevokeUser(context.Background(), "alice"); err != nil {
				sc.Error(err)
			}
		}
		for i, cookie := range of {
			want := []string{""}
			if !done && !again {
				want = []string{"", "alice", "alice a=1"}
			}
			if cookie == half { // nobody is logged in by it
				want = []string{"half:alice"}
			}
			sc.sees("cookie "+string(rune('1'+i)), cookie, want...)
		}
	}
	promote := func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Promote() }
	if a := request(context.Background(), sc.m, half, nil, promote); a.status != http.StatusConflict {
		sc.Errorf("the second factor after the revocation: got status %d, want 409", a.status)
	}
	if list, err := sc.m.Sessions(context.Background(), "alice"); err != nil || len(list) != 0 {
		sc.Errorf("Sessions: got %d and %v, want none", len(list), err)
	}
	sc.sees("another user", d.cookies[len(d.cookies)-1], "bob")
}

func checkImport(sc *scene, d death) {
	_, done := d.acknowledged(0)
	outcomes, err := sc.m.Import(context.Background(), oldRecords, false)
	if err != nil {
		sc.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Status != redsession.ImportExisting && (done || o.Status != redsession.ImportStored) {
			sc.Errorf("record %d, imported again: got status %d, want existing, or stored after a crash", i, o.Status)
		}
	}
	list, err := sc.m.Sessions(context.Background(), "alice")
	ids := map[string]int{}
	for _, info := range list {
		ids[info.ID]++
	}
	if err != nil || len(list) != 2 || ids[keyspace.HashID([]byte("one"))] != 1 || ids[keyspace.HashID([]byte("two"))] != 1 {
		sc.Errorf("Sessions: got %d and %v, want both of alice's once", len(list), err)
	}
	var first browser
	for _, want := range []struct{ id, body string }{{"one", "alice a=1"}, {"two", "alice a=2"}, {"three", "a=3"}} {
		b := browser{old: oldCookie(want.id)}
		if a := b.send(context.Background(), sc.m, describe); a.body != want.body || b.cookie == "" {
			sc.Errorf("the old cookie %s: got status %d and %q, want %q", want.id, a.status, a.body, want.body)
		}
		if want.id == "one" {
			first.cookie = b.cookie
		}
	}
	if outcomes, err = sc.m.Import(context.Background(), oldRecords, true); err != nil || outcomes[0].Status != redsession.ImportEnded {
		sc.Errorf("forced import over sessions that were taken over: got %v and %v, want ended", outcomes, err)
	}
	sc.sees("the session taken over", first.cookie, "alice a=1")
}

func checkAdoption(sc *scene, d death) {
	if cookie, ok := d.acknowledged(0); ok {
		sc.sees("the new cookie", cookie, "alice a=1")
	}
	b := browser{old: oldCookie("one")}
	a := b.send(context.Background(), sc.m, describe)
	if a.status != 200 || a.body != "alice a=1" || len(a.ours) != 1 {
		sc.Errorf("the old cookie: got status %d, %q and %d cookies, want the session and one cookie", a.status, a.body, len(a.ours))
	}
	if n := sc.client.Exists(context.Background(), "old:"+sc.prefix+"one").Val(); n != 0 {
		sc.Error("got the old record still there, want it deleted")
	}
	sc.staysThoughOthersLogIn(b.cookie, "alice a=1")
}

// checkOutage wants that nothing was acknowledged, and that the logout was made before the child ended.
func checkOutage(sc *scene, d death) {
	for i, want := range []int{200, 200, 200, 503, 503, 503} {
		if i < len(d.Answers) && d.Answers[i].Status != want {
			sc.Errorf("request %d: got status %d, want %d", i, d.Answers[i].Status, want)
		}
	}
	loggedOut := []string{"", "bob"}
	if !d.killed {
		loggedOut = loggedOut[:1]
		if d.Err != "" {
			sc.Errorf("Close: got %s, want nil", d.Err)
		}
	}
	sc.sees("the session that was to change", d.cookies[0], "alice")
	sc.sees("the session that was logged out", d.cookies[1], loggedOut...)
	if list, err := sc.m.Sessions(context.Background(), "carol"); err != nil || len(list) != 0 {
		sc.Errorf("a login that was refused: got %d sessions and %v, want none", len(list), err)
	}
}

// checkPassingOutage wants that whatever waited was done, and that what was acknowledged is in Redis.
func checkPassingOutage(sc *scene, d death) {
	if !d.killed && len(d.Answers) != 3 {
		sc.Errorf("got %d answers, want 3", len(d.Answers))
	}
	for i, a := range d.Answers {
		if a.Status != 200 {
			sc.Errorf("request %d: got status %d, want 200 after the wait", i, a.Status)
		}
	}
	changed := []string{"alice n=1", "alice"}
	if _, ok := d.acknowledged(1); ok {
		changed = changed[:1]
	}
	if cookie, ok := d.acknowledged(2); ok {
		sc.sees("the login", cookie, "carol")
	}
	sc.sees("the session that was to change", d.cookies[0], changed...)
}
