package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func testPool(t *testing.T) (*redsessiontest.Manager, *pool) {
	t.Helper()
	secrets := [][]byte{bytes.Repeat([]byte("s"), 32)}
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Secrets = secrets })
	p, err := newPool(redsession.Config{
		URL: "redis://" + m.Redis.Addr(), Secrets: secrets, RedisTimeout: 10 * time.Second, TrustedHops: 1,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	}, servers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return m, p
}

func TestAnyServerServesAnySession(t *testing.T) {
	m, p := testPool(t)
	r := m.Login(httptest.NewRequest("POST", "/visit", nil), "alice")
	r.RequestURI = "" // it is sent on
	for _, want := range []string{"server 1: visit 1", "server 2: visit 2", "server 3: visit 3", "server 1: visit 4"} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if got, want := w.Body.String(), want+" of \"alice\"\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNothingIsLostWhileEachServerIsRestarted(t *testing.T) {
	_, p := testPool(t)
	restarted := make(chan error, servers)
	go func() {
		for i := range servers {
			restarted <- p.restart(i + 1)
		}
	}()
	got, err := load(t.Context(), p, 5, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range servers {
		if err := <-restarted; err != nil {
			t.Error(err)
		}
	}
	if got.failed != 0 || got.counted != got.kept || got.counted == 0 || got.users != 5 {
		t.Errorf("got %+v, want as many visits kept as counted, and none failed", got)
	}
	var report strings.Builder
	if got.print(&report); !strings.Contains(report.String(), "requests that failed: 0\n") {
		t.Errorf("got the report %q", report.String())
	}
}

func TestTheClientsAddressIsBelievedFromTheProxyAlone(t *testing.T) {
	m, p := testPool(t)
	r := httptest.NewRequest(http.MethodPost, "/login/ada", nil)
	r.RemoteAddr = "203.0.113.9:5000"
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	p.ServeHTTP(httptest.NewRecorder(), r)
	infos, err := m.Sessions(t.Context(), "ada")
	if err != nil || len(infos) != 1 || infos[0].RemoteAddr != "203.0.113.9" {
		t.Errorf("got %+v and the error %v, want the address that the proxy saw", infos, err)
	}
}
