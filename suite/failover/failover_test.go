package failover_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// clustered is alice's session in a Redis with more than one server.
type clustered struct {
	m   *redsession.Manager
	b   *stage.Browser
	id  string
	key string
}

// loginAt logs alice in and makes ten writes. The clock is the real one.
func loginAt(t *testing.T, url string, timeout time.Duration) clustered {
	t.Helper()
	var c clustered
	c.m, c.b = process(t, url, func(c *redsession.Config) { c.RedisTimeout = timeout })
	for _, path := range append([]string{"/login"}, slices.Repeat([]string{"/add"}, 10)...) {
		if a := c.b.Get(path); a.StatusCode != http.StatusOK {
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
func process(t *testing.T, url string, change func(*redsession.Config)) (*redsession.Manager, *stage.Browser) {
	t.Helper()
	e := stage.NewEnv(url, nil)
	m := e.Manager(t, func(c *redsession.Config) { c.Now = nil }, change)
	return m, stage.NewBrowser(t, stage.Serve(t, m, strainPages()))
}

// wantKept checks that alice's session is there, under its id, and how many
// writes it has.
func (c clustered) wantKept(t *testing.T, least, most int) {
	t.Helper()
	var sm sample
	sm.judge(c.b.Get("/read"))
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

func TestFailoverOfAKilledPrimaryLosesNoSession(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
			url, primary := row.start(t)
			c := loginAt(t, url, 500*time.Millisecond)
			_, closed := process(t, url, func(c *redsession.Config) { c.RedisTimeout, c.Outage = 500*time.Millisecond, redsession.FailClosed })
			old := primary(c.key)
			replicated(t, old, c.key)
			s, strict := newStrain(t, c.b), newStrain(t, closed.With(c.b.Cookie()))
			s.awaitNormal(25)

			old.Kill()
			killed := time.Now()
			stage.Until(t, "a failover", func() bool { return primary(c.key) != old })
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

func TestFailoverByHandFailsNoRequest(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	c := loginAt(t, cluster.URL, 5*time.Second)
	s := newStrain(t, c.b)
	s.awaitNormal(25)
	old := cluster.PrimaryOf(c.key)
	replica := cluster.Nodes[slices.Index(cluster.Nodes, old)+3]
	if err := replica.Client().Do(t.Context(), "cluster", "failover").Err(); err != nil {
		t.Fatal(err)
	}
	stage.Until(t, "the replica to be the primary", func() bool { return cluster.PrimaryOf(c.key) == replica })
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

func TestFailoverSlotThatMovesLosesNoWrite(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	e := &stage.Env{Client: stage.WholeCluster{ClusterClient: cluster.Client()}, URL: cluster.URL}
	e.Restrict(t, stage.ClusterACL) // which must suffice to follow a slot
	c := loginAt(t, e.URL, 5*time.Second)
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
