package redsession_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// strainPages tell who is logged in and a count that only Update changes.
func strainPages() handlers {
	const count = redsession.Key[int]("count")
	tell := func(w http.ResponseWriter, s *redsession.Session) {
		n, _ := count.Get(s)
		fmt.Fprintf(w, "%q %d %t", s.UserID(), n, s.Degraded())
	}
	return handlers{
		"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login("alice") },
		"/read":  func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { tell(w, s) },
		"/add": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			count.Update(s, func(n int) int { return n + 1 })
			tell(w, s)
		},
	}
}

// sample is how one request was answered.
type sample struct {
	path         string
	begun, ended time.Time
	status       int
	degraded     bool
	count        int
	wrong        string // what may never happen
}

func (s sample) normal() bool { return s.status == 200 && !s.degraded }

// strain is 50 requests a second of one logged-in browser, every other one a
// write.
type strain struct {
	t       *testing.T
	b       *browser
	stop    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	samples []sample
}

func newStrain(t *testing.T, b *browser) *strain {
	s := &strain{t: t, b: b, stop: make(chan struct{})}
	s.running.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-s.stop:
				return
			case <-ticker.C:
				s.running.Go(func() { s.send([]string{"/read", "/add"}[i%2]) })
			}
		}
	})
	t.Cleanup(s.halt)
	return s
}

// halt stops the requests and waits for those on their way.
func (s *strain) halt() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.running.Wait()
}

func (s *strain) send(path string) {
	sm := sample{path: path, begun: time.Now()}
	a, err := s.b.try(path)
	sm.ended = time.Now()
	if err != nil {
		sm.wrong = err.Error()
	} else {
		sm.judge(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, sm)
}

func (s *sample) judge(a answer) {
	var user string
	s.status = a.StatusCode
	switch s.status {
	case http.StatusOK:
		if _, err := fmt.Sscanf(a.body, "%q %d %t", &user, &s.count, &s.degraded); err != nil || user != "alice" {
			s.wrong = "the answer of " + s.path + " is " + a.body
		}
	case http.StatusServiceUnavailable:
	default:
		s.wrong = fmt.Sprintf("%s was answered %d", s.path, s.status)
	}
	for _, c := range a.setCookies() {
		if c.MaxAge < 0 || c.Value == "" {
			s.wrong = s.path + " removed the cookie"
		}
	}
}

// since returns the samples of requests that began after that.
func (s *strain) since(begin time.Time) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.samples), func(sm sample) bool { return sm.begun.Before(begin) })
}

// figures are what became of a strain.
type figures struct {
	normal, degraded, failed int
	added, tried             int           // writes: acknowledged, and sent
	gap                      time.Duration // the longest without a normal answer
	slowest                  time.Duration // request
}

func (f figures) String() string {
	return fmt.Sprintf("normal %d, degraded %d, failed %d, slowest %s, longest gap %s", f.normal, f.degraded, f.failed, f.slowest, f.gap)
}

func (s *strain) figures(begin time.Time) figures {
	var f figures
	samples := s.since(begin)
	slices.SortFunc(samples, func(a, b sample) int { return a.ended.Compare(b.ended) })
	var last time.Time
	for _, sm := range samples {
		f.slowest = max(f.slowest, sm.ended.Sub(sm.begun))
		switch {
		case sm.wrong != "":
		case sm.normal():
			if f.normal++; !last.IsZero() {
				f.gap = max(f.gap, sm.ended.Sub(last))
			}
			last = sm.ended
		case sm.degraded:
			f.degraded++
		default:
			f.failed++
		}
		if sm.path == "/add" {
			if f.tried++; sm.status == http.StatusOK {
				f.added++
			}
		}
	}
	return f
}

// awaitNormal waits until n requests that began from now on had normal answers,
// and returns when the first of them came.
func (s *strain) awaitNormal(n int) time.Time {
	s.t.Helper()
	begin := time.Now()
	var first time.Time
	until(s.t, "normal answers", func() bool {
		found := 0
		for _, sm := range s.since(begin) {
			if sm.normal() {
				if found++; first.IsZero() || sm.ended.Before(first) {
					first = sm.ended
				}
			}
		}
		return found >= n
	})
	return first
}

// wantNothingWrong checks every answer: alice is logged in, in each that is one.
func (s *strain) wantNothingWrong() {
	s.t.Helper()
	for _, sm := range s.since(time.Time{}) {
		if sm.wrong != "" {
			s.t.Errorf("after %s: %s", sm.ended.Sub(sm.begun), sm.wrong)
		}
	}
}

// until polls until the condition holds.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 15 s in vain for %s", what)
		}
	}
}

// clustered is alice's session in a Redis with more than one server.
type clustered struct {
	m   *redsession.Manager
	b   *browser
	id  string
	key string
}

