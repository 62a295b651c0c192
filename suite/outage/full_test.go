package outage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// TestOutageFullRedisKeepsNoSessionFromEnding fills Redis: whoever can make it full must
// not keep others logged in by that.
func TestOutageFullRedisKeepsNoSessionFromEnding(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--maxmemory-policy", "noeviction")
	e := stage.NewEnv(srv.URL, srv.Client())
	limit := func(memory string) {
		t.Helper()
		if err := e.Client.ConfigSet(t.Context(), "maxmemory", memory).Err(); err != nil {
			t.Fatal(err)
		}
	}
	adopt := func(c *redsession.Config) { c.Adopt = []redsession.Legacy{{Source: "old", Cookie: "old"}} }
	m := e.Manager(t, adopt)
	imported := redsession.LegacyRecord{Source: "old", ID: "old-id", UserID: "alice", ExpiresAt: e.Clock.Now().Add(time.Hour)}
	for name, end := range map[string]func(st *stage.Scripted){
		"a logout":     func(st *stage.Scripted) { st.Must("logout") },
		"a revocation": func(*stage.Scripted) { _, _ = m.RevokeUser(t.Context(), "alice") },
		"everybody's":  func(*stage.Scripted) { _, _ = m.RevokeAll(t.Context()) },
	} {
		limit("0")
		st := stage.NewScripted(t, m)
		st.Must("login:alice set:a:1")
		stolen := st.Cookie()
		outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{imported}, true)
		if err != nil {
			t.Fatal(err)
		}
		limit("1mb") // less than an empty Redis takes
		if err := e.Client.Set(t.Context(), "more", "x", 0).Err(); err == nil {
			t.Fatal("got room for more, want a full Redis")
		}
		end(st)
		if got := stage.NewScripted(t, e.Manager(t, adopt)).Fork(stolen).Do().Text; got != "" {
			t.Errorf("%s: got %q at another server, want nobody", name, got)
		}
		if err := m.Revoke(t.Context(), outcomes[0].ID); err != nil {
			t.Errorf("%s: got %v from the revocation of an imported session, want none", name, err)
		}
		limit("0")
		if again, err := m.Import(t.Context(), []redsession.LegacyRecord{imported}, true); err != nil || again[0].Status != redsession.ImportEnded {
			t.Errorf("%s: got %v and error %v for the imported session, want it to stay ended", name, again, err)
		}
		e.Client.FlushAll(t.Context())
	}
}

// Whoever Redis can serve is served, also those whose writes it has refused.
func TestOutageFullRedisServesReadsForAsLongAsItTakes(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--maxmemory-policy", "noeviction")
	e := stage.NewEnv(srv.URL, srv.Client())
	m := e.Manager(t, patient)
	writer, reader := stage.NewOutageScripted(t, m), stage.NewOutageScripted(t, m)
	writer.Must("login:alice set:a:1")
	reader.Must("login:bob")
	if err := e.Client.ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	promptly(t, "a write to a full Redis", func() {
		if got := stage.Outcome(writer.Do("set:a:2")); got != "503 retry" {
			t.Errorf("got %q for a write, want 503 retry", got)
		}
	})
	e.Advance(t, 10*time.Minute) // beyond OutageMaxStale
	for _, row := range []struct {
		st   *stage.Scripted
		want string
	}{{writer, "200 alice a=1"}, {reader, "200 bob"}} {
		if got := stage.Outcome(row.st.Do()); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
	failed := e.Events.Of(redsession.EventFailed)
	if len(failed) != 1 || !strings.HasPrefix(failed[0].Reason, "EVALSHA: ") || !strings.Contains(failed[0].Reason, "OOM") {
		t.Errorf("got the failures %v, want one that names OOM", failed)
	}
	if err := e.Client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if got := stage.Outcome(writer.Do("set:a:3")); got != "200 alice a=3" {
		t.Errorf("got %q once there is room, want 200 alice a=3", got)
	}
}
