// Command chi guards routes of a chi router: by groups, one by one, and in
// sub-routers.
//
//	go run ./examples/chi
//
// chi's middleware is net/http's, so redsession needs no adapter for it.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const try = `
  curl BASE/cave  # 401
  curl -c jar -d password='open sesame' BASE/login
  curl -b jar -c jar BASE/cave
  curl -b jar -c jar -X POST BASE/cave/jars/7
  curl -b jar -c jar BASE/cave/jars
  curl -b jar -c jar -X POST BASE/account/move  # asks for the password again after a minute
  curl -b jar -c jar -X POST BASE/account/logout
`

// recent is how old a login may be for what matters.
const recent = time.Minute

const jars = redsession.Key[[]string]("jars")

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
	m, err := redsession.New(c)
	if err != nil {
		return err
	}
	defer m.Close()
	return devserver.Serve(ctx, handler(m), try)
}

func handler(m *redsession.Manager) http.Handler {
	r := chi.NewRouter()
	// Recoverer stands outside, so that a handler that panics changes no session;
	// then other sites' forms are refused, before any session is loaded.
	r.Use(middleware.Recoverer, http.NewCrossOriginProtection().Handler, m.Handler)
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %q.\n", redsession.FromContext(r.Context()).UserID())
	})
	r.Post("/login", login)

	r.Group(func(r chi.Router) { // some routes under no common path
		r.Use(m.RequireLogin)
		r.Get("/cave", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Forty jars of gold.") })
		r.Post("/logout", logout)
	})
	r.Route("/cave/jars", func(r chi.Router) { // one route open, the other not
		r.Get("/", listJars)
		r.With(m.RequireLogin).Post("/{number}", takeJar)
	})
	r.Mount("/account", account(m)) // a router made elsewhere
	return r
}

// account needs a login for everything, and a recent one for some.
func account(m *redsession.Manager) http.Handler {
	r := chi.NewRouter()
	r.Use(m.RequireLogin)
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		fmt.Fprintf(w, "%s, logged in at %s.\n", s.UserID(), s.AuthTime().Format(time.TimeOnly))
	})
	r.Post("/logout", logout)
	r.With(m.RequireRecentLogin(recent)).Post("/move", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "The gold is in another cave now.")
	})
	return r
}

func login(w http.ResponseWriter, r *http.Request) {
	// cmd/demo shows how to keep passwords; this example has only one.
	if r.PostFormValue("password") != "open sesame" {
		http.Error(w, "Wrong password.", http.StatusUnauthorized)
		return
	}
	redsession.FromContext(r.Context()).Login("ali baba")
}

func logout(_ http.ResponseWriter, r *http.Request) {
	redsession.FromContext(r.Context()).Logout()
}

func takeJar(_ http.ResponseWriter, r *http.Request) {
	jars.Update(redsession.FromContext(r.Context()), func(taken []string) []string {
		return append(taken, chi.URLParam(r, "number"))
	})
}

func listJars(w http.ResponseWriter, r *http.Request) {
	taken, _ := jars.Get(redsession.FromContext(r.Context()))
	fmt.Fprintf(w, "Taken: %q\n", taken)
}
