package outage_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What a failed logout leaves is not served in this process, by no id that the session had.
func TestOutageSessionThatEndedIsNotRecalledByAnEarlierID(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		end  func(o *stage.Outage)
	}{
		{"logged out", func(o *stage.Outage) { o.Here.Must("logout"); o.Down(o.Here.T) }},
		{"logged in from", func(o *stage.Outage) { o.Here.Must("login:alice"); o.Down(o.Here.T) }},
		{"revoked", func(o *stage.Outage) { _, _ = o.M.RevokeUser(context.Background(), "alice"); o.Down(o.Here.T) }},
		{"logged out during the outage", func(o *stage.Outage) { o.Here.Must(); o.Down(o.Here.T); o.Here.Do("logout") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t)
			o.Here.Must("login:alice")
			early := o.Here.Fork(o.Here.Cookie())
			elsewhere := o.Other.Fork(o.Here.Cookie())
			elsewhere.Must("rotate")
			o.Here = o.Here.Fork(elsewhere.Cookie())
			row.end(o)
			if got := stage.Outcome(early.Do()); got != "503 retry" {
				t.Errorf("got %q with the id from before the rotation, want 503 retry", got)
			}
			o.Up(t)
			stage.Until(t, "the end of the session everywhere", func() bool {
				return o.Other.Fork(o.Here.Cookie()).Do().Text == "" || row.name == "logged in from"
			})
		})
	}
}

// After a logout that an outage kept from Redis nothing of the session goes on: not its
// other ids, not its streams, not the client's other sessions.
func TestOutageLogoutEndsAllOfTheClientOnceRedisIsBack(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	streaming, ended := make(chan struct{}, 1), make(chan struct{})
	st := stage.NewOutageScripted(t, o.M, stage.Handlers{"/stream": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		ctx := s.Context()
		streaming <- struct{}{}
		<-ctx.Done()
		close(ended)
	}})
	st.Must("login:alice")
	first, second := st.Fork(st.Cookie()), st.Fork("")
	second.Must("set:a:1")
	go first.Get("/stream")
	<-streaming
	both := func(ops string) stage.Answer {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, st.Base+"/?ops="+ops, nil)
		r.Header.Set("Cookie", "session="+first.Cookie()+"; session="+second.Cookie())
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return stage.Answer{Response: res, Text: string(text)}
	}
	if got := both("").Text; got != "alice" {
		t.Fatalf("got %q of two cookies, want the session that is logged in", got)
	}
	o.Here = st
	o.Down(t)
	if got := stage.Outcome(both("logout")); got != "503 retry set" {
		t.Errorf("got %q, want 503 retry set: an ending cookie", got)
	}
	promptly(t, "the end of the stream", func() { <-ended })
	for name, client := range map[string]*stage.Scripted{"the session": first, "the client's other session": second} {
		if got := stage.Outcome(client.Do()); got != "200" {
			t.Errorf("%s: got %q during the outage, want nobody", name, got)
		}
	}
	o.Up(t)
	stage.Until(t, "the end of both in Redis", func() bool { return o.Living(t) == 0 })
	if got := o.Other.Fork(first.Cookie()).Do().Text; got != "" {
		t.Errorf("got %q at another server, want nobody", got)
	}
	first.Fork("").Must("login:alice")
}

func TestOutageLogoutAfterTheFirstByteEndsTheSession(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	var saved error
	st := stage.NewScripted(t, o.M, stage.Handlers{"/late": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		io.WriteString(w, "begun")
		s.Logout()
		saved = s.Save(r.Context())
	}})
	st.Must("login:alice")
	o.Down(t)
	st.Get("/late")
	if !errors.Is(saved, redsession.ErrUnavailable) {
		t.Errorf("got %v from Save, want ErrUnavailable", saved)
	}
	o.Up(t)
	stage.Until(t, "the end of the session in Redis", func() bool { return o.Living(t) == 0 })
	if got := st.Do().Text; got != "" {
		t.Errorf("got %q in the next request, want nobody", got)
	}
}

