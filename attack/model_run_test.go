package attack_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/redistest"
)

const patience = 20 * time.Second

// newTheatre starts a Redis that a crash does not empty, and two servers, the first behind a proxy.
func newTheatre(t *testing.T) *theatre {
	t.Helper()
	th := &theatre{redis: redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"), prefix: "model:", clock: &clock{}}
	th.clock.nanos.Store(time.Now().UnixNano())
	th.proxy = redistest.NewProxy(t, th.redis.Addr)
	th.client = th.redis.Client()
	for i, addr := range []string{th.proxy.Addr, th.redis.Addr} {
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: 1, DialerRetries: 1})
		t.Cleanup(func() { client.Close() })
		c := settings(client, th.prefix, th.clock.Now)
		c.IdleTimeout, c.AnonymousTimeout, c.AbsoluteTimeout = idle*time.Second, anonymousIdle*time.Second, absolute*time.Second
		c.MaxPerUser, c.OnEvent = limit, noteRevocation
		if i == 1 {
			c.OutageWait = -1 // the other one lets requests wait
		}
		th.servers[i] = newManager(t, c)
	}
	return th
}

// TestRandomHistories plays what several browsers and administrators do at once on two servers, through storms and
// pauses, and asks whether the sequential model explains all of it. -rapid.checks=N or RAPID_CHECKS=N plays N histories.
func TestRandomHistories(t *testing.T) {
	th := newTheatre(t)
	var histories, steps, stormy, searching, undecided atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		rounds := drawRounds(rt)
		p := &play{theatre: th, rt: rt, began: time.Now(), logins: map[string]origin{}, over: map[string]int64{}}
		th.empty(rt, rounds)
		for n, r := range rounds {
			p.round(n, r)
			p.pause(r.Pause)
		}
		for i := len(p.issued); i > 0; i-- { // what lives at every id that there ever was
			p.request(len(rounds), act{Kind: "settle", Browser: i % 4, Server: i % 2, Stale: i}, false)
		}
		p.closeRound(len(rounds), p.since())
		histories.Add(1)
		steps.Add(int64(len(p.ops)))
		if p.stormy {
			stormy.Add(1)
		}
		for _, fault := range p.faults {
			rt.Error(fault)
		}
		checking := time.Now()
		switch verdict, why := p.judge(); verdict {
		case porcupine.Illegal:
			rt.Errorf("got a history that no order explains: %s\nwhole:\n%s", why, p)
		case porcupine.Unknown:
			undecided.Add(1)
		}
		searching.Add(int64(time.Since(checking)))
	})
	t.Logf("%d histories of %d steps, %d of them with storms, %d undecided; the search for an order took %s",
		histories.Load(), steps.Load(), stormy.Load(), undecided.Load(), time.Duration(searching.Load()))
}

// empty makes Redis forget the history before. It writes each change to the disk at once only if it is going to be
// killed, as that takes long: with everysec it keeps writes back while the disk is busy, and a kill would lose them.
func (th *theatre) empty(rt *rapid.T, rounds []round) {
	sync := "no"
	if slices.ContainsFunc(rounds, func(r round) bool { return r.Storm == "kill" }) {
		sync = "always"
	}
	ctx := context.Background()
	if err := errors.Join(th.client.ConfigSet(ctx, "appendfsync", sync).Err(), th.client.FlushAll(ctx).Err()); err != nil {
		rt.Fatal(err)
	}
}

// round plays r and returns when all is quiet again.
func (p *play) round(n int, r round) {
	began := p.since()
	first := len(p.ops)
	if r.Storm != "" {
		p.storm(n)
		began = p.since()
	}
	var acts sync.WaitGroup
	for _, a := range r.Acts {
		acts.Go(func() {
			if strings.HasPrefix(a.Kind, "revoke") {
				p.revoke(n, a)
			} else {
				p.request(n, a, r.Storm != "")
			}
		})
	}
	p.befall(r.Storm, &acts)
	if r.Storm != "" {
		p.settle()
		p.stretch(first+1, began)
		p.closeRound(n, began)
		p.storm(n)
		p.doubt(n, first+1)
	} else {
		p.closeRound(n, began)
	}
	p.inspect()
}

// storm notes that from here on, or until here, answers may be lost.
func (p *play) storm(n int) {
	p.stormy = true
	now := p.since()
	p.ops = append(p.ops, operationOf(0, event{what: "storm", now: p.clock.Now().Unix(), round: n}, nil, now, p.since()))
}

// doubt notes that evictions of the storm whose steps begin at first may have had an unknown outcome.
func (p *play) doubt(n, first int) {
	entered, unknown := map[string]bool{}, map[string]int{}
	for _, op := range p.ops[first:] {
		in := op.Input.(event)
		user := in.user
		if in.kind == "promote" {
			user = p.logins[in.served].user
		}
		if !in.entering() {
			continue
		}
		entered[user] = true
		if out, _ := op.Output.(*outcomeOf); out == nil {
			unknown[user]++
		}
	}
	for user := range entered {
		now := p.since()
		in := event{what: "doubt", user: user, beside: unknown[user], now: p.clock.Now().Unix(), round: n}
		p.ops = append(p.ops, operationOf(0, in, nil, now, p.since()))
	}
}

// stretch gives every step of a storm from its beginning until all servers are well.
func (p *play) stretch(first int, began int64) {
	for i := first; i < len(p.ops); i++ {
		op := &p.ops[i]
		op.Call, op.Return = began, p.since()
		if out, _ := op.Output.(*outcomeOf); out == nil && op.Input.(event).what == "commit" {
			op.Return = math.MaxInt64
		}
	}
	for i := range p.endings {
		p.endings[i].call, p.endings[i].ret = began, p.since()
	}
}