// loginAt logs alice in and makes ten writes. The clock is the real one.
func loginAt(t *testing.T, url string, timeout time.Duration) clustered {
	t.Helper()
	var c clustered
	c.m, c.b = process(t, url, func(c *redsession.Config) { c.RedisTimeout = timeout })
	for _, path := range append([]string{"/login"}, slices.Repeat([]string{"/add"}, 10)...) {
		if a := c.b.get(path); a.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %d, want 200", path, a.StatusCode)
		}
	}
	infos, err := c.m.Sessions(t.Context(), "alice")
	if err != nil || len(infos) != 1 {
		t.Fatalf("got %d sessions, %v, want 1", len(infos), err)
	}
	c.id = infos[0].ID
	c.key = "session:" + c.id
	return c
}

// process is one more server of strainPages, and a browser of its own.
func process(t *testing.T, url string, change func(*redsession.Config)) (*redsession.Manager, *browser) {
	t.Helper()
	e := &env{url: url, clock: newClock(), events: &eventLog{}}
	m := e.manager(t, func(c *redsession.Config) { c.Now = nil }, change)
	return m, newBrowser(t, serve(t, m, strainPages()))
}

// wantKept checks that alice's session is there, under its id, and how many
// writes it has.
func (c clustered) wantKept(t *testing.T, least, most int) {
	t.Helper()
	var sm sample
	sm.judge(c.b.get("/read"))
	if !sm.normal() || sm.wrong != "" || sm.count < least || sm.count > most {
		t.Errorf("afterwards: got %+v, want a normal answer with a count from %d to %d", sm, least, most)
	}
	infos, err := c.m.Sessions(t.Context(), "alice")
	if err != nil || len(infos) != 1 || infos[0].ID != c.id {
		t.Errorf("afterwards: got sessions %+v, %v, want %s alone", infos, err, c.id)
	}
}

// replicated returns when the replica of srv has all that was written so far
// to the slot of key.
func replicated(t *testing.T, srv *redistest.Server, key string) {
	t.Helper()
	conn := srv.Client().Conn() // WAIT looks at the writes of its own connection
	defer conn.Close()
	if err := conn.Set(t.Context(), "{"+key+"}", 1, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(t.Context(), 1, 10*time.Second).Result(); n != 1 || err != nil {
		t.Fatalf("WAIT: got %d, %v, want 1", n, err)
	}
}

func TestPrimaryKilledUnderRequestsLosesNoSession(t *testing.T) {
	for _, row := range []struct {
		name  string
		start func(t *testing.T) (url string, primary func(key string) *redistest.Server)
	}{
		{"a primary of a cluster", func(t *testing.T) (string, func(string) *redistest.Server) {
			c := redistest.StartCluster(t)
			return c.URL, c.PrimaryOf
		}},
		{"the primary that sentinels watch", func(t *testing.T) (string, func(string) *redistest.Server) {
			s := redistest.StartSentinel(t)
			return s.URL, func(string) *redistest.Server { return s.Primary() }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			url, primary := row.start(t)
			c := loginAt(t, url, 500*time.Millisecond)
			_, closed := process(t, url, func(c *redsession.Config) { c.RedisTimeout, c.Outage = 500*time.Millisecond, redsession.FailClosed })
			old := primary(c.key)
			replicated(t, old, c.key)
			s, strict := newStrain(t, c.b), newStrain(t, closed.with(c.b.cookie()))
			s.awaitNormal(25)

			old.Kill()
			killed := time.Now()
			until(t, "a failover", func() bool { return primary(c.key) != old })
			promoted := time.Now()
			for name, s := range map[string]*strain{"ServeKnown": s, "FailClosed": strict} {
				if wait := s.awaitNormal(1).Sub(promoted); wait > 10*time.Second {
					t.Errorf("%s: got the first normal answer %s after the failover, want it within 10 s", name, wait)
				}
			}
			s.awaitNormal(100)
			s.halt()
			strict.halt()

			t.Logf("failover after %s; ServeKnown: %s; FailClosed: %s", promoted.Sub(killed), s.figures(time.Time{}), strict.figures(time.Time{}))
			added, tried := 0, 0
			for _, s := range []*strain{s, strict} {
				s.wantNothingWrong()
				added += s.figures(killed).added
				tried += s.figures(time.Time{}).tried
			}
			if f := strict.figures(killed); f.degraded > 0 {
				t.Errorf("FailClosed: got %d degraded answers, want none", f.degraded)
			}
			c.wantKept(t, 10+added, 10+tried)
		})
	}
}

func TestManualClusterFailoverFailsNoRequest(t *testing.T) {
	cluster := redistest.StartCluster(t)
	c := loginAt(t, cluster.URL, 5*time.Second)
	s := newStrain(t, c.b)
	s.awaitNormal(25)
	old := cluster.PrimaryOf(c.key)
	replica := cluster.Nodes[slices.Index(cluster.Nodes, old)+3]
	if err := replica.Client().Do(t.Context(), "cluster", "failover").Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "the replica to be the primary", func() bool { return cluster.PrimaryOf(c.key) == replica })
	s.awaitNormal(50)
	s.halt()

	s.wantNothingWrong()
	f := s.figures(time.Time{})
	t.Log(f)
	if f.failed > 0 {
		t.Errorf("got %d requests that failed, want none", f.failed)
	}
	c.wantKept(t, 10+f.added, 10+f.added)
}

