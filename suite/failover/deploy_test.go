package failover_test

import (
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// balancer sends requests to the servers that are in, in turn.
type balancer struct {
	mu     sync.Mutex
	in     []string
	turn   int
	flying map[string]int
}

func (l *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	host := l.in[l.turn%len(l.in)]
	l.turn++
	l.flying[host]++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.flying[host]--
	}()
	r = r.Clone(r.Context())
	r.URL.Host = host
	return http.DefaultTransport.RoundTrip(r)
}

func (l *balancer) add(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = append(l.in, host)
}

// remove sends nothing to host any more, and waits for what is on its way.
func (l *balancer) remove(t *testing.T, host string) {
	t.Helper()
	l.mu.Lock()
	l.in = slices.DeleteFunc(l.in, func(h string) bool { return h == host })
	l.mu.Unlock()
	stage.Until(t, "the last answers of the server", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.flying[host] == 0
	})
}

// release is one version of a program that is deployed.
type release struct {
	m      *redsession.Manager
	srv    *httptest.Server
	host   string
	inside chan struct{} // a request of /slow has come
	leave  chan struct{} // closed when it may go on
}

func deploy(t *testing.T, e *stage.Env, secrets ...string) *release {
	t.Helper()
	r := &release{inside: make(chan struct{}), leave: make(chan struct{})}
	r.m = e.Manager(t, func(c *redsession.Config) {
		c.Now, c.RotateEvery, c.Secrets = nil, time.Second, nil
		for _, s := range secrets {
			c.Secrets = append(c.Secrets, []byte(strings.Repeat(s, 32)))
		}
	})
	pages := strainPages()
	pages["/slow"] = func(w http.ResponseWriter, req *http.Request, s *redsession.Session) {
		r.inside <- struct{}{}
		<-r.leave
		pages["/add"](w, req, s)
	}
	r.srv = stage.Serve(t, r.m, pages)
	r.host = r.srv.Listener.Addr().String()
	return r
}

// retire shuts the release down in order while one request is still inside, and
// returns that one's answer.
func (r *release) retire(t *testing.T, cookie string) sample {
	t.Helper()
	var sm sample
	var late sync.WaitGroup
	late.Go(func() { sm.judge(stage.NewBrowser(t, r.srv).With(cookie).Get("/slow")) })
	<-r.inside
	down := make(chan error, 1)
	go func() { down <- r.srv.Config.Shutdown(context.WithoutCancel(t.Context())) }()
	stage.Until(t, "the listener to be closed", func() bool {
		conn, err := net.Dial("tcp", r.host)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(r.leave)
	late.Wait()
	if err := <-down; err != nil {
		t.Errorf("Shutdown: got %v, want nil", err)
	}
	if err := r.m.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	return sm
}

func TestRollingDeployFailsNoRequestAndLogsNobodyOut(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	e := stage.NewEnv(srv.URL, srv.Client())
	first, second := deploy(t, e, "1"), deploy(t, e, "1", "2")
	l := &balancer{in: []string{first.host, second.host}, flying: make(map[string]int)}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &stage.Browser{T: t, Base: "http://app.example", HTTP: &http.Client{Jar: jar, Transport: l}}
	b.Get("/login")
	s := newStrain(t, b)
	s.awaitNormal(60)

	l.remove(t, first.host)
	if sm := first.retire(t, b.Cookie()); !sm.normal() || sm.wrong != "" {
		t.Errorf("the request that was inside: got %+v, want a normal answer", sm)
	}
	s.awaitNormal(60)
	l.add(deploy(t, e, "2", "1").host)
	s.awaitNormal(60)
	s.halt()

	s.wantNothingWrong()
	f := s.figures(time.Time{})
	if f.failed+f.degraded > 0 {
		t.Errorf("got %d requests that failed and %d degraded, want none", f.failed, f.degraded)
	}
	var last sample
	if last.judge(b.Get("/read")); last.count != f.added+1 || last.wrong != "" {
		t.Errorf("afterwards: got %+v, want %d writes", last, f.added+1)
	}
	if rotated := e.Events.Of(redsession.EventRotated); len(rotated) == 0 {
		t.Error("got no rotation, want the deploy to see one")
	}
}
