package outage_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// refusals are what Redis, or a proxy before it, says to a write for as long as nobody
// repairs something.
var refusals = []struct {
	reply string
	pick  func(args []string) bool
	side  bool // what passes only around a failover is an outage of writing
}{
	{"NOPERM this user has no permissions to run the 'evalsha' command", begins("EVAL"), false},
	{"OOM command not allowed when used memory > 'maxmemory'.", begins("EVAL"), false},
	{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", begins("EVAL"), false},
	{"ERR something that nobody has heard of", begins("EVAL"), false},
	{"NOREPLICAS Not enough good replicas to write.", begins("EVAL", "EXPIRE"), true},
	{"READONLY You can't write against a read only replica.", begins("EVAL", "EXPIRE"), true},
	{"ERR READONLY You can't write against a read only replica.", begins("EVAL", "EXPIRE"), true},
}

// A refusal that stays is no outage: it is answered at once, though requests wait for
// outages.
func TestOutageIsNoRefusalThatStays(t *testing.T) {
	t.Parallel()
	for _, row := range refusals {
		for policy := range redsession.OutagePolicy(policies) {
			t.Run(row.reply+"/"+policyNames[policy], func(t *testing.T) {
				t.Parallel()
				o := stage.NewOutage(t, patient, func(c *redsession.Config) { c.Outage = policy })
				o.Here.Must("login:alice set:a:1")
				id := o.Here.Must("set:a:1").Header.Get("X-Id")
				o.Proxy.Reply(refusing(row.reply, row.pick))
				promptly(t, row.reply, func() { refuseAll(t, o, strings.TrimPrefix(row.reply, "ERR "), id, row.side) })
				if row.side {
					stage.Until(t, "the outage of writing", func() bool { return len(o.Events.Of(redsession.EventOutageBegan)) > 0 })
				}
				o.Proxy.Reply(nil)
				stage.Until(t, "the end of an outage, if there is one", func() bool {
					return len(o.Events.Of(redsession.EventOutageBegan)) == len(o.Events.Of(redsession.EventOutageEnded))
				})
				if n := len(o.Events.Of(redsession.EventOutageBegan)); n > 0 != row.side || n > 1 {
					t.Errorf("got %d outages, want one of writing: %t", n, row.side)
				}
				if got := o.Other.Fork(o.Here.Cookie()).Must().Text; got != "alice a=1" {
					t.Errorf("got %q at another server, want alice a=1: nothing was kept", got)
				}
				if got := stage.Outcome(o.Here.Do("set:b:2")); got != "200 alice a=1 b=2" {
					t.Errorf("got %q for the first write after it, want 200 alice a=1 b=2", got)
				}
			})
		}
	}
}

// refuseAll has Redis refuse each kind of change.
func refuseAll(t *testing.T, o *stage.Outage, reply, id string, side bool) {
	for _, row := range []struct {
		name, ops, want string
		st              *stage.Scripted
	}{
		{"a write", "set:b:1", "503 retry", o.Here},
		{"a Save", "add:n try", "200 alice a=1", o.Here},
		{"a first write", "set:b:1", "503 retry", o.Here.Fork("")},
		{"a login", "login:bob", "503 retry", o.Here.Fork("")},
		{"another login", "login:alice", "503 retry", o.Here},
		{"a new id", "rotate", "503 retry", o.Here},
		{"a read of a session that is known", "", "200 alice a=1", o.Here},
	} {
		told, failed := len(o.Events.Of(redsession.EventFailed)), o.M.Stats().Failed
		if got := stage.Outcome(row.st.Do(row.ops)); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
		if row.want != "503 retry" {
			continue
		}
		var reasons []string
		for _, e := range o.Events.Of(redsession.EventFailed)[told:] {
			if e.Err != nil && errors.Is(e.Err, redsession.ErrUnavailable) {
				reasons = append(reasons, e.Reason)
			}
		}
		if len(reasons) != 1 || !strings.HasPrefix(reasons[0], "EVALSHA: ") || !strings.Contains(reasons[0], reply) {
			t.Errorf("%s: got the reasons %q of failures, want one that names EVALSHA and %q", row.name, reasons, reply)
		}
		if n := o.M.Stats().Failed; n <= failed {
			t.Errorf("%s: got %d failures counted, want more than %d", row.name, n, failed)
		}
	}
	level := "ERROR" // for somebody has to repair it
	if side {
		level = "WARN"
	}
	if log := o.Events.Log(); !strings.Contains(log, "level="+level+` msg="session failed"`) || !strings.Contains(log, `reason="EVALSHA: `) {
		t.Errorf("got the log %q, want a line of level %s that names the command", log, level)
	}
	for name, err := range map[string]error{
		"Revoke":     o.M.Revoke(t.Context(), id),
		"RevokeUser": stage.ErrorOf(o.M.RevokeUser(t.Context(), "alice")),
		"RevokeAll":  stage.ErrorOf(o.M.RevokeAll(t.Context())),
	} {
		if !errors.Is(err, redsession.ErrUnavailable) || !strings.Contains(err.Error(), reply) {
			t.Errorf("%s: got %v, want ErrUnavailable with %q", name, err, reply)
		}
	}
	if infos, err := o.M.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 {
		t.Errorf("Sessions: got %d and %v, want one: reads go on", len(infos), err)
	}
}

// What keeps even a read from being answered, and does not pass by itself, keeps nobody
// waiting.
func TestOutageIsNoReadThatIsRefusedForGood(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"NOPERM this user has no permissions to run the 'get' command",
		"NOAUTH Authentication required.",
		"WRONGPASS invalid username-password pair or user is disabled.",
	} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, patient)
			o.Here.Must("login:alice")
			o.Other.Must("login:carol")
			o.Proxy.Reply(refusing(reply, every))
			promptly(t, reply, func() {
				for _, row := range []struct {
					name, want string
					st         *stage.Scripted
				}{
					{"a session that is known", "200 degraded alice", o.Here},
					{"another server's", "503 retry", o.Here.Fork(o.Other.Cookie())},
					{"a visitor", "200", o.Here.Fork("")},
				} {
					if got := stage.Outcome(row.st.Do()); got != row.want {
						t.Errorf("%s: got %q, want %q", row.name, got, row.want)
					}
				}
			})
			o.Proxy.Reply(nil)
			if got := stage.Outcome(o.Here.Do("set:a:1")); got != "200 alice a=1" {
				t.Errorf("got %q afterwards, want 200 alice a=1", got)
			}
			told := 0
			for _, e := range o.Events.Of(redsession.EventFailed) {
				if strings.Contains(e.Reason, reply) && e.Path == "/" {
					told++
				}
			}
			if told != 2 { // of the known session's, once a minute, and of the other's
				t.Errorf("got it told %d times with Redis's words, want 2: %v", told, o.Events.All())
			}
		})
	}
}

