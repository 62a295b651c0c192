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

// judge says what a client that is logged in as alice got while Redis was away.
func (st *stage) judge(a answer) verdict {
	after := after(a.took)
	fast := a.took <= st.soon
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
	v := st.judge(late)
	if late.status != http.StatusOK {
		return v
	}
	// It said that the change is kept.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		a := b.fork().do("")
		if a.has("late=1") && strings.Contains(st.stored(), "late") {
			return verdict{v.seen + ", change kept", v.right}
		}
	}
	return verdict{v.seen + ", change lost", false}
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
