// Command chi guards some routes of a chi router by a login.
//
//	export REDSESSION_URL=redis://localhost:6379 REDSESSION_SECRETS=$(openssl rand -base64 32)
//	REDSESSION_INSECURE=true go run ./examples/chi
package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/redsession/redsession"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	c, err := redsession.ConfigFromEnv()
	if err != nil {
		return err
	}
	if c.URL == "" {
		return errors.New("REDSESSION_URL is not set: name a Redis, for example REDSESSION_URL=redis://localhost:6379")
	}
	m, err := redsession.New(c)
	if err != nil {
		return err
	}
	defer m.Close()
	srv := &http.Server{Addr: "127.0.0.1:8080", Handler: handler(m), ReadHeaderTimeout: 5 * time.Second}
	log.Print("open http://", srv.Addr)
	return srv.ListenAndServe()
}

func handler(m *redsession.Manager) http.Handler {
	r := chi.NewRouter()
	r.Use(http.NewCrossOriginProtection().Handler, m.Handler)
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %q.\n", redsession.FromContext(r.Context()).UserID())
	})
	r.Post("/login", func(w http.ResponseWriter, r *http.Request) {
		// cmd/demo shows how to keep passwords; this example has only one.
		if r.PostFormValue("password") != "open sesame" {
			http.Error(w, "Wrong password.", http.StatusUnauthorized)
			return
		}
		redsession.FromContext(r.Context()).Login("ali baba")
	})
	r.Group(func(r chi.Router) {
		r.Use(m.RequireLogin)
		r.Get("/cave", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Forty jars of gold.") })
		r.Post("/logout", func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Logout() })
	})
	return r
}