// befall makes the storm, and waits for acts.
func (p *play) befall(storm string, acts *sync.WaitGroup) {
	switch storm {
	case "stutter":
		p.redis.Pause()
		time.Sleep(5 * time.Millisecond)
		p.redis.Resume()
	case "lost replies":
		var seen atomic.Int64
		p.proxy.CutReply(func(args []string) bool {
			return strings.HasPrefix(args[0], "EVAL") && seen.Add(1)%2 == 0
		})
		acts.Wait()
		p.proxy.CutReply(nil)
	case "cut":
		p.proxy.Refuse(true)
		outlast(acts)
		p.proxy.Refuse(false)
	case "kill":
		p.redis.Kill()
		outlast(acts)
		p.redis.Restart()
	}
	acts.Wait()
}

// outlast returns when acts are over, or when those that are left have waited for Redis for a while.
func outlast(acts *sync.WaitGroup) {
	over := make(chan struct{})
	go func() {
		acts.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(50 * time.Millisecond):
	}
}

// settle waits until both servers can read and write again, and have made the logouts that they owe.
func (p *play) settle() {
	for _, m := range p.servers {
		p.await("a server to find Redis again", func() bool {
			_, err := m.Sessions(context.Background(), "nobody")
			return errors.Join(err, m.Revoke(context.Background(), keyspace.HashID(nil))) == nil
		})
	}
	for _, o := range p.owed {
		p.await("a logout that was not made at once", func() bool { return look(p.servers[1-o.server], o.cookie).body == "" })
	}
	p.owed = nil
}

func (p *play) await(what string, done func() bool) {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.rt.Fatalf("waited in vain for %s", what)
		}
	}
}

// revoke is what an administrator does.
func (p *play) revoke(n int, a act) {
	cookie, _, _ := p.arrive(&p.browsers[a.Browser], a)
	ended := &revocations{}
	ctx := context.WithValue(context.Background(), requestKey{}, ended)
	e := ending{round: n, call: p.since()}
	var err error
	switch m, id := p.servers[a.Server], publicID(cookie); {
	case a.Kind == "revoke" && id != "":
		err = m.Revoke(ctx, id)
		e.id, e.spared = id, id
		if lived := len(ended.of("revoked")) > 0; lived {
			e.spared = ""
		}
	case a.Kind == "revoke":
		return
	case a.Kind == "revoke user":
		e.user, e.mark.from = a.User, p.clock.micros()
		_, err = m.RevokeUser(ctx, a.User)
		e.mark.to = p.clock.micros()
	default:
		_, err = m.RevokeAll(ctx)
	}
	e.ret, e.failed = p.since(), err != nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endings = append(p.endings, e)
}

// closeRound turns the endings of round n into steps, now that it is known which sessions there are. A revocation ends
// what there was when it began; what began beside it, it may end.
func (p *play) closeRound(n int, began int64) {
	now := p.clock.Now().Unix()
	for _, e := range p.endings {
		if e.failed {
			e.ret, e.mark.from = math.MaxInt64, 0
		}
		if e.mark.to != 0 {
			p.ops = append(p.ops, operationOf(0, event{what: "mark", user: e.user, left: e.mark, now: now}, nil, e.call, e.ret))
		}
		if e.id != "" {
			in := event{what: "end", logins: []string{p.logins[e.id].login}, now: now}
			if e.spared != "" && !e.failed {
				in = event{what: "spare", cookie: e.id, now: now}
			}
			p.ops = append(p.ops, operationOf(0, in, nil, e.call, e.ret))
			continue
		}
		done := map[string]bool{p.logins[e.spared].login: true}
		for _, from := range p.logins {
			if done[from.login] || e.user != "" && (from.user != e.user || from.half) {
				continue
			}
			done[from.login] = true
			if at, over := p.over[from.login]; over && at < e.call {
				continue // it has ended before, and the search is the shorter for it
			}
			ret := e.ret
			if from.round == n {
				ret = math.MaxInt64
			}
			if ret != math.MaxInt64 {
				p.over[from.login] = ret
			}
			p.ops = append(p.ops, operationOf(0, event{what: "end", logins: []string{from.login}, now: now}, nil, e.call, ret))
		}
	}
	p.endings = nil
}

// pause lets time pass for the servers and for Redis.
func (p *play) pause(d time.Duration) {
	if d == 0 {
		return
	}
	p.clock.nanos.Add(int64(d))
	if d >= idle*time.Second {
		for _, from := range p.logins {
			p.over[from.login] = p.since()
		}
	}
	ctx := context.Background()
	for _, key := range keysUnder(p.rt, p.client, p.prefix) {
		ttl, err := p.client.PTTL(ctx, key).Result()
		if err == nil && ttl > 0 {
			err = p.client.PExpire(ctx, key, ttl-d).Err()
		}
		if err != nil {
			p.rt.Fatal(err)
		}
	}
}

// inspect checks what holds whenever nothing is under way.
func (p *play) inspect() {
	if keys := eternal(p.rt, p.client, p.prefix); len(keys) > 0 {
		p.rt.Errorf("got %d keys that live for ever, want none", len(keys))
	}
	for _, user := range []string{"alice", "bob"} {
		list, err := p.servers[1].Sessions(context.Background(), user)
		full := 0
		for _, info := range list {
			if info.UserID == user {
				full++
			}
		}
		if err != nil || full > limit && !p.stormy {
			p.rt.Errorf("%s: got %d sessions and %v, want at most %d", user, full, err, limit)
		}
	}
}
