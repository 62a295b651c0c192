package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func TestTheCartSurvivesTheLogin(t *testing.T) {
	m := redsessiontest.New(t)
	srv := httptest.NewServer(handler(m.Manager))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	for _, step := range []struct {
		method, path, form string
		status             int
		body               string
	}{
		{"GET", "/", "", 200, "User \"\", cart []\n"},
		{"POST", "/cart", "item=pear", 200, "* \"pear\" is in your cart.\nUser \"\", cart [\"pear\"]\n"},
		{"GET", "/", "", 200, "User \"\", cart [\"pear\"]\n"},
		{"POST", "/cart", "", 422, `{"message":"An item has 1 to 80 bytes."}` + "\n"},
		{"POST", "/order", "", 401, "Please log in.\n"},
		{"POST", "/login", "password=x", 401, `{"message":"The password is not right."}` + "\n"},
		{"POST", "/login", "password=rabbit-hole", 200, "* Welcome, alice.\nUser \"alice\", cart [\"pear\"]\n"},
		{"GET", "/", "", 200, "User \"alice\", cart [\"pear\"]\n"},
		{"GET", "/nowhere", "", 404, `{"message":"Not Found"}` + "\n"},
		{"POST", "/order", "", 200, "Ordered [\"pear\"].\n"},
		{"POST", "/order", "", 409, `{"message":"The cart is empty."}` + "\n"},
		{"POST", "/logout", "", 200, "* You have logged out.\nUser \"\", cart []\n"},
		{"POST", "/order", "", 401, "Please log in.\n"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), step.method, srv.URL+step.path, strings.NewReader(step.form))
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
		if err != nil || res.StatusCode != step.status || string(body) != step.body {
			t.Errorf("%s %s: got %d %q, error %v; want %d %q", step.method, step.path, res.StatusCode, body, err, step.status, step.body)
		}
	}
}

func TestAChangeThatCannotBeKeptIsNoSuccess(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.MaxBytes = 50 })
	form := url.Values{"item": {strings.Repeat("x", 80)}}.Encode()
	r := m.Login(httptest.NewRequest("POST", "/cart", strings.NewReader(form)), "alice")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	handler(m.Manager).ServeHTTP(w, r)
	if w.Code != 500 || w.Header().Get("Location") != "" || w.Body.String() != "Internal Server Error\n" {
		t.Errorf("got %d %q to %q, want 500 and nothing of echo's", w.Code, w.Body, w.Header().Get("Location"))
	}
}
