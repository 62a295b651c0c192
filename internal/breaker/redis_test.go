package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/topology"
)

var _ breaker.Topology = (*topology.Topology)(nil)

// setProbe is a write that leaves nothing behind.
var setProbe = redis.NewScript(`return redis.call("SET", KEYS[1], "", "PX", 1)`)

// exchange is what the tests send, as requests and as probes.
func exchange(ctx context.Context, conn redis.UniversalClient, side breaker.Side, key string) error {
	if side == breaker.Write {
		return setProbe.Eval(ctx, conn, []string{"{" + key + "}written"}).Err()
	}
	return conn.Get(ctx, key).Err()
}

// rig is a Breaker before a real Redis. Unless that is a cluster, a proxy is in between.
type rig struct {
	*breaker.Breaker
	t       *testing.T
	server  *redistest.Server
	proxy   *redistest.Proxy
	client  redis.UniversalClient
	changes chan breaker.Change
	blinks  chan struct{}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	r := newRigOf(t, client)
	r.server, r.proxy = server, proxy
	return r
}

func newRigOf(t *testing.T, client redis.UniversalClient) *rig {
	t.Helper()
	r := &rig{t: t, client: client, changes: make(chan breaker.Change, 100), blinks: make(chan struct{}, 100)}
	servers, err := topology.Of(client)
	if err != nil {
		t.Fatalf("the topology: %v", err)
	}
	r.Breaker = breaker.New(breaker.Config{
		Topology: servers, Timeout: 200 * time.Millisecond, Wait: time.Minute, ProbeEvery: 10 * time.Millisecond, Probe: exchange,
		OnChange: func(_ context.Context, c breaker.Change) { r.changes <- c },
		OnBlink:  func(context.Context) { r.blinks <- struct{}{} },
	})
	t.Cleanup(r.Close)
	return r
}

// send does what a request does once.
func (r *rig) send(side breaker.Side) error {
	if err := r.Allow(r.t.Context(), "key", side); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 200*time.Millisecond)
	defer cancel()
	sent := time.Now()
	err := exchange(ctx, r.client, side, "key")
	r.Report(r.t.Context(), "key", side, sent, err)
	return err
}

// sendAgain does what a request does that failed by cause.
func (r *rig) sendAgain(side breaker.Side, cause error) error {
	budget := breaker.NewBudget(time.Minute)
	for cause != nil {
		leave, err := r.Await(r.t.Context(), "key", side, "id", budget, cause)
		if err != nil {
			return err
		}
		cause = r.send(side)
		leave()
	}
	return nil
}

// wantChange wants the next changes to concern just these sides.
func (r *rig) wantChange(down bool, sides ...breaker.Side) {
	r.t.Helper()
	want := make(map[breaker.Side]bool)
	for _, side := range sides {
		want[side] = true
	}
	for range sides {
		select {
		case c := <-r.changes:
			if !want[c.Side] || c.Down != down || (c.Err != nil) != down {
				r.t.Fatalf("got %+v, want down: %t", c, down)
			}
			delete(want, c.Side)
		case <-time.After(20 * time.Second):
			r.t.Fatalf("no change of %v, want down: %t", want, down)
		}
	}
}

func TestRedisThatGoesAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		goAway   func(*rig)
		comeBack func(*rig)
	}{
		{"frozen", func(r *rig) { r.server.Pause() }, func(r *rig) { r.server.Resume() }},
		{"killed", func(r *rig) { r.server.Kill() }, func(r *rig) { r.server.Restart() }},
		{"behind a network that drops packets", func(r *rig) { r.proxy.Blackhole(true) }, func(r *rig) { r.proxy.Blackhole(false) }},
		{"refusing connections", func(r *rig) { r.proxy.Refuse(true) }, func(r *rig) { r.proxy.Refuse(false) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if err := r.send(breaker.Write); err != nil {
				t.Fatalf("writing at first: got %v", err)
			}
			row.goAway(r)
			cause := r.send(breaker.Write)
			for r.Allow(t.Context(), "key", breaker.Write) == nil { // one time-out may be too soon after an answer
				cause = r.send(breaker.Write)
			}
			r.wantChange(true, breaker.Read, breaker.Write)

			done := make(chan error)
			go func() { done <- r.sendAgain(breaker.Write, cause) }()
			row.comeBack(r)
			r.wantChange(false, breaker.Read, breaker.Write)
			if err := <-done; err != nil {
				t.Errorf("the request that waited: got %v", err)
			}
		})
	}
}

func TestRedisThatRefusesWritesIsRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin := r.server.Client()
	if err := admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatalf("REPLICAOF: %v", err)
	}
	cause := r.send(breaker.Write)
	r.wantChange(true, breaker.Write)
	if err := r.send(breaker.Read); err != redis.Nil {
		t.Errorf("reading: got %v, want that there is no such key", err)
	}
	_, err := r.Await(t.Context(), "key", breaker.Write, "id", breaker.NewBudget(time.Minute), cause)
	wantErr(t, err, cause, "no failover is under way")

	if err := admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatalf("REPLICAOF NO ONE: %v", err)
	}
	r.wantChange(false, breaker.Write)
	if err := r.send(breaker.Write); err != nil {
		t.Errorf("writing again: got %v", err)
	}
}

func TestRedisThatCutsAConnectionIsNotAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cut := true
	r.proxy.CutReply(func(args []string) bool { defer func() { cut = false }(); return cut && args[0] == "GET" })
	cause := r.send(breaker.Read)
	leave, err := r.Await(t.Context(), "key", breaker.Read, "id", breaker.NewBudget(time.Minute), cause)
	if err != nil {
		t.Fatalf("waiting: got %v", err)
	}
	defer leave()
	if err := r.send(breaker.Read); err != redis.Nil {
		t.Errorf("sent again: got %v, want that there is no such key", err)
	}
	<-r.blinks
	if len(r.changes) > 0 {
		t.Errorf("got an outage: %+v", <-r.changes)
	}
}

func TestRedisClusterThatLosesAPrimaryIsWaitedFor(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs, ContextTimeoutEnabled: true, MaxRedirects: -1})
	t.Cleanup(func() { _ = client.Close() })
	r := newRigOf(t, client)
	if err := exchange(t.Context(), client, breaker.Write, "key"); err != nil { // so that the client knows the cluster
		t.Fatalf("writing at first: got %v", err)
	}
	cluster.PrimaryOf("key").Kill()
	if err := r.sendAgain(breaker.Write, r.send(breaker.Write)); err != nil {
		t.Errorf("the request that waited: got %v", err)
	}
	r.wantChange(true, breaker.Read, breaker.Write)
	if err := r.Allow(t.Context(), "key", breaker.Write); err != nil {
		t.Errorf("afterwards: got %v", err)
	}
}
