// Package devserver lets an example run with one command and nothing to install:
// a Redis inside the program, a secret made on the spot, a server that stops at
// Ctrl-C. A real program uses redsession.ConfigFromEnv and its own http.Server,
// as examples/nethttp shows.
package devserver

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/devredis"
)

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second // what running requests get once the program is to stop
)

// Config is redsession.ConfigFromEnv for plain HTTP on this machine. Without
// REDSESSION_URL it starts a Redis in this process, without REDSESSION_SECRETS
// it makes a secret; it logs both. Call stop once the Manager is closed.
func Config() (c redsession.Config, stop func(), err error) {
	if c, err = redsession.ConfigFromEnv(); err != nil {
		return c, nil, err
	}
	c.Cookie.InsecurePlainHTTP = true
	if len(c.Secrets) == 0 {
		secret := make([]byte, 32)
		rand.Read(secret)
		c.Secrets = [][]byte{secret}
		log.Print("made a random secret for development: no session outlives this program; set REDSESSION_SECRETS to keep them")
	}
	if c.URL != "" {
		return c, func() {}, nil
	}
	dev, err := devredis.Start()
	if err != nil {
		return c, nil, err
	}
	c.URL = dev.URL()
	log.Print("started a Redis inside this program, ", c.URL, "; set REDSESSION_URL to use another")
	return c, dev.Close, nil
}

// Serve serves h on the address that the flag -addr gives until ctx is done,
// then lets running requests finish. It logs what to open, and try, in which
// BASE stands for the address.
func Serve(ctx context.Context, h http.Handler, try string) error {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", *addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("another program listens on %s: stop it, or choose another address, for example -addr 127.0.0.1:8081", *addr)
	case err != nil:
		return fmt.Errorf("listening: %w", err)
	}
	base := "http://" + ln.Addr().String()
	log.Printf("open %s (Ctrl-C stops the program); or try:\n\n%s\n", base, strings.ReplaceAll(strings.Trim(try, "\n"), "BASE", base))
	return serve(ctx, ln, h)
}

// Server returns an http.Server with the timeouts that one on a network needs.
// A handler that streams lifts the write timeout for its own response.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := Server(h)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	log.Print("stopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stopping); err != nil {
		return errors.Join(fmt.Errorf("stopping: %w", err), srv.Close())
	}
	return nil
}
