package originals_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// jar is a browser of one site.
type jar map[string]*http.Cookie

func (j jar) get(h http.Handler, path string) string {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, c := range j {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if j[c.Name] = c; c.MaxAge < 0 {
			delete(j, c.Name)
		}
	}
	return w.Body.String()
}

func TestARollingDeployLogsNobodyOut(t *testing.T) {
	_, client := start(t)
	manager := scs.New()
	manager.Store = goredisstore.New(client.(*redis.Client))
	source := importer.SCS(client, "")
	source.UserID = byName
	rolling(t, manager, source.Adopt(""))
}

// rolling has a browser talk to a server with scs and to one of ours in turn, until it
// logs out at ours.
func rolling(t *testing.T, manager *scs.SessionManager, legacy redsession.Legacy) {
	t.Helper()
	_, client := start(t)
	old := manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			manager.Put(r.Context(), "name", "ada")
		}
		_, _ = io.WriteString(w, manager.GetString(r.Context(), "name"))
	}))
	legacy.SideBySide = true
	m, err := redsession.New(redsession.Config{
		Client: client, Secrets: [][]byte{hashKey}, RedisTimeout: time.Minute, Adopt: []redsession.Legacy{legacy},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ours := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if r.URL.Path == "/logout" {
			s.Logout()
		}
		_, _ = io.WriteString(w, s.UserID())
	}))
	j := jar{}
	if got := j.get(old, "/login"); got != "ada" {
		t.Fatalf("got %q after the login, want ada", got)
	}
	for i := range 50 {
		for name, h := range map[string]http.Handler{"scs": old, "ours": ours} {
			if got := j.get(h, "/"); got != "ada" {
				t.Fatalf("round %d, %s: got user %q, want ada", i, name, got)
			}
		}
	}
	if devices, err := m.Sessions(t.Context(), "ada"); len(devices) != 1 || err != nil {
		t.Errorf("got %d devices and error %v, want one", len(devices), err)
	}
	stale := jar{"session": j["session"]}
	j.get(ours, "/logout")
	for name, h := range map[string]http.Handler{"scs": old, "ours": ours} {
		for _, b := range []jar{j, stale} {
			if got := b.get(h, "/"); got != "" {
				t.Errorf("%s, after the logout: got user %q, want nobody", name, got)
			}
		}
	}
}
