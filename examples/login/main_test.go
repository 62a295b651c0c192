package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

var hidden = regexp.MustCompile(`name="(?:next|csrf_token)" value="([^"]*)"`)

func TestLoginLeadsBackAndLogoutOut(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Unauthorized = redsession.RedirectToLogin("/login") })
	h, b := handler(m.Manager), m.Browser()
	send := func(method, path string, values url.Values) (status int, to, in string) {
		r := httptest.NewRequest(method, path, strings.NewReader(values.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		res := b.Do(h, r)
		var body strings.Builder
		_ = res.Write(&body)
		if found := hidden.FindStringSubmatch(body.String()); found != nil {
			in = found[1]
		}
		return res.StatusCode, res.Header.Get("Location"), in
	}
	_, at, _ := send("GET", "/orders?page=2", nil)
	status, _, next := send("GET", at, nil)
	if status != http.StatusOK || next != "/orders?page=2" {
		t.Fatalf("got %d and the way back %q at %q, want that of the page", status, next, at)
	}
	if status, _, _ := send("POST", "/login", url.Values{"user": {"alice"}, "password": {"x"}}); status != http.StatusForbidden {
		t.Errorf("got %d for a wrong password, want 403", status)
	}
	status, to, _ := send("POST", "/login", url.Values{"user": {"alice"}, "password": {"rabbit-hole"}, "next": {next}})
	if status != http.StatusSeeOther || to != next {
		t.Fatalf("got %d to %q after the login, want %q", status, to, next)
	}
	status, _, token := send("GET", to, nil)
	if status != http.StatusOK || token == "" {
		t.Fatalf("got %d and token %q, want the page", status, token)
	}
	if status, _, _ := send("POST", "/logout", nil); status != http.StatusForbidden {
		t.Errorf("got %d for a logout without the token, want 403", status)
	}
	if status, _, _ := send("POST", "/logout", url.Values{"csrf_token": {token}}); status != http.StatusSeeOther {
		t.Errorf("got %d for the logout, want 303", status)
	}
	if _, to, _ := send("GET", "/orders", nil); to != "/login?next=%2Forders" {
		t.Errorf("got %q after the logout, want the login", to)
	}
}
