package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/redsession/redsession/redsessiontest"
)

func TestTheCaveOpensAfterLoginAndClosesAfterLogout(t *testing.T) {
	m := redsessiontest.New(t)
	srv := httptest.NewServer(handler(m.Manager))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	const refused = "Please log in.\n"
	for _, step := range []struct {
		method, path, password string
		wait                   time.Duration
		status                 int
		body                   string
	}{
		{"GET", "/", "", 0, 200, "Hello, \"\".\n"},
		{"GET", "/cave", "", 0, 401, refused},
		{"GET", "/cave/jars", "", 0, 200, "Taken: []\n"},
		{"POST", "/cave/jars/7", "", 0, 401, refused},
		{"GET", "/account/", "", 0, 401, refused},
		{"GET", "/account/nowhere", "", 0, 401, refused},
		{"POST", "/login", "open barley", 0, 401, "Wrong password.\n"},
		{"GET", "/cave", "", 0, 401, refused},
		{"POST", "/login", "open sesame", 0, 200, ""},
		{"GET", "/", "", 0, 200, "Hello, \"ali baba\".\n"},
		{"GET", "/cave", "", 0, 200, "Forty jars of gold.\n"},
		{"POST", "/cave/jars/7", "", 0, 200, ""},
		{"POST", "/cave/jars/9", "", 0, 200, ""},
		{"GET", "/cave/jars", "", 0, 200, "Taken: [\"7\" \"9\"]\n"},
		{"POST", "/account/move", "", 0, 200, "The gold is in another cave now.\n"},
		{"POST", "/account/move", "", 2 * time.Minute, 401, refused},
		{"POST", "/login", "open sesame", 0, 200, ""},
		{"POST", "/account/move", "", 0, 200, "The gold is in another cave now.\n"},
		{"POST", "/account/logout", "", 0, 200, ""},
		{"GET", "/cave", "", 0, 401, refused},
		{"GET", "/cave/jars", "", 0, 200, "Taken: []\n"},
	} {
		m.Advance(step.wait)
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

func TestAnotherSitesFormIsRefused(t *testing.T) {
	m := redsessiontest.New(t)
	r := m.Login(httptest.NewRequest("POST", "/account/move", nil), "ali baba")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	handler(m.Manager).ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("got %d, want 403", w.Code)
	}
}