// A handler that logs out and then panics is one whose user has gone.
func TestOutageLogoutOfAHandlerThatPanicsIsMade(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, patient)
	o.Here.Must("login:alice")
	o.Down(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		serve(o, t.Context(), o.Here.Cookie(), func(s *redsession.Session) { s.Logout(); panic("no luck") })
	}()
	o.Up(t)
	<-done
	stage.Until(t, "the end of the session in Redis", func() bool { return o.Living(t) == 0 })
}

func TestOutageLogoutEndsWhatATakeOverMightFind(t *testing.T) {
	t.Parallel()
	for _, waits := range []bool{false, true} {
		old := &stage.OldStore{}
		o := stage.NewOutage(t, stage.Adopting(old.SideBySide()), func(c *redsession.Config) {
			if waits {
				patient(c)
			}
		})
		old.Put(stage.OldSession(o.Env, "one", "alice"))
		old.Put(stage.OldSession(o.Env, "two", "alice"))
		st := o.Here.WithOldCookie("one")
		st.Must()
		st.Must()
		o.Down(t)
		st.RenewOldCookie("two") // a login at an old server
		answers := make(chan stage.Answer, 1)
		go func() { answers <- st.Do("logout") }()
		if !waits {
			if got := stage.Outcome(<-answers); got != "503 retry set" {
				t.Errorf("got %q, want 503 retry set: it is not done", got)
			}
			o.Up(t)
			continue
		}
		o.Up(t)
		if got := stage.Outcome(<-answers); !strings.HasPrefix(got, "200") {
			t.Errorf("got %q, want 200", got)
		}
		elsewhere := &stage.Scripted{Browser: &stage.Browser{T: t, Base: o.Other.Base, HTTP: st.HTTP}, Gate: o.Other.Gate}
		if got := elsewhere.Do().Text; got != "" {
			t.Errorf("the logout was answered 200, and then the browser reads %q, want nobody", got)
		}
		if old.Has("two") {
			t.Error("the logout was answered 200, and the session at the old servers goes on")
		}
	}
}

// A session of another package waits to be taken over as any other does.
func TestOutageTakeOverWaitsForItsEnd(t *testing.T) {
	t.Parallel()
	old := &stage.OldStore{}
	o := stage.NewOutage(t, stage.Adopting(old.SideBySide()), patient)
	old.Put(stage.OldSession(o.Env, "one", "alice"))
	st := o.Here.WithOldCookie("one")
	o.Down(t)
	answers := make(chan stage.Answer, 1)
	go func() { answers <- st.Do() }()
	o.Up(t)
	if a := <-answers; a.StatusCode != http.StatusOK || !strings.HasPrefix(a.Text, "alice") {
		t.Errorf("got %q, want 200 and alice", stage.Outcome(a))
	}
}

// A voucher must not be cashed twice, by a server that Redis is away from and by one that
// it is not.
func TestOutageTakeGivesTheValueOnce(t *testing.T) {
	t.Parallel()
	const voucher = redsession.Key[string]("voucher")
	for _, row := range []struct {
		name  string
		wait  func(*redsession.Config)
		taken bool // here
	}{
		{"the outage does not end in time", func(*redsession.Config) {}, false},
		{"it does", patient, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, row.wait)
			o.Here.Must("login:alice set:voucher:50EUR")
			o.Down(t)
			type result struct {
				value string
				ok    bool
				err   error
			}
			here := make(chan result, 1)
			go serve(o, context.WithoutCancel(t.Context()), o.Here.Cookie(), func(s *redsession.Session) {
				v, ok, err := voucher.Take(s.Context(), s)
				here <- result{v, ok, err}
			})
			var got result
			if !row.taken {
				got = <-here
			}
			o.Up(t)
			if row.taken {
				got = <-here
			}
			if want := map[bool]string{true: "50EUR"}[row.taken]; got.value != want || got.ok != row.taken || errors.Is(got.err, redsession.ErrUnavailable) == row.taken {
				t.Errorf("got %q, %t and %v, want %q", got.value, got.ok, got.err, want)
			}
			text := o.Other.Fork(o.Here.Cookie()).Must().Text
			if want := map[bool]string{true: "alice", false: "alice voucher=50EUR"}[row.taken]; text != want {
				t.Errorf("got %q at another server, want %q", text, want)
			}
		})
	}
}
