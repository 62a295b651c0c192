package outage_test

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// A logout that Redis refuses is not done, and the client is told so. Nobody is served by it
// here all the same, and it is made by whoever can: the next server that its browser reaches,
// or this one.
func TestOutageLogoutThatIsRefusedIsMadeLater(t *testing.T) {
	t.Parallel()
	for _, row := range refusals {
		t.Run(row.reply, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, patient)
			refuse := func() string {
				o.Proxy.Reply(nil)
				o.UntilNoOutage(t)
				o.Here = o.Here.Fork("")
				o.Here.Must("login:alice set:a:1")
				o.Proxy.Reply(refusing(row.reply, row.pick))
				cookie := o.Here.Cookie()
				for _, step := range []struct{ name, ops, want string }{
					{"the logout", "logout", "503 retry set"},
					{"a request with the ending cookie", "", "200"},
					{"a write with it", "set:b:1", "503 retry"},
					{"a login with it", "login:bob", "503 retry"},
					{"a second click", "logout", "503 retry"},
				} {
					if got := stage.Outcome(o.Here.Do(step.ops)); got != step.want {
						t.Errorf("%s: got %q, want %q", step.name, got, step.want)
					}
				}
				if got := stage.Outcome(o.Here.Fork(cookie).Do()); got != "200" {
					t.Errorf("got %q with the session's own cookie, want nobody", got)
				}
				if got := o.Other.Fork(cookie).Do().Text; got != "alice a=1" {
					t.Errorf("got %q at the other server, want alice a=1: it is not done", got)
				}
				return cookie
			}
			promptly(t, row.reply, func() {
				cookie := refuse()
				if got := stage.Outcome(o.Other.Fork(o.Here.Cookie()).Do()); got != "200 expired" {
					t.Errorf("got %q with the ending cookie at the other server, want it expired", got)
				}
				if got := o.Other.Fork(cookie).Do().Text; got != "" {
					t.Errorf("got %q at the other server afterwards, want nobody", got)
				}
				refuse()
				o.Proxy.Reply(nil)
				stage.Until(t, "the end of the session in Redis", func() bool { return o.Living(t) == 0 })
				if got := stage.Outcome(o.Here.Do("login:bob")); got != "200 set bob" {
					t.Errorf("got %q for a login afterwards, want bob", got)
				}
			})
		})
	}
}

// TestOutageLogoutThatIsRefusedInPartIsMadeLater takes from the user what only the script of
// an ending needs.
func TestOutageLogoutThatIsRefusedInPartIsMadeLater(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, rules string }{
		{"nothing of it is done", "-del"},
		{"the record is gone, no tombstone can be set", "-setex"},
		{"the record is gone, the entry in the index is not", "-zrem"},
		{"it cannot even be read", "-get"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			e := stage.NewEnv(srv.URL, srv.Client())
			e.Restrict(t, "~session:* +@all")
			m := e.Manager(t, patient)
			elsewhere := stage.NewScripted(t, stage.NewEnv(srv.URL, srv.Client()).Manager(t))
			st := stage.NewScripted(t, m)
			st.Must("login:alice")
			cookie := st.Cookie()
			st.Must()
			e.OnEachNode(t, "acl", "setuser", "app", row.rules)
			promptly(t, "a logout", func() {
				if got := stage.Outcome(st.Do("logout")); got != "503 retry set" {
					t.Errorf("got %q, want 503 retry set", got)
				}
			})
			for name, c := range map[string]string{"the session's cookie": cookie, "the ending cookie": st.Cookie()} {
				if got := stage.Outcome(st.Fork(c).Do()); !strings.HasPrefix(got, "200") || strings.Contains(got, "alice") {
					t.Errorf("%s: got %q here, want nobody", name, got)
				}
			}
			e.OnEachNode(t, "acl", "setuser", "app", "+@all")
			stage.Until(t, "the end of the session elsewhere", func() bool { return elsewhere.Fork(cookie).Do().Text == "" })
			if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 0 {
				t.Errorf("got the sessions %v and %v, want none", infos, err)
			}
			if err := m.Close(); err != nil {
				t.Errorf("got %v from Close, want nil: nothing is left", err)
			}
		})
	}
}
