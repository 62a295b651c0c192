package outage_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

const policies = 2 // ServeKnown and FailClosed, in this order

var policyNames = [policies]string{"ServeKnown", "FailClosed"}

// TestOutageServesWhatItMay plays the table of what is served during an outage, where
// nobody waits.
func TestOutageServesWhatItMay(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for policy := range redsession.OutagePolicy(policies) {
			t.Run(policyNames[policy], func(t *testing.T) {
				t.Parallel()
				a := w.arena(t, func(c *redsession.Config) { c.Outage, c.RotateEvery = policy, time.Minute })
				playTable(t, a, w, policy)
			})
		}
	})
}

func playTable(t *testing.T, a *arena, w way, policy redsession.OutagePolicy) {
	known, leaver, visitor := a.Here, a.Here.Fork(""), a.Here.Fork("")
	known.Must("login:alice add:n")
	leaver.Must("login:bob set:x:1")
	a.Other.Must("login:carol set:y:1")
	stranger := a.Here.Fork(a.Other.Cookie())
	left := leaver.Fork(leaver.Cookie())
	cookies := []string{known.Cookie(), stranger.Cookie(), ""}

	w.away(t, a)
	const failed = "503 retry"
	for _, row := range []struct {
		name  string
		st    *stage.Scripted
		ops   string
		wants [policies]string
	}{
		{"no cookie and no write is served", visitor, "", [2]string{"200", "200"}},
		{"a known session is read while nobody knows of the outage", known, "", [2]string{"200 degraded alice n=1", failed}},
		{"a known session is read a second time", known, "", [2]string{"200 degraded alice n=1", failed}},
		{"a known session is read a third time", known, "", [2]string{"200 degraded alice n=1", failed}},
		{"a known session is written", known, "set:a:1 add:n", [2]string{failed, failed}},
		{"the next request sees nothing of that", known, "", [2]string{"200 degraded alice n=1", failed}},
		{"Save tells the handler, which then has the session as it was", known, "add:n try", [2]string{"200 degraded alice n=1", failed}},
		{"a new id for a known session fails", known, "rotate", [2]string{failed, failed}},
		{"a login from a known session fails", known, "login:eve", [2]string{failed, failed}},
		{"a login of nobody's fails", visitor, "login:dave", [2]string{failed, failed}},
		{"the first write of a visitor fails", visitor, "set:a:1", [2]string{failed, failed}},
		{"another server's session is not anonymous", stranger, "", [2]string{failed, failed}},
		{"another server's session takes no write", stranger, "set:a:1", [2]string{failed, failed}},
		{"another server's session logs nobody in", stranger, "login:mallory", [2]string{failed, failed}},
		{"another server's session is not logged out", stranger, "logout", [2]string{failed, failed}},
		{"a known session is not logged out yet", leaver, "logout", [2]string{failed + " set", failed}},
		{"but it is not served any more", left, "", [2]string{"200", failed}},
		{"nor written", left, "set:x:2", [2]string{"409", failed}},
		{"a known session is still what it was", known, "", [2]string{"200 degraded alice n=1", failed}},
	} {
		if got, want := stage.Outcome(row.st.Do(row.ops)), row.wants[policy]; got != want {
			t.Errorf("%s: got %q, want %q", row.name, got, want)
		}
	}
	a.Clock.Add(2 * time.Minute) // a rotation is due
	known.Do()
	if got := []string{known.Cookie(), stranger.Cookie(), visitor.Cookie()}; !slices.Equal(got, cookies) {
		t.Errorf("got other cookies at the end of the outage, want those from before")
	}
	if n := a.M.Stats().Rotated; n != 0 {
		t.Errorf("got %d rotations during the outage, want none", n)
	}
	w.back(t, a)
	lookAfterwards(t, a, policy, left)
}

// lookAfterwards looks at what is left of the outage of playTable.
func lookAfterwards(t *testing.T, a *arena, policy redsession.OutagePolicy, left *stage.Scripted) {
	stage.Until(t, "an answer from Redis", func() bool {
		answer := a.Here.Do()
		if policy == redsession.ServeKnown && answer.Text != "alice n=1" {
			t.Fatalf("while Redis comes back: got %q, want alice n=1", stage.Outcome(answer))
		}
		return answer.StatusCode == http.StatusOK && answer.Header.Get("X-Degraded") == ""
	})
	records := [policies]int{2, 3}[policy]
	stage.Until(t, "two records, or three: a logout is made, and no login of the outage left one", func() bool { return a.Living(t) == records })
	for _, row := range []struct{ name, got, want string }{
		{"alice", a.Here.Do().Text, "alice n=1"},
		{"alice, on another server", a.Other.Fork(a.Here.Cookie()).Do().Text, "alice n=1"},
		{"bob", left.Do().Text, [policies]string{"", "bob x=1"}[policy]},
		{"bob, on another server", a.Other.Fork(left.Cookie()).Do().Text, [policies]string{"", "bob x=1"}[policy]},
		{"carol", a.Here.Fork(a.Other.Cookie()).Do().Text, "carol y=1"},
	} {
		if row.got != row.want {
			t.Errorf("after the outage, %s: got %q, want %q", row.name, row.got, row.want)
		}
	}
	a.UntilNoOutage(t)
	if began := a.Events.Of(redsession.EventOutageBegan); len(began) == 0 || began[0].Err == nil {
		t.Errorf("got the beginnings %v, want one with its reason", began)
	}
}

func TestOutageLoadsFromMemoryAreCounted(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	o.Here.Must("login:alice")
	o.Down(t)
	failed := o.M.Stats().Failed
	o.Here.Must()
	o.Here.Do("set:a:1")
	if s := o.M.Stats(); s.Degraded != 2 || s.Failed != failed+1 || s.Outages != 1 {
		t.Errorf("got %d degraded, %d failed and %d outages, want 2, one more than %d, and 1", s.Degraded, s.Failed, s.Outages, failed)
	}
}
