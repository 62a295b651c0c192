package behaviour

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// bearable is how long a change may wait for Redis: browsers, and the proxies in front of
	// servers, wait longer.
	bearable = 10 * time.Second
	// brief is an outage that a failover makes.
	brief = 2 * time.Second
)

// judge says what a client that is logged in as alice got while Redis was away.
func (st *stage) judge(a answer) verdict { return judgeWithin(a, st.soon) }

func judgeWithin(a answer, soon time.Duration) verdict {
	after := after(a.took)
	fast := a.took <= soon
	switch {
	case a.late:
		return verdict{fmt.Sprintf("more than %g s", a.took.Truncate(100*time.Millisecond).Seconds()), false}
	case a.status == 0:
		return verdict{"connection cut " + after, fast}
	case a.status == http.StatusOK && a.has("user=alice"):
		return verdict{"served " + after, fast}
	case a.status == http.StatusOK:
		return verdict{"taken for a stranger " + after, false}
	case strings.Contains(a.page, "user="):
		return verdict{fmt.Sprintf("%d %s, the page behind it", a.status, after), false}
	case a.saw == "user=":
		return verdict{fmt.Sprintf("handler sees a stranger, %d %s", a.status, after), false}
	}
	return verdict{fmt.Sprintf("%d %s", a.status, after), fast}
}

// refusal says what came in place of 200.
func refusal(a answer) string {
	if a.status == 0 {
		return "connection cut " + after(a.took)
	}
	return fmt.Sprintf("%d %s", a.status, after(a.took))
}

func after(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "at once"
	}
	return fmt.Sprintf("after %.1f s", d.Seconds())
}

// known returns a browser that is logged in as alice, whose session was read since.
func known(st *stage) *browser {
	b := st.member("alice")
	b.do("set:a:1")
	b.do("")
	return b
}

func redisRefuses(st *stage) verdict {
	b := known(st)
	st.proxy.Refuse(true)
	v := st.judge(b.fork().do(""))
	st.proxy.Refuse(false)
	return v
}

func redisGoesAway(st *stage) verdict {
	b := known(st)
	release := b.fork().hold("hold set:late:1")
	st.proxy.Refuse(true)
	late := release()
	st.proxy.Refuse(false)
	return b.kept(judgeWithin(late, bearable), late)
}

// kept adds to v whether the change that a answered is in Redis, as an answer of 200 says and every other one denies.
func (b *browser) kept(v verdict, a answer) verdict {
	there := b.fork().do("").has("late=1") && strings.Contains(b.stored(), "late")
	switch {
	case a.status != http.StatusOK && there:
		return verdict{v.seen + ", change kept", false}
	case a.status != http.StatusOK:
		return verdict{v.seen + ", nothing kept", v.right}
	case there:
		return verdict{v.seen + ", change kept", v.right}
	}
	return verdict{v.seen + ", change lost", false}
}

// comesBack has Redis refuse connections for a short time from now on, in which do sends a request.
func (st *stage) comesBack(do func() answer) answer {
	st.proxy.Refuse(true)
	back := time.AfterFunc(brief, func() { st.proxy.Refuse(false) })
	a := do()
	if back.Stop() { // it did not wait
		st.proxy.Refuse(false)
	}
	return a
}

func writeInABriefOutage(st *stage) verdict {
	b := known(st)
	a := st.comesBack(func() answer { return b.fork().do("set:late:1") })
	v := b.kept(judgeWithin(a, bearable), a)
	v.right = v.right && a.status == http.StatusOK
	return v
}

func loginInABriefOutage(st *stage) verdict {
	b := st.browser()
	a := st.comesBack(func() answer { return b.do("login:alice") })
	if a.status != http.StatusOK {
		return verdict{refusal(a), false}
	}
	if !b.do("").has("user=alice") {
		return verdict{"200 " + after(a.took) + ", not logged in", false}
	}
	return verdict{"logged in " + after(a.took), a.took <= bearable}
}

