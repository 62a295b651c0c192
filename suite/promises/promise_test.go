package promises_test

import (
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

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/stage"
)

func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t, stage.Patient))
		st.Do("set:k:first")
		stage.Parallel(50, func(i int) { st.Must(fmt.Sprintf("set:k%d:%d", i, i)) })
		if got := strings.Count(st.Do().Text, "="); got != 51 {
			t.Errorf("50 requests set a key each beside one: got %d keys, want 51", got)
		}
		stage.Parallel(60, func(int) { st.Must("add:n") })
		if got := st.Do("only:n").Text; got != "n=60" {
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
			t.Run(row.name, func(t *testing.T) {
				st.Do("clear set:a:0 add:n add:n add:n add:n add:n")
				release := st.Hold("hold " + row.inFlight)
				st.Must(row.meanwhile)
				if late := release(); late.StatusCode != http.StatusOK {
					t.Errorf("got status %d, want 200", late.StatusCode)
				}
				if got := st.Do().Text; got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			})
		}
	})
}

func TestNothingIsLostWhileTheIDRotates(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t, stage.Patient))
		st.Must("login:alice")
		e.Advance(t, 4*time.Hour)
		old := st.Cookie()
		stage.Parallel(20, func(i int) { st.Fork(old).Must(fmt.Sprintf("add:n set:k%d:1", i)) })
		got := st.Fork(old).Do().Text
		if n := strings.Count(got, "k"); n != 20 || !strings.Contains(got, "n=20") {
			t.Errorf("20 requests wrote while a rotation was due: got %q, want n=20 and 20 keys", got)
		}
	})
}

func TestIDAtRestIsUseless(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		st := stage.NewScripted(t, m)
		var cookies []string
		keep := func(a stage.Answer) {
			for _, c := range a.SetCookies() {
				cookies = append(cookies, c.Value)
			}
		}
		keep(st.Fork("").Must("set:memo:anonymous"))
		keep(st.Must("set:memo:x login:alice"))
		e.Advance(t, 4*time.Hour)
		keep(st.Must("set:memo:rotated"))
		ended := st.Fork("")
		keep(ended.Must("login:bob"))
		ended.Must("logout")
		keep(st.Fork(st.Cookie()[:len(st.Cookie())-1]).Must("set:memo:unsigned"))
		if len(cookies) != 5 {
			t.Fatalf("got %d cookies, want 5", len(cookies))
		}
		sessions, err := m.Sessions(t.Context(), "alice")
		if err != nil || len(sessions) != 1 {
			t.Fatalf("got %d sessions, %v, want 1", len(sessions), err)
		}
		listed, _ := json.Marshal(sessions)
		rest := fmt.Sprint(e.Dump(t), e.Keys(t), string(listed), e.Events.Log(), e.Events.All())
		for _, c := range cookies {
			for _, form := range secretForms(t, c) {
				if strings.Contains(rest, form) {
					t.Errorf("what Redis, the log and the list hold contains %q of a cookie", form)
				}
			}
		}
		for _, key := range e.Keys(t) {
			for _, forged := range []string{strings.TrimPrefix(key, "session:"), key} {
				if got := st.Fork(forged).Do("only:memo").Text; got != "" {
					t.Errorf("%q sent as a cookie reads %q, want an anonymous session", forged, got)
				}
			}
		}
	})
}

// secretForms returns what an attacker could make a cookie of.
func secretForms(t *testing.T, cookie string) []string {
	t.Helper()
	ring, err := record.NewRing([][]byte{stage.Secret})
	if err != nil {
		t.Fatal(err)
	}
	var ticket []byte
	codec := securecookie.New(ring[0].Cookie, nil).SetSerializer(securecookie.NopEncoder{}).MaxAge(0)
	padded := cookie + strings.Repeat("=", -len(cookie)&3)
	if err := codec.Decode("session", padded, &ticket); err != nil {
		t.Fatal(err)
	}
	sid := ticket[:32]
	forms := []string{cookie, string(sid), hex.EncodeToString(sid), strings.Trim(strconv.Quote(string(sid)), `"`)}
	for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		forms = append(forms, enc.EncodeToString(sid), enc.EncodeToString(ticket))
	}
	return slices.Compact(forms)
}

func TestLoginAndLogoutRotate(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
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
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				first := st.Must(row.before + " token")
				old := st.Cookie()
				tokens := []string{first.Header.Get("X-Token"), st.Do("token").Header.Get("X-Token")}
				a := st.Must(row.ops)
				if n := len(a.SetCookies()); n != 1 {
					t.Errorf("got %d cookies, want exactly one", n)
				}
				if got := root.Fork(old).Do().Text; got != "" {
					t.Errorf("the old cookie reads %q, want an anonymous session at once", got)
				}
				now := st.Do("token")
				if now.Text != row.want {
					t.Errorf("got %q, want %q", now.Text, row.want)
				}
				if id := now.Header.Get("X-Id"); id == first.Header.Get("X-Id") || st.Cookie() == old {
					t.Errorf("got the id %q again, want another id and cookie", id)
				}
				if slices.Contains(tokens, now.Header.Get("X-Token")) && row.want != "" {
					t.Error("the token is as before, want another")
				}
			})
		}
	})
}

// inSubtest returns st for a subtest.
func inSubtest(t *testing.T, st *stage.Scripted) *stage.Scripted {
	return &stage.Scripted{Browser: &stage.Browser{T: t, Base: st.Base, HTTP: st.HTTP}, Gate: st.Gate}
}
