package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

var shipped = slices.Clone(users)

// TestMain makes logins cheap: bcrypt takes a second of each under -race.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	for i, u := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(u.Password), bcrypt.MinCost)
		if err != nil {
			panic(err)
		}
		users[i].hash = string(hash)
	}
	os.Exit(m.Run())
}

func TestShownPasswordsAreTheUsers(t *testing.T) {
	for _, u := range shipped {
		if err := bcrypt.CompareHashAndPassword([]byte(u.hash), []byte(u.Password)); err != nil {
			t.Errorf("%s: %v", u.Name, err)
		}
		if cost, _ := bcrypt.Cost([]byte(u.hash)); cost != bcrypt.DefaultCost {
			t.Errorf("%s: got a cost of %d, want %d, as an unknown user's", u.Name, cost, bcrypt.DefaultCost)
		}
	}
}

func TestRunServesUntilItIsToldToStop(t *testing.T) {
	t.Setenv("REDSESSION_URL", "")
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan string, 1)
	slog.SetDefault(slog.New(readyHandler{slog.DiscardHandler, ready}))
	defer slog.SetDefault(slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0", false) }()
	base := <-ready
	res, err := http.Get(base + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("got status %d, want 200", res.StatusCode)
	}
	addr := strings.TrimPrefix(base, "http://")
	if err := run(ctx, addr, false); err == nil || !strings.Contains(err.Error(), "another program listens on "+addr) {
		t.Errorf("a second one on %s: got the error %v", addr, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// readyHandler hands on the URL in the line that says that the demo is ready.
type readyHandler struct {
	slog.Handler
	url chan<- string
}

func (h readyHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h readyHandler) Handle(_ context.Context, r slog.Record) error {
	if u := regexp.MustCompile(`http://\S+`).FindString(r.Message); u != "" {
		h.url <- u
	}
	return nil
}
