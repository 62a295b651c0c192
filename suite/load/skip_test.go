package load_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestLoadIsOneThoughHandlerIsAppliedTwice(t *testing.T) {
	t.Parallel()
	m, sent := stage.NewMini(t).Counted(t)
	h := m.Handler(m.Handler(stage.AccountHandlers.Mux()))
	cookie := stage.Issue(t, m, "/login")
	sent.Take()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "session="+cookie)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got, want := sent.Take(), "GET EXPIRE in 1"; got != want || w.Body.String() != `"alice" []` {
		t.Errorf("got commands %q and session %s, want %q and alice", got, w.Body, want)
	}
}

func TestSkippedRequestHasNoSession(t *testing.T) {
	t.Parallel()
	m, sent := stage.NewMini(t).Counted(t, func(c *redsession.Config) { c.Skip = func(r *http.Request) bool { return r.URL.Path == "/static" } })
	cookie := stage.Issue(t, m, "/login")
	sent.Take()
	r := httptest.NewRequest("GET", "/static", nil)
	r.Header.Set("Cookie", "session="+cookie)
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if s, ok := redsession.Lookup(r.Context()); ok || s != nil {
			t.Errorf("got session %v, want none", s)
		}
		defer func() {
			text, _ := recover().(string)
			if !strings.Contains(text, "Handler") || !strings.Contains(text, "Skip") {
				t.Errorf("got panic %q from FromContext, want one that names Handler and Skip", text)
			}
		}()
		redsession.FromContext(r.Context())
	})).ServeHTTP(w, r)
	if got := sent.Take(); got != " in 0" || len(w.Header()) != 0 {
		t.Errorf("got commands %q and header %v, want none", got, w.Header())
	}
}
