// Command nethttp counts each visitor's page views with nothing but net/http.
//
//	export REDSESSION_URL=redis://localhost:6379 REDSESSION_SECRETS=$(openssl rand -base64 32)
//	REDSESSION_INSECURE=true go run ./examples/nethttp
package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

const views = redsession.Key[int]("views")

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

// handler refuses other sites' forms first, then loads the session.
func handler(m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		views.Update(s, func(n int) int { return n + 1 })
		n, _ := views.Get(s)
		fmt.Fprintf(w, "Your page views: %d\n", n)
	})
	mux.HandleFunc("POST /forget", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Logout()
	})
	return http.NewCrossOriginProtection().Handler(m.Handler(mux))
}
