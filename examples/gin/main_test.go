package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = io.Discard
	os.Exit(m.Run())
}

func newManager(t *testing.T) *redsessiontest.Manager {
	t.Helper()
	return redsessiontest.New(t, func(c *redsession.Config) {
		c.ErrorHandler, c.Unauthorized = failed, http.HandlerFunc(unauthorized)
	})
}

func TestNotesAreKeptFromLoginToLogout(t *testing.T) {
	m := newManager(t)
	srv := httptest.NewServer(handler(m.Manager))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	const refused = `{"error":"Please log in."}`
	for _, step := range []struct {
		method, path string
		form         url.Values
		wait         time.Duration
		status       int
		body         string
	}{
		{"GET", "/", nil, 0, 200, `{"user":""}`},
		{"GET", "/notes", nil, 0, 401, refused},
		{"POST", "/login", url.Values{"user": {"alice"}, "password": {"x"}}, 0, 401, `{"error":"The user name or the password is not right."}`},
		{"POST", "/login", url.Values{"user": {"alice"}, "password": {"rabbit-hole"}}, 0, 200, `{"user":"alice"}`},
		{"GET", "/notes", nil, 0, 200, `{"notes":null}`},
		{"POST", "/notes", url.Values{"text": {"Milk"}}, 0, 201, `{"notes":["Milk"]}`},
		{"POST", "/notes", nil, 0, 422, `{"error":"A note has 1 to 200 bytes."}`},
		{"GET", "/notes", nil, 0, 200, `{"notes":["Milk"]}`},
		{"DELETE", "/notes", nil, 2 * time.Minute, 401, refused},
		{"POST", "/login", url.Values{"user": {"alice"}, "password": {"rabbit-hole"}}, 0, 200, `{"user":"alice"}`},
		{"DELETE", "/notes", nil, 0, 204, ""},
		{"GET", "/notes", nil, 0, 200, `{"notes":null}`},
		{"POST", "/logout", nil, 0, 204, ""},
		{"GET", "/notes", nil, 0, 401, refused},
	} {
		m.Advance(step.wait)
		r, err := http.NewRequestWithContext(t.Context(), step.method, srv.URL+step.path, strings.NewReader(step.form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got := strings.TrimSpace(string(body)); err != nil || res.StatusCode != step.status || got != step.body {
			t.Errorf("%s %s: got %d %q, error %v; want %d %q", step.method, step.path, res.StatusCode, got, err, step.status, step.body)
		}
	}
}

func TestErrorsAreJSON(t *testing.T) {
	for _, row := range []struct {
		name   string
		do     func(m *redsessiontest.Manager)
		status int
	}{
		{"a session revoked meanwhile", func(m *redsessiontest.Manager) { _, _ = m.RevokeUser(t.Context(), "alice") }, 401},
		{"Redis away, the session too old to be served from memory", func(m *redsessiontest.Manager) {
			m.Advance(time.Hour)
			m.TakeRedisAway()
		}, 503},
	} {
		m := newManager(t)
		r := m.Login(httptest.NewRequest("GET", "/notes", nil), "alice")
		row.do(m)
		w := httptest.NewRecorder()
		handler(m.Manager).ServeHTTP(w, r)
		if w.Code != row.status || !strings.HasPrefix(w.Body.String(), `{"error":`) {
			t.Errorf("%s: got %d %q, want %d and JSON", row.name, w.Code, w.Body, row.status)
		}
	}
}
