package devserver_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

func TestWithoutEnvironmentThereIsARedisAndASecretAllTheSame(t *testing.T) {
	t.Setenv("REDSESSION_URL", "")
	t.Setenv("REDSESSION_SECRETS", "")
	c, stop, err := devserver.Config()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c.Logger = slog.New(slog.DiscardHandler)
	m, err := redsession.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice")
	})).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if n, err := m.Count(t.Context()); w.Code != 200 || n != 1 || err != nil {
		t.Errorf("after a login: got %d, %d sessions and the error %v; want 200 and one", w.Code, n, err)
	}
	other, stopOther, err := devserver.Config()
	if err != nil {
		t.Fatal(err)
	}
	defer stopOther()
	if bytes.Equal(c.Secrets[0], other.Secrets[0]) || c.URL == other.URL {
		t.Error("two programs share a secret or a Redis")
	}
}

func TestTheEnvironmentGoesFirst(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), 32)
	t.Setenv("REDSESSION_URL", "redis://redis.example:6379/2")
	t.Setenv("REDSESSION_SECRETS", base64.StdEncoding.EncodeToString(secret))
	c, stop, err := devserver.Config()
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if c.URL != "redis://redis.example:6379/2" || !bytes.Equal(c.Secrets[0], secret) {
		t.Errorf("got %q, or another secret", c.URL)
	}
	t.Setenv("REDSESSION_SECRETS", "short")
	if _, _, err := devserver.Config(); err == nil || !strings.Contains(err.Error(), "REDSESSION_SECRETS") {
		t.Errorf("a bad secret: got the error %v, want one that names the variable", err)
	}
}
