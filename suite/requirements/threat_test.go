package requirements_test

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
	"github.com/redsession/redsession/internal/stage"
)

// What SECURITY.md says of attackers and no other test shows: what they can do as well as what they cannot.

// forge signs a cookie for that SID as a server would, for as long as cookies are signed by secret.
func forge(t *testing.T, sid []byte) string {
	t.Helper()
	key, err := hkdf.Key(sha256.New, stage.Secret, nil, "redsession cookie v1", sha256.Size)
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

func TestThreatLeakedSecretAloneMakesNobodyAUser(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		victim := stage.NewScripted(t, m)
		victim.Must("login:alice")
		info, err := m.Sessions(t.Context(), "alice")
		if err != nil || len(info) != 1 {
			t.Fatalf("got %v, %v, want one session", info, err)
		}
		sid := make([]byte, 32)
		rand.Read(sid)
		for name, sid := range map[string][]byte{"a SID of the attacker's": sid, "the public id as a SID": []byte(info[0].ID)} {
			thief := victim.Fork(forge(t, sid))
			if a := thief.Do(); a.StatusCode != 200 || a.Text != "" {
				t.Errorf("%s: got %d %q, want an anonymous session", name, a.StatusCode, a.Text)
			}
			if got := m.Stats().Refused; got != 0 {
				t.Errorf("%s: got %d refused, want none: the cookie is signed, and costs a lookup", name, got)
			}
			thief = victim.Fork(forge(t, sid))
			thief.Must("set:memo:x")
			if got := thief.Cookie(); got == forge(t, sid) {
				t.Errorf("%s: the id was adopted", name)
			}
		}
	})
}

func TestThreatRecordPutBackUnderItsKeyIsNotTold(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		var users stage.Stamps
		m := e.Manager(t, users.Configure)
		ctx := context.Background()
		st := stage.NewScripted(t, m)
		st.Must("login:alice set:memo:old")
		cookie, before := st.Cookie(), e.Dump(t)
		putBack := func() {
			for key, value := range before {
				if err := e.Client.Set(ctx, key, value, time.Hour).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		st.Must("set:memo:new")
		putBack()
		if got := st.Do().Text; got != "alice memo=old" {
			t.Errorf("a value put back: got %q, want the old one, as SECURITY.md says", got)
		}
		st.Must("logout")
		putBack()
		if got := st.Fork(cookie).Do().Text; got != "alice memo=old" {
			t.Errorf("a record put back after logout: got %q, want the session, as SECURITY.md says", got)
		}
		users.Set("another password", nil)
		if got := st.Fork(cookie).Do().Text; got != "" {
			t.Errorf("after a change of password: got %q, want nobody", got)
		}
		putBack()
		if got := st.Fork(cookie).Do().Text; got != "" {
			t.Errorf("a record put back after a change of password: got %q, want nobody", got)
		}
		e.Advance(t, 30*24*time.Hour)
		users.Set("", nil)
		putBack()
		if got := st.Fork(cookie).Do().Text; got != "" {
			t.Errorf("a record put back after its deadline: got %q, want nobody", got)
		}
	})
}

func TestThreatTamperedIndexHidesASessionFromRevokeUserButNotFromTheStamp(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		var users stage.Stamps
		m := e.Manager(t, users.Configure)
		st := stage.NewScripted(t, m)
		st.Must("login:alice")
		for _, key := range e.Keys(t) {
			if e.Client.Type(context.Background(), key).Val() == "zset" {
				e.Client.Del(context.Background(), key)
			}
		}
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 0 || err != nil {
			t.Errorf("RevokeUser: got %d, %v, want 0 without the index", n, err)
		}
		if got := st.Do().Text; got != "alice" {
			t.Errorf("got %q, want alice, as SECURITY.md says", got)
		}
		users.Set("another password", nil)
		if got := st.Do().Text; got != "" {
			t.Errorf("after a change of password: got %q, want nobody", got)
		}
	})
}

func TestThreatRemovedTTLKeepsNoSessionBeyondItsDeadline(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		st.Must("login:alice")
		cookie := st.Cookie()
		for range 5 { // every 7 days
			for _, key := range e.Keys(t) {
				e.Client.Persist(context.Background(), key)
			}
			e.Advance(t, 7*24*time.Hour)
		}
		if got := st.Fork(cookie).Do().Text; got != "" {
			t.Errorf("got %q 35 days after the login, want nobody", got)
		}
	})
}

// Of two who share a cookie, the one who shows the successor's first stays, and the other is refused and reported.
func TestThreatOfTwoWhoShareACookieOneIsRefusedAfterRotation(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		st.Must("login:alice")
		owner, thief := st.Fork(st.Cookie()), st.Fork(st.Cookie())
		e.Advance(t, 3*time.Hour)
		if got := thief.Must().SetCookies(); len(got) != 1 {
			t.Fatalf("got %d cookies, want that of the successor", len(got))
		}
		thief.Must() // shows it
		e.Advance(t, time.Minute+time.Second)
		if got := owner.Do().Text; got != "" {
			t.Errorf("the owner: got %q, want nobody, as SECURITY.md says", got)
		}
		if got := e.Events.Of(redsession.EventReplayed); len(got) != 1 {
			t.Errorf("got %d replayed events, want one", len(got))
		}
		if got := thief.Do().Text; got != "alice" {
			t.Errorf("the thief: got %q, want alice, as SECURITY.md says", got)
		}
	})
}
