package main

import (
	"net/http/httptest"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func TestAUserIsGreetedByName(t *testing.T) {
	m := redsessiontest.New(t)
	r := m.Login(httptest.NewRequest("GET", "/", nil), "alice", func(s *redsession.Session) { visits.Set(s, 7) })
	w := httptest.NewRecorder()
	handler(m.Manager).ServeHTTP(w, r)
	if got, want := w.Body.String(), "visit 7 of alice"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
