package redsession_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// oldStore is where another package keeps its sessions.
type oldStore struct {
	mu       sync.Mutex
	sessions map[string]redsession.LegacyRecord
}

func (o *oldStore) load(_ context.Context, id string) (*redsession.LegacyRecord, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if lr, ok := o.sessions[id]; ok {
		return &lr, nil
	}
	return nil, nil
}

func (o *oldStore) remove(_ context.Context, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, id)
	return nil
}

func (o *oldStore) has(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.sessions[id]
	return ok
}

func (o *oldStore) legacy() redsession.Legacy {
	return redsession.Legacy{Source: "old", Cookie: "oldsid", Load: o.load, Delete: o.remove}
}

func oldSession(e *env, id, user string) redsession.LegacyRecord {
	return redsession.LegacyRecord{
		Source: "old", ID: id, UserID: user, Values: map[string]any{"cart": []string{"tea"}},
		CreatedAt: e.clock.Now().Add(-time.Hour), ExpiresAt: e.clock.Now().Add(48 * time.Hour),
	}
}

// withOld puts an old cookie into the jar of a new browser.
func withOld(t *testing.T, srv *httptest.Server, value string) *browser {
	t.Helper()
	b := newBrowser(t, srv)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.http.Jar.SetCookies(u, []*http.Cookie{{Name: "oldsid", Value: value, Path: "/"}})
	return b
}

// old returns the old cookie in the jar, "" if it is gone.
func (b *browser) old() string {
	u, _ := url.Parse(b.base)
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == "oldsid" {
			return c.Value
		}
	}
	return ""
}

func adoptHandlers() handlers {
	type (
		W = http.ResponseWriter
		R = *http.Request
		S = *redsession.Session
	)
	return handlers{
		"/": func(w W, _ R, s S) {
			_, _ = w.Write([]byte(s.UserID() + " " + cartKey.text(s)))
		},
		"/logout": func(_ W, _ R, s S) { s.Logout() },
		"/login":  func(_ W, r R, s S) { s.Login(r.FormValue("user")) },
	}
}

type cartList string

const cartKey = cartList("cart")

func (k cartList) text(s *redsession.Session) string {
	v, _ := redsession.Key[[]string](k).Get(s)
	if len(v) == 0 {
		return "-"
	}
	return v[0]
}

func TestAnImportedSessionGoesOnWithTheOldCookie(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, func(c *redsession.Config) { c.Adopt = []redsession.Legacy{{Source: "old", Cookie: "oldsid"}} })
		outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{oldSession(e, "legacy-1", "alice")}, false)
		if err != nil || outcomes[0].Status != redsession.ImportStored {
			t.Fatalf("got %v, %v, want it stored", outcomes, err)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || infos[0].ID != outcomes[0].ID {
			t.Errorf("got %v, %v in alice's list, want the imported session", infos, err)
		}
		b := withOld(t, serve(t, m, adoptHandlers()), "legacy-1")
		if a := b.get("/"); a.body != "alice tea" || len(a.Cookies()) != 2 || b.old() != "" || b.cookie() == "" {
			t.Fatalf("got %q and cookies %v, want alice, her cart, our cookie set and the old one expired", a.body, a.Cookies())
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || infos[0].ID == outcomes[0].ID {
			t.Errorf("got %v, %v in alice's list, want the session under its new id alone", infos, err)
		}
		if again := b.get("/"); again.body != "alice tea" {
			t.Errorf("got %q with the new cookie, want alice and her cart", again.body)
		}
		outcomes, err = m.Import(t.Context(), []redsession.LegacyRecord{oldSession(e, "legacy-1", "alice")}, true)
		if err != nil || outcomes[0].Status != redsession.ImportEnded {
			t.Errorf("got %v, %v for an import over an adopted session, want ImportEnded", outcomes, err)
		}
	})
}

func TestALiveTakeOverDeletesTheOldSession(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		old := &oldStore{sessions: map[string]redsession.LegacyRecord{"legacy-1": oldSession(e, "legacy-1", "alice")}}
		m := e.manager(t, func(c *redsession.Config) { c.Adopt = []redsession.Legacy{old.legacy()} })
		b := withOld(t, serve(t, m, adoptHandlers()), "legacy-1")
		if a := b.get("/"); a.body != "alice tea" || a.StatusCode != http.StatusOK {
			t.Fatalf("got %d %q, want alice and her cart", a.StatusCode, a.body)
		}
		if old.has("legacy-1") {
			t.Error("the old session is still there, want it deleted")
		}
	})
}
