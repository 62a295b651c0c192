package binding_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/internal/tuning"
	"github.com/redsession/redsession/redsessiontest"
)

// TestBindingRoundTrips holds what each part of a bound session's life asks of a real Redis.
func TestBindingRoundTrips(t *testing.T) {
	t.Parallel()
	if tuning.Current().Apart { // a cluster's plans are counted in suite/promises
		return
	}
	p := redistest.NewProxy(t, redistest.Start(t).Addr)
	clock := redsessiontest.New(t)
	m, err := redsession.New(redsession.Config{
		URL: p.URL, Secrets: [][]byte{bytes.Repeat([]byte("s"), 32)}, Now: clock.Now, Logger: slog.New(slog.DiscardHandler),
		DeviceBinding: redsession.DeviceBinding{Enabled: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	inner := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		session := redsession.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			session.Login("alice")
		case "/add":
			number.Set(session, 1)
		case "/logout":
			session.Logout()
		}
		session.UserID()
	}))
	var sent []string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		sent = append(sent, stage.Sent(p))
	})
	b := clock.Browser()
	stage.Sent(p)
	for _, row := range []struct {
		name string
		wait time.Duration
		path string
		want []string // of each request that the browser makes
	}{
		{"a login and the registration", 0, "/login", []string{"EVALSHA in 1", "EVALSHA in 1"}},
		{"the first request, with which the binding begins", 0, "/", []string{"GET EXPIRE EVALSHA in 2"}},
		{"the next one, which notes that the new id was seen", 0, "/", []string{"GET EXPIRE EVALSHA in 2"}},
		{"a read hit", 0, "/", []string{"GET EXPIRE in 1"}},
		{"a write", 0, "/add", []string{"GET EXPIRE EVALSHA in 2"}},
		{"a proof, and a read hit", 11 * time.Minute, "/", []string{"GET GET PTTL in 1", "GET EXPIRE in 1"}},
		{"a proof with a rotation, after a challenge that has expired", 4 * time.Hour, "/", []string{"GET GET PTTL in 1", "GET GET PTTL EVALSHA in 2", "GET EXPIRE EVALSHA in 2"}},
		{"a logout", 0, "/logout", []string{"GET EXPIRE EVALSHA in 2"}},
	} {
		clock.Advance(row.wait)
		sent = nil
		b.Get(h, row.path)
		if !slices.Equal(sent, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, sent, row.want)
		}
	}
}
