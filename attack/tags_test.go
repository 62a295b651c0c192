package attack_test

import (
	"context"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

// taggedOperations are those on sessions with tags. However far they got, a revocation by the tag ends what has it.
var taggedOperations = map[string]operation{
	"login with tags": {
		prepare: func(sc *scene) []string { return []string{sc.anonymous()} },
		run: func(c *crashing) {
			c.ask(c.Cookies[0], nil, login("alice", redsession.Tag("sid"), redsession.Tag("org")))
		},
		check: func(sc *scene, d death) {
			checkLogin(sc, d)
			sc.endsByTag(d.newCookies()...)
		},
	},
	"second factor with tags": {
		prepare: func(sc *scene) []string {
			return []string{sc.loginWith("alice", redsession.Pending(), redsession.Tag("sid"), redsession.Tag("org"))}
		},
		run: func(c *crashing) {
			c.ask(c.Cookies[0], nil, func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Promote() })
		},
		check: func(sc *scene, d death) {
			half := sc.sees("the half-open login", d.cookies[0], "half:alice", "")
			sc.endsByTag(d.newCookies()...)
			if half == "" {
				return
			}
			promote := func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Promote() }
			if a := request(context.Background(), sc.m, d.cookies[0], nil, promote); a.status != http.StatusConflict {
				sc.Errorf("the second factor after the revocation: got status %d, want 409", a.status)
			}
		},
	},
	"timed rotation with tags": {
		later: 4 * time.Hour,
		prepare: func(sc *scene) []string {
			return []string{sc.login("alice", login("alice", redsession.Tag("sid"), redsession.Tag("org")), set("a", "1"))}
		},
		run: func(c *crashing) { c.ask(c.Cookies[0], nil, set("b", "1")) },
		check: func(sc *scene, d death) {
			sc.sees("the old cookie", d.cookies[0], "alice a=1", "alice a=1 b=1")
			sc.endsByTag(append(d.newCookies(), d.cookies[0])...)
		},
	},
	"logout with tags": {
		prepare: func(sc *scene) []string { return []string{sc.loginWith("alice", redsession.Tag("sid"))} },
		run:     func(c *crashing) { c.ask(c.Cookies[0], nil, logout) },
		check:   func(sc *scene, d death) { sc.endsByTag(d.cookies[0]) },
	},
	"revoke by tag": {
		prepare: func(sc *scene) []string {
			cookies := []string{sc.loginWith("bob", redsession.Tag("org"))}
			for _, user := range []string{"alice", "bob", "carol"} {
				cookies = append(cookies, sc.loginWith(user, redsession.Tag("sid"), redsession.Tag("org")))
			}
			return cookies
		},
		run: func(c *crashing) {
			_, err := c.m.RevokeTagged(context.Background(), "sid")
			c.note(err)
		},
		check: func(sc *scene, d death) {
			if _, done := d.acknowledged(0); done {
				for _, cookie := range d.cookies[1:] {
					sc.sees("what had the tag", cookie, "")
				}
			}
			sc.endsByTag(d.cookies[1:]...)
			sc.sees("what had another tag alone", d.cookies[0], "bob")
		},
	},
	"revoke a user with tags": {
		prepare: func(sc *scene) []string { return []string{sc.loginWith("alice", redsession.Tag("sid"))} },
		run: func(c *crashing) {
			_, err := c.m.RevokeUser(context.Background(), "alice")
			c.note(err)
		},
		check: func(sc *scene, d death) {
			sc.sees("the session", d.cookies[0], "", "alice")
			sc.endsByTag(d.cookies[0])
		},
	},
	"login to act as another": {
		prepare: func(sc *scene) []string { return []string{sc.login("bob")} },
		run:     func(c *crashing) { c.ask(c.Cookies[0], nil, login("alice", redsession.By("bob"))) },
		check: func(sc *scene, d death) {
			if cookie, ok := d.acknowledged(0); ok {
				sc.sees("who acts", cookie, "alice")
				sc.sees("the old cookie", d.cookies[0], "")
			}
			if _, err := sc.m.RevokeUser(context.Background(), "bob"); err != nil {
				sc.Error(err)
			}
			for _, cookie := range append(d.newCookies(), d.cookies[0]) {
				sc.sees("after the actor was revoked", cookie, "")
			}
			// Where the parts of a login are round trips apart, one that died may have left a record that is in alice's
			// list and not in bob's. Nobody has its id.
			_, answered := d.acknowledged(0)
			if list, err := sc.m.Sessions(context.Background(), "alice"); err != nil || answered && len(list) != 0 || len(list) > 1 {
				sc.Errorf("Sessions: got %d and %v, want none that bob acts in", len(list), err)
			}
		},
	},
}

// loginWith logs in on another browser and returns its cookie.
func (sc *scene) loginWith(user string, opts ...redsession.LoginOption) string {
	sc.Helper()
	var b browser
	sc.must(b.send(context.Background(), sc.m, login(user, opts...)))
	return b.cookie
}

func init() {
	for name, op := range taggedOperations {
		operations[name] = op
	}
}

// newCookies are those of answers that came.
func (d *death) newCookies() (cookies []string) {
	for i := range d.Answers {
		if cookie, ok := d.acknowledged(i); ok && cookie != "" {
			cookies = append(cookies, cookie)
		}
	}
	return cookies
}

// endsByTag revokes all with a tag, and checks that none of cookies leads anywhere and that nothing is left with it.
func (sc *scene) endsByTag(cookies ...string) {
	sc.Helper()
	if _, err := sc.m.RevokeTagged(context.Background(), "sid"); err != nil {
		sc.Error(err)
	}
	for _, cookie := range cookies {
		sc.sees("after the revocation by tag", cookie, "")
	}
	if list, err := sc.m.Tagged(context.Background(), "sid"); err != nil || len(list) != 0 {
		sc.Errorf("Tagged: got %d and %v, want none", len(list), err)
	}
}
