package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const stopTimeout = 10 * time.Second

// pool is the reverse proxy and the servers behind it.
type pool struct {
	config redsession.Config
	proxy  *httputil.ReverseProxy

	mu      sync.Mutex // guards what follows
	servers []*server
	next    int
}

// server is one of the servers, with a Manager of its own.
type server struct {
	number  int
	url     *url.URL
	http    *http.Server
	manager *redsession.Manager
	active  sync.WaitGroup // requests that the proxy has sent there; added to under pool.mu
	resting bool           // gets no requests; guarded by pool.mu
}

func newPool(c redsession.Config, n int) (*pool, error) {
	p := &pool{config: c}
	p.proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetXForwarded()
		r.SetURL(serverOf(r.In.Context()).url)
		r.Out.Host = r.In.Host
	}}
	for i := range n {
		s, err := p.start(i + 1)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.servers = append(p.servers, s)
	}
	return p, nil
}

func (p *pool) start(number int) (*server, error) {
	m, err := redsession.New(p.config)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	s := &server{
		number: number, manager: m, http: devserver.Server(application(m, number)),
		url: &url.URL{Scheme: "http", Host: ln.Addr().String()},
	}
	go func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("server %d: %v", number, err)
		}
	}()
	return s, nil
}

func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(s.http.Shutdown(ctx), s.manager.Close())
}

type serverKey struct{}

func serverOf(ctx context.Context) *server { return ctx.Value(serverKey{}).(*server) }

// ServeHTTP passes a request on to the next server, whoever's session it is.
func (p *pool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := p.pick()
	if s == nil {
		http.Error(w, "no server", http.StatusServiceUnavailable)
		return
	}
	defer s.active.Done()
	p.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), serverKey{}, s)))
}

func (p *pool) pick() *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.servers {
		s := p.servers[p.next%len(p.servers)]
		if p.next++; !s.resting {
			s.active.Add(1)
			return s
		}
	}
	return nil
}

// restart does what a rolling deploy does: it sends a server nothing more, waits
// for what it is at, stops it, and starts another in its place.
func (p *pool) restart(number int) error {
	began := time.Now()
	p.mu.Lock()
	old := p.servers[number-1]
	old.resting = true
	p.mu.Unlock()
	old.active.Wait()
	if err := old.stop(); err != nil {
		return fmt.Errorf("stopping server %d: %w", number, err)
	}
	s, err := p.start(number)
	if err != nil {
		return fmt.Errorf("starting server %d: %w", number, err)
	}
	p.mu.Lock()
	p.servers[number-1] = s
	p.mu.Unlock()
	log.Printf("server %d was restarted, which took %s", number, time.Since(began).Round(time.Millisecond))
	return nil
}

func (p *pool) close() error {
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.stop())
	}
	return errors.Join(errs...)
}
