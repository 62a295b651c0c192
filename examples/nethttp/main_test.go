package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

func TestEachVisitorHasACount(t *testing.T) {
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

	ann, ben := visitor(t), visitor(t)
	for _, step := range []struct {
		who  *http.Client
		want string
	}{
		{ann, "Your page views: 1\n"},
		{ann, "Your page views: 2\n"},
		{ben, "Your page views: 1\n"},
		{ann, "Your page views: 3\n"},
	} {
		if got := get(t, step.who, srv.URL); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	if _, err := ann.Post(srv.URL+"/forget", "", nil); err != nil {
		t.Fatal(err)
	}
	if got, want := get(t, ann, srv.URL), "Your page views: 1\n"; got != want {
		t.Errorf("after /forget: got %q, want %q", got, want)
	}
}

func visitor(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