// TestOutageSaveThatIsRefusedIsTold has the handler answer by itself: the operator hears of
// the refusal all the same, once.
func TestOutageSaveThatIsRefusedIsTold(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"ERR command 'evalsha' is not allowed",
		"ERR max daily request limit exceeded. Limit: 10000",
	} {
		for name, save := range map[string]func(*redsession.Manager, *http.Request, *redsession.Session) error{
			"Save": func(_ *redsession.Manager, r *http.Request, s *redsession.Session) error {
				stage.Number.Set(s, 1)
				return s.Save(r.Context())
			},
			"Take": func(_ *redsession.Manager, r *http.Request, s *redsession.Session) error {
				_, _, err := stage.Number.Take(r.Context(), s)
				return err
			},
			"RevokeOthers, which saves first": func(m *redsession.Manager, r *http.Request, s *redsession.Session) error {
				stage.Number.Set(s, 1)
				_, err := m.RevokeOthers(r.Context(), s)
				return err
			},
		} {
			t.Run(name+", "+reply, func(t *testing.T) {
				t.Parallel()
				e := stage.NewMini(t)
				m, p := e.Behind(t, patient)
				b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{
					"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
						s.Login("alice")
						stage.Number.Set(s, 1)
					},
					"/save": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
						if err := save(m, r, s); !errors.Is(err, redsession.ErrUnavailable) {
							t.Errorf("got %v, want ErrUnavailable", err)
						}
						w.WriteHeader(http.StatusTeapot)
					},
				}))
				b.Get("/login")
				p.Reply(refusing(reply, stage.IsScript))
				if a := b.Get("/save?x=1"); a.StatusCode != http.StatusTeapot {
					t.Errorf("got status %d, want the handler's", a.StatusCode)
				}
				failed := e.Events.Of(redsession.EventFailed)
				if len(failed) != 1 || !strings.Contains(failed[0].Reason, reply) || failed[0].UserID != "alice" || failed[0].Path != "/save" {
					t.Errorf("got the failures %v, want one with Redis's words, the user and the path", failed)
				}
			})
		}
	}
}

