package redsession_test

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession"
)

// What SECURITY.md says of attackers and no other test shows: what they can do as well as what they cannot.

// forge signs a cookie for that SID as a server would, for as long as cookies are signed by secret.
func forge(t *testing.T, sid []byte) string {
	t.Helper()
	key, err := hkdf.Key(sha256.New, secret, nil, "redsession cookie v1", sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	ticket := binary.BigEndian.AppendUint32(append([]byte(nil), sid...), 3600)
	ticket = binary.BigEndian.AppendUint64(ticket, uint64(time.Now().Add(time.Hour).Unix()))
	value, err := securecookie.New(key, nil).SetSerializer(securecookie.NopEncoder{}).Encode("session", ticket)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestALeakedSecretAloneMakesNobodyAUser(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		victim := newStage(t, m)
		victim.must("login:alice")
		info, err := m.Sessions(t.Context(), "alice")
		if err != nil || len(info) != 1 {
			t.Fatalf("got %v, %v, want one session", info, err)
		}
		sid := make([]byte, 32)
		rand.Read(sid)
		for name, sid := range map[string][]byte{"a SID of the attacker's": sid, "the public id as a SID": []byte(info[0].ID)} {
			thief := victim.fork(forge(t, sid))
			if a := thief.do(); a.StatusCode != 200 || a.body != "" {
				t.Errorf("%s: got %d %q, want an anonymous session", name, a.StatusCode, a.body)
			}
			if got := m.Stats().Refused; got != 0 {
				t.Errorf("%s: got %d refused, want none: the cookie is signed, and costs a lookup", name, got)
			}
			thief = victim.fork(forge(t, sid))
			thief.must("set:memo:x")
			if got := thief.cookie(); got == forge(t, sid) {
				t.Errorf("%s: the id was adopted", name)
			}
		}
	})
}

func TestARecordPutBackUnderItsKeyIsNotTold(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		var users stamps
		m := e.manager(t, users.configure)
		ctx := context.Background()
		st := newStage(t, m)
		st.must("login:alice set:memo:old")
		cookie, before := st.cookie(), e.dump(t)
		putBack := func() {
			for key, value := range before {
				if err := e.client.Set(ctx, key, value, time.Hour).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		st.must("set:memo:new")
		putBack()
		if got := st.do().body; got != "alice memo=old" {
			t.Errorf("a value put back: got %q, want the old one, as SECURITY.md says", got)
		}
		st.must("logout")
		putBack()
		if got := st.fork(cookie).do().body; got != "alice memo=old" {
			t.Errorf("a record put back after logout: got %q, want the session, as SECURITY.md says", got)
		}
		users.set("another password", nil)
		if got := st.fork(cookie).do().body; got != "" {
			t.Errorf("after a change of password: got %q, want nobody", got)
		}
		putBack()
		if got := st.fork(cookie).do().body; got != "" {
			t.Errorf("a record put back after a change of password: got %q, want nobody", got)
		}
		e.advance(t, 30*24*time.Hour)
		users.set("", nil)
		putBack()
		if got := st.fork(cookie).do().body; got != "" {
			t.Errorf("a record put back after its deadline: got %q, want nobody", got)
		}
	})
}

func TestATamperedIndexHidesASessionFromRevokeUserButNotFromTheStamp(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		var users stamps
		m := e.manager(t, users.configure)
		st := newStage(t, m)
		st.must("login:alice")
		for _, key := range e.keys(t) {
			if e.client.Type(context.Background(), key).Val() == "zset" {
				e.client.Del(context.Background(), key)
			}
		}
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 0 || err != nil {
			t.Errorf("RevokeUser: got %d, %v, want 0 without the index", n, err)
		}
		if got := st.do().body; got != "alice" {
			t.Errorf("got %q, want alice, as SECURITY.md says", got)
		}
		users.set("another password", nil)
		if got := st.do().body; got != "" {
			t.Errorf("after a change of password: got %q, want nobody", got)
		}
	})
}

func TestATTLThatSomebodyRemovedKeepsNoSessionBeyondItsDeadline(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		st.must("login:alice")
		cookie := st.cookie()
		for range 5 { // every 7 days
			for _, key := range e.keys(t) {
				e.client.Persist(context.Background(), key)
			}
			e.advance(t, 7*24*time.Hour)
		}
		if got := st.fork(cookie).do().body; got != "" {
			t.Errorf("got %q 35 days after the login, want nobody", got)
		}
	})
}

// Of two who share a cookie, the one who shows the successor's first stays, and the other is refused and reported.
func TestOfTwoWhoShareACookieOneIsRefusedAfterRotation(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		st.must("login:alice")
		owner, thief := st.fork(st.cookie()), st.fork(st.cookie())
		e.advance(t, 3*time.Hour)
		if got := thief.must().setCookies(); len(got) != 1 {
			t.Fatalf("got %d cookies, want that of the successor", len(got))
		}
		thief.must() // shows it
		e.advance(t, time.Minute+time.Second)
		if got := owner.do().body; got != "" {
			t.Errorf("the owner: got %q, want nobody, as SECURITY.md says", got)
		}
		if got := e.events.of(redsession.EventReplayed); len(got) != 1 {
			t.Errorf("got %d replayed events, want one", len(got))
		}
		if got := thief.do().body; got != "alice" {
			t.Errorf("the thief: got %q, want alice, as SECURITY.md says", got)
		}
	})
}
