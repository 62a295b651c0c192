package stage

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/redsession/redsession"
)

// Nowhere is a Redis that nobody listens at.
const Nowhere = "unix:///nonexistent/redsession.sock"

// CheckConfig returns the error of New with c. A Manager that comes of it is closed at the end of the test.
func CheckConfig(t *testing.T, c redsession.Config) error {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	m, err := redsession.New(c)
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return err
}

// WantError checks that err says all of want, and shows no "hunter2", which is the password of these tests.
func WantError(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got error %v, want one that says %q", err, text)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got error %v, want one without the password or secret", err)
	}
}

// AccountHandlers change the session and say who it belongs to.
var AccountHandlers = Handlers{
	"/set":    func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { Visited.Set(s, true) },
	"/login":  func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login("alice") },
	"/logout": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Logout() },
	"/rotate": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Rotate() },
	"/id":     func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { io.WriteString(w, s.ID()) },
	"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		fmt.Fprintf(w, "%q %v", s.UserID(), s.Keys())
	},
}

// Visited is what AccountHandlers set.
const Visited = redsession.Key[bool]("visited")