func TestSlotThatMovesUnderRequestsLosesNoWrite(t *testing.T) {
	cluster := redistest.StartCluster(t)
	e := &env{client: wholeCluster{cluster.Client()}, url: cluster.URL}
	e.restrict(t, clusterACL) // which must suffice to follow a slot
	c := loginAt(t, e.url, 5*time.Second)
	s := newStrain(t, c.b)
	for range 4 {
		from := cluster.PrimaryOf(c.key)
		to := cluster.Nodes[(slices.Index(cluster.Nodes, from)+1)%3]
		moveSlot(t, cluster, from, to, c.key, s)
		if now := cluster.PrimaryOf(c.key); now != to {
			t.Fatalf("the slot is on %s, want it on %s", now.Addr, to.Addr)
		}
	}
	s.halt()

	s.wantNothingWrong()
	f := s.figures(time.Time{})
	t.Log(f)
	if f.failed+f.degraded > 0 {
		t.Errorf("got %d requests that failed and %d degraded, want none", f.failed, f.degraded)
	}
	c.wantKept(t, 10+f.added, 10+f.added)
}

// moveSlot takes the slot of key to another node, with requests between all
// steps.
func moveSlot(t *testing.T, cluster *redistest.Cluster, from, to *redistest.Server, key string, s *strain) {
	t.Helper()
	source, target := from.Client(), to.Client()
	ctx := t.Context()
	slot := source.ClusterKeySlot(ctx, key).Val()
	sourceID, targetID := source.ClusterMyID(ctx).Val(), target.ClusterMyID(ctx).Val()
	do := func(node *redis.Client, args ...any) {
		t.Helper()
		if err := node.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	s.awaitNormal(10)
	do(target, "cluster", "setslot", slot, "importing", sourceID)
	do(source, "cluster", "setslot", slot, "migrating", targetID)
	s.awaitNormal(10)
	host, port, _ := strings.Cut(to.Addr, ":")
	for _, moved := range source.ClusterGetKeysInSlot(ctx, int(slot), 100).Val() {
		do(source, "migrate", host, port, moved, 0, 5000)
	}
	s.awaitNormal(10)
	do(target, "cluster", "setslot", slot, "node", targetID)
	do(source, "cluster", "setslot", slot, "node", targetID)
	for _, other := range cluster.Nodes[:3] {
		do(other.Client(), "cluster", "setslot", slot, "node", targetID)
	}
	s.awaitNormal(10)
}

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
	until(t, "the last answers of the server", func() bool {
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

func deploy(t *testing.T, e *env, secrets ...string) *release {
	t.Helper()
	r := &release{inside: make(chan struct{}), leave: make(chan struct{})}
	r.m = e.manager(t, func(c *redsession.Config) {
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
	r.srv = serve(t, r.m, pages)
	r.host = r.srv.Listener.Addr().String()
	return r
}

// retire shuts the release down in order while one request is still inside, and
// returns that one's answer.
func (r *release) retire(t *testing.T, cookie string) sample {
	t.Helper()
	var sm sample
	var late sync.WaitGroup
	late.Go(func() { sm.judge(newBrowser(t, r.srv).with(cookie).get("/slow")) })
	<-r.inside
	down := make(chan error, 1)
	go func() { down <- r.srv.Config.Shutdown(context.WithoutCancel(t.Context())) }()
	until(t, "the listener to be closed", func() bool {
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
	srv := redistest.Start(t)
	e := &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}}
	first, second := deploy(t, e, "1"), deploy(t, e, "1", "2")
	l := &balancer{in: []string{first.host, second.host}, flying: make(map[string]int)}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, "http://app.example", &http.Client{Jar: jar, Transport: l}}
	b.get("/login")
	s := newStrain(t, b)
	s.awaitNormal(60)

	l.remove(t, first.host)
	if sm := first.retire(t, b.cookie()); !sm.normal() || sm.wrong != "" {
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
	if last.judge(b.get("/read")); last.count != f.added+1 || last.wrong != "" {
		t.Errorf("afterwards: got %+v, want %d writes", last, f.added+1)
	}
	if rotated := e.events.of(redsession.EventRotated); len(rotated) == 0 {
		t.Error("got no rotation, want the deploy to see one")
	}
}
