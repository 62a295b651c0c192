package main

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

// script does what page/app.js does.
type script struct {
	*http.Client
	t    *testing.T
	base string
	csrf string
}

type reply struct {
	status      int
	User, Error string
	CSRF        string
	Todos       []string
}

func (s *script) call(method, path, body string) (got reply) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-CSRF-Token", s.csrf)
	res, err := s.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		s.t.Fatalf("%s %s: got no JSON: %v", method, path, err)
	}
	if got.status = res.StatusCode; got.CSRF != "" {
		s.csrf = got.CSRF
	}
	return got
}

func open(t *testing.T) (*redsessiontest.Manager, *script) {
	t.Helper()
	m := redsessiontest.New(t, func(c *redsession.Config) { *c = configure(*c) })
	srv := httptest.NewServer(handler(m.Manager))
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, &script{Client: &http.Client{Jar: jar}, t: t, base: srv.URL}
}

const password = `{"user":"alice","password":"rabbit-hole"}`

func TestTheScriptLogsInAddsAndLogsOut(t *testing.T) {
	_, s := open(t)
	for _, step := range []struct {
		method, path, body string
		status             int
		user, todos        string
	}{
		{"GET", "/api/todos", "", 401, "", ""},
		{"GET", "/api/session", "", 200, "", ""},
		{"POST", "/api/login", `{"user":"alice","password":"x"}`, 401, "", ""},
		{"POST", "/api/login", `nonsense`, 400, "", ""},
		{"POST", "/api/login", password, 200, "alice", ""},
		{"POST", "/api/todos", `{"text":"Milk"}`, 200, "", "Milk"},
		{"POST", "/api/todos", `{"text":""}`, 422, "", ""},
		{"POST", "/api/todos", `{"text":"` + strings.Repeat("x", maxBody) + `"}`, 400, "", ""},
		{"POST", "/api/todos", `{"text":"Eggs"}`, 200, "", "Milk,Eggs"},
		{"GET", "/api/session", "", 200, "alice", ""},
		{"POST", "/api/logout", "", 200, "", ""},
		{"GET", "/api/todos", "", 401, "", ""},
		{"POST", "/api/login", password, 200, "alice", ""},
		{"GET", "/api/todos", "", 200, "", ""},
	} {
		got := s.call(step.method, step.path, step.body)
		if got.status != step.status || got.User != step.user || strings.Join(got.Todos, ",") != step.todos || (got.Error != "") != (step.status >= 400) {
			t.Errorf("%s %s: got %d, user %q, to do %q, error %q; want %d, %q, %q",
				step.method, step.path, got.status, got.User, got.Todos, got.Error, step.status, step.user, step.todos)
		}
	}
}

func TestAChangeWithoutTheTokenOfThisSessionIsRefused(t *testing.T) {
	_, s := open(t)
	s.call("POST", "/api/login", password)
	before := s.csrf
	s.call("POST", "/api/login", password)
	_, other := open(t)
	other.call("POST", "/api/login", password)
	for name, token := range map[string]string{"none": "", "nonsense": "x", "from before the login": before, "another session's": other.csrf} {
		s.csrf = token
		if got := s.call("POST", "/api/todos", `{"text":"Milk"}`); got.status != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", name, got.status)
		}
	}
	if got := s.call("GET", "/api/todos", ""); len(got.Todos) != 0 {
		t.Errorf("got the to-dos %q, want none", got.Todos)
	}
}

func TestRedsessionsOwnAnswersAreJSON(t *testing.T) {
	m, s := open(t)
	s.call("GET", "/api/session", "")
	s.call("POST", "/api/login", password)
	if _, err := m.RevokeUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if got := s.call("GET", "/api/todos", ""); got.status != 401 || got.Error == "" {
		t.Errorf("revoked: got %d %q, want 401", got.status, got.Error)
	}
	m.TakeRedisAway()
	if got := s.call("POST", "/api/login", password); got.status != 503 || got.Error == "" {
		t.Errorf("a login while Redis is away: got %d %q, want 503", got.status, got.Error)
	}
}

func TestThePageHasAStrictPolicyAndNoSession(t *testing.T) {
	m, s := open(t)
	for _, path := range []string{"/", "/page/app.js", "/page/style.css"} {
		res, err := s.Get(s.base + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		policy := res.Header.Get("Content-Security-Policy")
		if res.StatusCode != 200 || !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: got %d with the policy %q", path, res.StatusCode, policy)
		}
		if m.Cookie(res) != nil {
			t.Errorf("%s: got a cookie", path)
		}
	}
}
