package outage_test

import (
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestOutageLogoutIsMadeByWhoeverGetsTheEndingCookie(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	o.Here.Must("login:alice set:a:1")
	cookie := o.Here.Cookie()
	o.Down(t)
	logout := o.Here.Do("logout")
	if got, want := stage.Outcome(logout), "503 retry set"; got != want {
		t.Fatalf("got %q for a logout, want %q: an ending cookie in the place of the session's", got, want)
	}
	ending := o.Here.Cookie()
	if ending == cookie || ending == "" {
		t.Fatalf("got cookie %q, want another", ending)
	}
	// Here nobody is logged in any more, whichever cookie comes, and nothing waits.
	for name, c := range map[string]string{"the session's cookie": cookie, "the ending cookie": ending} {
		if got := stage.Outcome(o.Here.Fork(c).Do()); got != "200" {
			t.Errorf("%s: got %q here, want nobody", name, got)
		}
	}
	if got := stage.Outcome(o.Here.Fork(ending).Do("logout")); got != "503 retry" {
		t.Errorf("a second click: got %q, want 503 until Redis has it", got)
	}
	if got := stage.Outcome(o.Here.Fork(ending).Do("set:b:1")); got != "503 retry" {
		t.Errorf("a write: got %q, want 503, as the old session has to end first", got)
	}
	// The other server reaches Redis: it makes the logout.
	if got := stage.Outcome(o.Other.Fork(cookie).Do()); got != "200 alice a=1" {
		t.Errorf("got %q at the other server before it heard of the logout, want alice", got)
	}
	if got := stage.Outcome(o.Other.Fork(ending).Do()); got != "200 expired" {
		t.Errorf("the ending cookie at the other server: got %q, want nobody, and the cookie expired", got)
	}
	if got := stage.Outcome(o.Other.Fork(cookie).Do()); got != "200" {
		t.Errorf("got %q at the other server afterwards, want nobody", got)
	}
	if n := len(o.Events.Of(redsession.EventLogout)); n != 1 {
		t.Errorf("got %d logouts told of, want one", n)
	}
	o.Up(t)
	if got := stage.Outcome(o.Here.Fork(ending).Do()); got != "200 expired" {
		t.Errorf("the ending cookie here, once Redis is back: got %q, want the cookie expired", got)
	}
}

func TestOutageLoginWithAnEndingCookieEndsTheOldSessionFirst(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	o.Here.Must("login:alice set:a:1")
	cookie := o.Here.Cookie()
	o.Down(t)
	o.Here.Do("logout")
	again := o.Other.Fork(o.Here.Cookie())
	if got := stage.Outcome(again.Do("login:bob")); got != "200 set bob" {
		t.Errorf("got %q for a login, want bob with a cookie", got)
	}
	if got := stage.Outcome(o.Other.Fork(cookie).Do()); got != "200" {
		t.Errorf("got %q with the old cookie, want nobody", got)
	}
	o.Up(t)
}

func TestOutageEndsALoggedOutSessionOnceRedisIsBack(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	o.Here.Must("login:alice")
	cookie := o.Here.Cookie()
	o.Down(t)
	o.Here.Do("logout")
	o.Up(t)
	stage.Until(t, "the session to end everywhere", func() bool { return o.Other.Fork(cookie).Do().Text == "" })
}

func TestOutageSecondLogoutWithTheSessionsCookieIs503(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	o.Here.Must("login:alice")
	cookie := o.Here.Cookie()
	o.Down(t)
	o.Here.Do("logout")
	if got := stage.Outcome(o.Here.Fork(cookie).Do("logout")); got != "503 retry" {
		t.Errorf("got %q for a logout by the session's own cookie, want 503: Redis does not have the first one yet", got)
	}
	o.Up(t)
	stage.Until(t, "a logout that is acknowledged", func() bool { return o.Here.Fork(cookie).Do("logout").StatusCode == 200 })
	if got := o.Other.Fork(cookie).Do().Text; got != "" {
		t.Errorf("got %q at the other server after an acknowledged logout, want nobody", got)
	}
}
