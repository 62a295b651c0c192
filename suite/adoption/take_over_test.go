package adoption_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// withOld puts an old cookie into the jar of a new browser.
func withOld(t *testing.T, srv *httptest.Server, value string) *stage.Browser {
	t.Helper()
	b := stage.NewBrowser(t, srv)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.HTTP.Jar.SetCookies(u, []*http.Cookie{{Name: "oldsid", Value: value, Path: "/"}})
	return b
}

// oldCookie returns the old cookie in the jar, "" if it is gone.
func oldCookie(b *stage.Browser) string {
	u, _ := url.Parse(b.Base)
	for _, c := range b.HTTP.Jar.Cookies(u) {
		if c.Name == "oldsid" {
			return c.Value
		}
	}
	return ""
}

func adoptHandlers() stage.Handlers {
	type (
		W = http.ResponseWriter
		R = *http.Request
		S = *redsession.Session
	)
	return stage.Handlers{
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

func TestImportedSessionGoesOnWithTheOldCookie(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.Adopt = []redsession.Legacy{{Source: "old", Cookie: "oldsid"}} })
		outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{stage.OldSession(e, "legacy-1", "alice")}, false)
		if err != nil || outcomes[0].Status != redsession.ImportStored {
			t.Fatalf("got %v, %v, want it stored", outcomes, err)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || infos[0].ID != outcomes[0].ID {
			t.Errorf("got %v, %v in alice's list, want the imported session", infos, err)
		}
		b := withOld(t, stage.Serve(t, m, adoptHandlers()), "legacy-1")
		if a := b.Get("/"); a.Text != "alice tea" || len(a.Cookies()) != 2 || oldCookie(b) != "" || b.Cookie() == "" {
			t.Fatalf("got %q and cookies %v, want alice, her cart, our cookie set and the old one expired", a.Text, a.Cookies())
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || infos[0].ID == outcomes[0].ID {
			t.Errorf("got %v, %v in alice's list, want the session under its new id alone", infos, err)
		}
		if again := b.Get("/"); again.Text != "alice tea" {
			t.Errorf("got %q with the new cookie, want alice and her cart", again.Text)
		}
		outcomes, err = m.Import(t.Context(), []redsession.LegacyRecord{stage.OldSession(e, "legacy-1", "alice")}, true)
		if err != nil || outcomes[0].Status != redsession.ImportEnded {
			t.Errorf("got %v, %v for an import over an adopted session, want ImportEnded", outcomes, err)
		}
	})
}

func TestAdoptionDeletesTheOldSession(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		old := &stage.OldStore{}
		old.Put(stage.OldSession(e, "legacy-1", "alice"))
		m := e.Manager(t, func(c *redsession.Config) { c.Adopt = []redsession.Legacy{old.Legacy()} })
		b := withOld(t, stage.Serve(t, m, adoptHandlers()), "legacy-1")
		if a := b.Get("/"); a.Text != "alice tea" || a.StatusCode != http.StatusOK {
			t.Fatalf("got %d %q, want alice and her cart", a.StatusCode, a.Text)
		}
		if old.Has("legacy-1") {
			t.Error("the old session is still there, want it deleted")
		}
	})
}