func redisRefusesWrites(st *stage) verdict {
	b := known(st)
	ctx := context.Background()
	if err := st.admin.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		return verdict{err.Error(), false}
	}
	write, read := b.fork().do("set:late:1"), b.fork().do("")
	if err := st.admin.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		return verdict{err.Error(), false}
	}
	v := b.kept(st.judge(write), write)
	if reading := st.judge(read); !read.has("user=alice") {
		return verdict{v.seen + "; a read: " + reading.seen, false}
	}
	return verdict{v.seen + ", reads go on", v.right}
}

// logoutRefused has Redis refuse every write, the deleting of a key among them, as it does while it has too few
// replicas. What was answered as done must be done. What was answered with an error may be as it was, and the verdict
// says whether it is once Redis writes again.
func logoutRefused(st *stage) verdict {
	b := known(st)
	before := b.fork()
	ctx := context.Background()
	if err := st.admin.ConfigSet(ctx, "min-replicas-to-write", "1").Err(); err != nil {
		return verdict{err.Error(), false}
	}
	a := b.do("logout")
	if err := st.admin.ConfigSet(ctx, "min-replicas-to-write", "0").Err(); err != nil {
		return verdict{err.Error(), false}
	}
	if a.status == http.StatusOK {
		if before.fork().do("").has("user=alice") {
			return verdict{"200 " + after(a.took) + ", still logged in", false}
		}
		return verdict{"logged out " + after(a.took), a.took <= st.soon}
	}
	v := verdict{refusal(a), a.took <= st.soon}
	if strings.Contains(a.page, "user=") {
		v = verdict{v.seen + ", the page behind it", false}
	}
	const madeUpFor = 5 * time.Second
	for repaired := time.Now(); time.Since(repaired) < madeUpFor; time.Sleep(50 * time.Millisecond) {
		if before.fork().do("").page == "user=" && !strings.Contains(st.stored(), "alice") {
			return verdict{v.seen + ", logged out once Redis writes again", v.right}
		}
	}
	return verdict{v.seen + ", still logged in afterwards", v.right}
}

// serverDies has a server answer a change while Redis is away, and then never reach Redis again. Whoever comes next is
// served by another one.
func serverDies(st *stage) verdict {
	b := known(st)
	st.proxy.Refuse(true)
	defer st.proxy.Refuse(false)
	a := b.fork().do("set:late:1")
	if a.status != http.StatusOK {
		return verdict{refusal(a) + ", nothing acknowledged", true}
	}
	next, closed, err := st.another()
	if err != nil {
		return verdict{err.Error(), false}
	}
	defer closed()
	if !(&browser{next, b.cookie}).do("").has("late=1") {
		return verdict{"200 " + after(a.took) + ", change lost", false}
	}
	return verdict{"200 " + after(a.took) + ", change kept", true}
}

// stored returns the values of all records.
func (st *stage) stored() string {
	var all strings.Builder
	for _, k := range st.records() {
		all.WriteString(st.admin.Get(context.Background(), k).Val())
	}
	return all.String()
}

func redisFrozen(st *stage) verdict {
	b := known(st)
	st.server.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), st.patience)
	a := b.fork().send(ctx, "", url.Values{})
	cancel()
	st.server.Resume()
	return st.judge(a)
}

func loadingOnce(st *stage) verdict {
	b := known(st)
	var answered atomic.Bool
	st.proxy.Reply(func(args []string) (string, bool) {
		if (args[0] == "GET" || args[0] == "GETEX") && answered.CompareAndSwap(false, true) {
			return "-LOADING Redis is loading the dataset in memory\r\n", true
		}
		return "", false
	})
	during := b.fork().do("")
	st.proxy.Reply(nil)
	then := b.do("")
	switch {
	case !answered.Load():
		return verdict{"not asked", false}
	case !then.has("user=alice") || !then.has("a=1"):
		return verdict{"an empty session is saved over it", false}
	}
	return st.judge(during)
}
