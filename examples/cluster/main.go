// Command cluster runs three servers of one application behind a reverse proxy
// that takes them in turn. It puts load on them, restarts one meanwhile, and
// prints what came of it: any server serves any session, and nothing is lost.
//
//	go run ./examples/cluster
//
// With REDSESSION_URL the sessions are in that Redis, else in one inside this
// program. In life the servers would be programs of their own, given the same
// REDSESSION_URL and REDSESSION_SECRETS.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const (
	servers  = 3
	users    = 20              // clients that send one request after the other
	loadTime = 4 * time.Second // how long
	try      = `
  for i in 1 2 3 4; do curl -b jar -c jar -X POST BASE/visit; done  # each by another server
  curl -b jar BASE/
`
)

const visits = redsession.Key[int]("visits")

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, stopRedis, err := devserver.Config()
	if err != nil {
		return err
	}
	defer stopRedis()
	c.TrustedHops = 1 // the proxy
	pool, err := newPool(c, servers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.close()) }()
	log.Printf("%d clients for %s, while server 2 is restarted", users, loadTime)
	restarted := make(chan error, 1)
	go func() {
		select {
		case <-time.After(loadTime / 2):
			restarted <- pool.restart(2)
		case <-ctx.Done():
			restarted <- nil
		}
	}()
	result, loadErr := load(ctx, pool, users, loadTime)
	if err := errors.Join(loadErr, <-restarted); err != nil {
		return err
	}
	result.print(os.Stdout)
	if ctx.Err() != nil {
		return nil
	}
	return devserver.Serve(ctx, pool, try)
}

// application is what each server runs: it counts a user's visits.
func application(m *redsession.Manager, number int) http.Handler {
	mux := http.NewServeMux()
	show := func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		n, _ := visits.Get(s)
		w.Header().Set("X-Server", fmt.Sprint(number))
		fmt.Fprintf(w, "server %d: visit %d of %q\n", number, n, s.UserID())
	}
	mux.HandleFunc("GET /{$}", show)
	mux.HandleFunc("POST /login/{user}", func(w http.ResponseWriter, r *http.Request) {
		// A login without a password is good enough to count visits.
		redsession.FromContext(r.Context()).Login(r.PathValue("user"))
		show(w, r)
	})
	mux.HandleFunc("POST /visit", func(w http.ResponseWriter, r *http.Request) {
		visits.Update(redsession.FromContext(r.Context()), func(n int) int { return n + 1 })
		show(w, r)
	})
	return http.NewCrossOriginProtection().Handler(m.Handler(mux))
}
