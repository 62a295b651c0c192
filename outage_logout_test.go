package redsession_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redsession/redsession"
)

// What a handler does after a Logout that an outage kept in memory must not go
// on as the user who has left.
func TestALogoutOfAnOutageIsOneForItsHandlerToo(t *testing.T) {
	for _, row := range []struct{ name, ops, want string }{
		{"it sees nobody", "logout save", "200 expired"},
		{"it may log out again", "logout save logout", "200 expired"},
		{"it writes to another session, which cannot be stored", "logout save set:a:1", "503 retry expired"},
	} {
		for _, early := range []bool{false, true} { // loaded before the outage
			o := newOutage(t)
			o.st.must("login:alice set:b:1")
			cookie, answered := o.st.cookie(), func() answer { return o.st.do(row.ops) }
			if early {
				answered = o.st.hold("hold " + row.ops)
			}
			o.down(t)
			if got := strings.Replace(outcome(answered()), " degraded", "", 1); got != row.want {
				t.Errorf("%s, loaded before the outage %v: got %q, want %q", row.name, early, got, row.want)
			}
			o.up(t)
			o.flushed(t)
			if got := o.other.fork(cookie).must().body; got != "" {
				t.Errorf("%s: got %q after the outage, want nobody", row.name, got)
			}
		}
	}
}

func TestALateLogoutOfAnOutageSaysThatItsCookieStays(t *testing.T) {
	o := newOutage(t)
	var saved error
	st := newStage(t, o.m, handlers{"/late": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		io.WriteString(w, "begun")
		s.Logout()
		saved = s.Save(r.Context())
	}})
	st.must("login:alice")
	o.down(t)
	st.get("/late")
	if !errors.Is(saved, redsession.ErrHeadersSent) {
		t.Errorf("got %v from Save, want ErrHeadersSent", saved)
	}
	if got := st.must().body; got != "" {
		t.Errorf("got %q in the next request, want nobody", got)
	}
}

// An id from before a rotation that another server made is still known here.
func TestASessionThatEndedIsNotRecalledByAnEarlierID(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(o *outage)
	}{
		{"logged out", func(o *outage) { o.st.must("logout"); o.down(o.st.t) }},
		{"logged in from", func(o *outage) { o.st.must("login:alice"); o.down(o.st.t) }},
		{"revoked", func(o *outage) { _, _ = o.m.RevokeUser(context.Background(), "alice"); o.down(o.st.t) }},
		{"logged out during the outage", func(o *outage) { o.st.must(); o.down(o.st.t); o.st.must("logout") }},
	} {
		o := newOutage(t)
		o.st.must("login:alice")
		early := o.st.fork(o.st.cookie())
		elsewhere := o.other.fork(o.st.cookie())
		elsewhere.must("rotate")
		o.st = o.st.fork(elsewhere.cookie())
		row.end(o)
		if got := outcome(early.do()); got != "503 retry" {
			t.Errorf("%s: got %q with the id from before the rotation, want 503 retry", row.name, got)
		}
	}
}
