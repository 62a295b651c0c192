// Command spa is a page whose script talks to a JSON API by fetch: a to-do list
// behind a login, each change protected by a CSRF token in a header.
//
//	go run ./examples/spa
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const try = `
  curl -c jar -d '{"user":"alice","password":"rabbit-hole"}' BASE/api/login  # has the CSRF token
  curl -b jar -c jar -H 'X-CSRF-Token: TOKEN' -d '{"text":"Milk"}' BASE/api/todos
  curl -b jar -c jar -d '{"text":"Eggs"}' BASE/api/todos  # 403
  curl -b jar -c jar BASE/api/todos
`

const (
	todos    = redsession.Key[[]string]("todos")
	maxTodos = 50
	maxText  = 200     // bytes of one
	maxBody  = 4 << 10 // of a request
)

//go:embed page
var page embed.FS

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, stopRedis, err := devserver.Config()
	if err != nil {
		return err
	}
	defer stopRedis()
	m, err := redsession.New(configure(c))
	if err != nil {
		return err
	}
	defer m.Close()
	return devserver.Serve(ctx, handler(m), try)
}

// configure makes redsession's own answers JSON, too. The page and its script
// need no session.
func configure(c redsession.Config) redsession.Config {
	c.Skip = func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/api/") }
	c.Unauthorized = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusUnauthorized, "Please log in.")
	})
	c.Forbidden = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, "The CSRF token is missing or old: get a new one from /api/session.")
	})
	c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		switch {
		case errors.Is(err, redsession.ErrGone):
			fail(w, http.StatusConflict, "Your session has ended.")
		case errors.Is(err, redsession.ErrUnavailable):
			w.Header().Set("Retry-After", "5")
			fail(w, http.StatusServiceUnavailable, "Please try again in a moment.")
		default:
			fail(w, http.StatusInternalServerError, "Something went wrong.")
		}
	}
	return c
}

func handler(m *redsession.Manager) http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /api/session", showSession)
	api.HandleFunc("POST /api/login", login)
	user := func(h http.HandlerFunc) http.Handler { return m.RequireLogin(h) }
	api.Handle("POST /api/logout", user(logout))
	api.Handle("GET /api/todos", user(listTodos))
	api.Handle("POST /api/todos", user(addTodo))
	mux := http.NewServeMux()
	mux.Handle("/api/", http.MaxBytesHandler(m.Handler(m.CSRF(api)), maxBody))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, page, "page/index.html") })
	mux.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, page, "page/"+r.PathValue("file"))
	})
	return secureHeaders(mux)
}

// secureHeaders lets the page load its own script and style and talk to its own
// server, and nothing else.
func secureHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// showSession tells the script who is logged in. The token is another after each
// login, so that answers with it as well. Whoever has not logged in has none, and needs none.
func showSession(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	answer(w, http.StatusOK, map[string]any{"user": s.UserID(), "csrf": s.CSRFToken()})
}

func login(w http.ResponseWriter, r *http.Request) {
	var in struct{ User, Password string }
	if !read(w, r, &in) {
		return
	}
	// cmd/demo shows how to keep passwords; this example has only one.
	if in.User != "alice" || in.Password != "rabbit-hole" {
		fail(w, http.StatusUnauthorized, "The user name or the password is not right.")
		return
	}
	redsession.FromContext(r.Context()).Login(in.User)
	showSession(w, r)
}

func logout(w http.ResponseWriter, r *http.Request) {
	redsession.FromContext(r.Context()).Logout()
	showSession(w, r)
}

func listTodos(w http.ResponseWriter, r *http.Request) {
	list, _ := todos.Get(redsession.FromContext(r.Context()))
	answer(w, http.StatusOK, map[string]any{"todos": list})
}

func addTodo(w http.ResponseWriter, r *http.Request) {
	var in struct{ Text string }
	if !read(w, r, &in) {
		return
	}
	s := redsession.FromContext(r.Context())
	list, _ := todos.Get(s)
	if in.Text == "" || len(in.Text) > maxText || len(list) >= maxTodos {
		fail(w, http.StatusUnprocessableEntity, fmt.Sprintf("A to-do has 1 to %d bytes, and there are at most %d.", maxText, maxTodos))
		return
	}
	todos.Update(s, func(old []string) []string { return append(old, in.Text) })
	listTodos(w, r)
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		fail(w, http.StatusBadRequest, "The body is not the JSON that was expected.")
		return false
	}
	return true
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
