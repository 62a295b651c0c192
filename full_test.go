package redsession_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// TestAFullRedisKeepsNoSessionFromEnding fills Redis: whoever can make it full must
// not keep others logged in by that.
func TestAFullRedisKeepsNoSessionFromEnding(t *testing.T) {
	srv := redistest.Start(t, "--maxmemory-policy", "noeviction")
	e := &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}}
	limit := func(memory string) {
		t.Helper()
		if err := e.client.ConfigSet(t.Context(), "maxmemory", memory).Err(); err != nil {
			t.Fatal(err)
		}
	}
	adopt := func(c *redsession.Config) { c.Adopt = []redsession.Legacy{{Source: "old", Cookie: "old"}} }
	m := e.manager(t, adopt)
	imported := redsession.LegacyRecord{Source: "old", ID: "old-id", UserID: "alice", ExpiresAt: e.clock.Now().Add(time.Hour)}
	for name, end := range map[string]func(st *stage){
		"a logout":     func(st *stage) { st.must("logout") },
		"a revocation": func(*stage) { _, _ = m.RevokeUser(t.Context(), "alice") },
		"everybody's":  func(*stage) { _, _ = m.RevokeAll(t.Context()) },
	} {
		limit("0")
		st := newStage(t, m)
		st.must("login:alice set:a:1")
		stolen := st.cookie()
		outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{imported}, true)
		if err != nil {
			t.Fatal(err)
		}
		limit("1mb") // less than an empty Redis takes
		if err := e.client.Set(t.Context(), "more", "x", 0).Err(); err == nil {
			t.Fatal("got room for more, want a full Redis")
		}
		end(st)
		if got := newStage(t, e.manager(t, adopt)).fork(stolen).do().body; got != "" {
			t.Errorf("%s: got %q at another server, want nobody", name, got)
		}
		if err := m.Revoke(t.Context(), outcomes[0].ID); err != nil {
			t.Errorf("%s: got %v from the revocation of an imported session, want none", name, err)
		}
		limit("0")
		if again, err := m.Import(t.Context(), []redsession.LegacyRecord{imported}, true); err != nil || again[0].Status != redsession.ImportEnded {
			t.Errorf("%s: got %v and error %v for the imported session, want it to stay ended", name, again, err)
		}
		e.client.FlushAll(t.Context())
	}
}