func TestOutageHitWhoseEXPIREIsRefusedIsServed(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"READONLY You can't write against a read only replica.", "OOM command not allowed", "NOPERM this user has no permissions"} {
		o := stage.NewOutage(t, patient)
		o.Here.Must("login:alice")
		o.Proxy.Reply(refusing(reply, begins("EXPIRE")))
		for range 3 {
			if got := stage.Outcome(o.Here.Do()); got != "200 alice" {
				t.Errorf("%q: got %q, want 200 alice", reply, got)
			}
		}
		failed := o.Events.Of(redsession.EventFailed)
		if n := o.M.Stats().ExpireFailed; n != 3 || len(failed) != 1 || !strings.Contains(failed[0].Reason, reply) {
			t.Errorf("%q: got %d counted and the failures %v, want 3, told once with Redis's words", reply, n, failed)
		}
	}
}

// A user who may not do everything that sessions need is told by New, and by each failure.
func TestOutageIsNoCommandThatTheUserMayNotUse(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	e := stage.NewEnv(srv.URL, srv.Client())
	e.Restrict(t, "~session:* +@all -setex")
	m := e.Manager(t, patient)
	if log := e.Events.Log(); !strings.Contains(log, "refuses") || !strings.Contains(log, "SETEX") {
		t.Errorf("got the log %q of New, want a warning that names SETEX", log)
	}
	st := stage.NewScripted(t, m)
	promptly(t, "a login", func() {
		if got := stage.Outcome(st.Do("login:alice")); got != "503 retry" {
			t.Errorf("got %q, want 503 retry", got)
		}
	})
	failed := e.Events.Of(redsession.EventFailed)
	if len(failed) != 1 || !strings.HasPrefix(failed[0].Reason, "EVALSHA: ") || !strings.Contains(failed[0].Reason, "can't run this command") {
		t.Errorf("got the failures %v, want one that names the command and Redis's words", failed)
	}
	if n := len(e.Events.Of(redsession.EventOutageBegan)); n != 0 {
		t.Errorf("got %d outages, want none", n)
	}
	e.Restrict(t, "~session:* +@all")
	st.Must("login:alice")
}

// Around a failover what passes only then is waited for.
func TestOutageWritesWaitForAReplicaThatBecomesThePrimary(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, patient)
	o.Here.Must("login:alice")
	release := o.Here.Hold("hold add:n")
	o.Down(t)
	var probes atomic.Int64
	o.Proxy.Reply(refusing("READONLY You can't write against a read only replica.", func(args []string) bool {
		probes.Add(1)
		return begins("EVAL", "EXPIRE")(args)
	}))
	o.Proxy.Refuse(false)
	stage.Until(t, "reading to be possible again", func() bool { return stage.Outcome(o.Here.Do()) == "200 alice" })
	answer := make(chan stage.Answer, 1)
	go func() { answer <- release() }()
	late := make(chan error, 1)
	go func() { late <- stage.ErrorOf(o.M.RevokeUser(context.WithoutCancel(t.Context()), "nobody")) }()
	probed := probes.Load()
	stage.Until(t, "some more probes that are refused", func() bool { return probes.Load() > probed+5 })
	if len(answer)+len(late) > 0 {
		t.Error("got an answer while the replica is none yet, want the requests to wait")
	}
	o.Proxy.Reply(nil)
	if got := stage.Outcome(<-answer); got != "200 alice n=1" {
		t.Errorf("got %q, want 200 alice n=1", got)
	}
	if err := <-late; err != nil {
		t.Errorf("got %v from RevokeUser, want none", err)
	}
}
