// Command demo is a small web site with logins whose sessions live in Redis: a
// cart that survives login, a second factor, a list of devices, a page that
// asks for the password again.
//
//	go run ./cmd/demo
//
// starts it on http://127.0.0.1:8080 with a Redis of its own, which ends with
// the program and can be taken away from the page "Operations". REDSESSION_URL
// names another Redis, and the other variables of redsession.ConfigFromEnv
// apply. With -tls it speaks HTTPS, under a certificate that it makes itself,
// and the cookie is as it would be in production. It shows its users'
// passwords: look at it, do not deploy it.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/redsession/redsession"
)

// stopTimeout is what running requests get to finish once the program is to stop.
const stopTimeout = 10 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	secure := flag.Bool("tls", false, "speak HTTPS, under a certificate made now")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *secure); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run serves the demo on addr, by HTTPS if secure, until ctx is done.
func run(ctx context.Context, addr string, secure bool) (err error) {
	ln, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	c, p, err := config()
	if err != nil {
		return err
	}
	defer p.close()
	c.Cookie.InsecurePlainHTTP = !secure
	var own *tls.Config
	if secure {
		if own, err = ownTLS(); err != nil {
			return err
		}
	}
	c.DeviceBinding = redsession.DeviceBinding{Enabled: secure, Path: bindingPath, Lifetime: bindingLifetime}
	d, err := newDemo(c, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.sessions.Close()) }()
	sampling, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { d.sampler.run(sampling) })
	defer func() {
		stop()
		background.Wait()
	}()
	if secure {
		d.pin = pin(own)
	}
	return serve(ctx, ln, d.handler(), own)
}

// serve serves h on ln until ctx is done, and lets running requests finish: by HTTPS if own is
// not nil.
func serve(ctx context.Context, ln net.Listener, h http.Handler, own *tls.Config) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	scheme := "http"
	if srv.TLSConfig = own; own != nil {
		scheme = "https"
	}
	served := make(chan error, 1)
	go func() {
		if own != nil {
			served <- srv.ServeTLS(ln, "", "")
			return
		}
		served <- srv.Serve(ln)
	}()
	slog.Info("the demo is ready: open " + browserURL(scheme, ln.Addr()) + " (Ctrl-C stops it)")
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	slog.Info("stopping")
	stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stopping); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("another program listens on %s: stop it, or choose another address, for example --addr 127.0.0.1:8081", addr)
	case err != nil:
		return nil, fmt.Errorf("listening on %q: %w", addr, err)
	}
	return ln, nil
}

// config reads the environment. Without a Redis in it, one is started in this
// process.
func config() (redsession.Config, *place, error) {
	c, err := redsession.ConfigFromEnv()
	if err != nil {
		return c, nil, err
	}
	if len(c.Secrets) == 0 {
		secret := make([]byte, 32)
		rand.Read(secret)
		c.Secrets = [][]byte{secret}
		slog.Info("made a random secret: sessions end with this program; set REDSESSION_SECRETS to keep them")
	}
	if c.URL != "" {
		p, err := otherRedis(c.URL)
		return c, p, err
	}
	p, url, err := embeddedRedis()
	c.URL = url
	return c, p, err
}

// browserURL returns what to open to reach a listener on addr.
func browserURL(scheme string, addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return scheme + "://" + net.JoinHostPort("localhost", port)
	}
	return scheme + "://" + addr.String()
}
