package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

func TestTheCaveOpensAfterLoginAndClosesAfterLogout(t *testing.T) {
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + miniredis.RunT(t).Addr(), Secrets: [][]byte{bytes.Repeat([]byte("s"), 32)},
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	srv := httptest.NewServer(handler(m))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}

	for _, step := range []struct {
		method, path, password string
		status                 int
		body                   string
	}{
		{"GET", "/", "", 200, "Hello, \"\".\n"},
		{"GET", "/cave", "", 401, "Please log in.\n"},
		{"POST", "/login", "open barley", 401, "Wrong password.\n"},
		{"GET", "/cave", "", 401, "Please log in.\n"},
		{"POST", "/login", "open sesame", 200, ""},
		{"GET", "/", "", 200, "Hello, \"ali baba\".\n"},
		{"GET", "/cave", "", 200, "Forty jars of gold.\n"},
		{"POST", "/logout", "", 200, ""},
		{"GET", "/cave", "", 401, "Please log in.\n"},
	} {
		var res *http.Response
		if step.method == "GET" {
			res, err = client.Get(srv.URL + step.path)
		} else {
			res, err = client.PostForm(srv.URL+step.path, url.Values{"password": {step.password}})
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != step.status || string(body) != step.body {
			t.Errorf("%s %s: got %d %q, want %d %q", step.method, step.path, res.StatusCode, body, step.status, step.body)
		}
	}
}
