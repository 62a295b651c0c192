package outage_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// TestOutageOfThreeSecondsFailsNoRequest has clients go on all the time while Redis is away
// for as long as a failover takes, with the Config that programs have.
func TestOutageOfThreeSecondsFailsNoRequest(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := stage.NewEnv(srv.URL, srv.Client())
	usual := func(c *redsession.Config) { c.OutageWait, c.RedisTimeout = 0, 0 }
	m, elsewhere := e.Manager(t, usual), stage.NewScripted(t, e.Manager(t, usual))
	st := stage.NewScripted(t, m)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i, ops := range [][]string{
		{""}, {"add:n"}, {"add:n save add:n"}, {"logout", "login:bob"}, {"login:alice"}, {"rotate", "add:n"}, {"logout set:a:1", "login:alice"},
	} {
		client := st.Fork("")
		client.Must(fmt.Sprintf("login:user%d", i))
		clients.Go(func() { goOn(client, stop, ops) })
	}
	visitors := st.Fork("")
	clients.Go(func() {
		for {
			visitors.Fork("").Must("set:a:1")
			visitors.Fork(loginAt(elsewhere, "carol")).Must() // another server's session
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	counter := st.Fork("")
	counter.Must("login:dave")
	acknowledged := 0
	clients.Go(func() {
		for ; ; acknowledged++ {
			if a := counter.Do("add:n"); a.StatusCode != http.StatusOK {
				t.Errorf("got %d for an update, want 200", a.StatusCode)
				return
			}
			select {
			case <-stop:
				acknowledged++
				return
			default:
			}
		}
	})
	srv.Kill()
	away := time.NewTimer(3 * time.Second)
	<-away.C
	srv.Restart()
	stage.Until(t, "the end of the outage", func() bool {
		began, ended := len(e.Events.Of(redsession.EventOutageBegan)), len(e.Events.Of(redsession.EventOutageEnded))
		return began > 0 && began == ended
	})
	close(stop)
	clients.Wait()
	if got, want := elsewhere.Fork(counter.Cookie()).Do().Text, fmt.Sprintf("dave n=%d", acknowledged); got != want {
		t.Errorf("got %q, want %q: each update that was answered 200, once", got, want)
	}
}

// goOn has one client send its requests in turn until the test stops it.
func goOn(client *stage.Scripted, stop chan struct{}, ops []string) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
			client.Must(ops[i%len(ops)])
		}
	}
}
