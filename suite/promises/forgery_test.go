package promises_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestWhatRedisSaysIsChecked(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.Outage = redsession.FailClosed }) // so that no memory hides a failure
		st := stage.NewScripted(t, m)
		for _, row := range forgeries {
			t.Run(row.name+", at load", func(t *testing.T) { row.atLoad(t, e, inSubtest(t, st).Fork("")) })
			t.Run(row.name+", at logout", func(t *testing.T) { row.atLogout(t, e, inSubtest(t, st).Fork("")) })
			t.Run(row.name+", at commit", func(t *testing.T) { row.atCommit(t, e, inSubtest(t, st).Fork("")) })
		}
	})
}

func (f forgery) atLoad(t *testing.T, e *stage.Env, st *stage.Scripted) {
	st.Must("login:alice set:memo:old-data")
	key := f.over(t, e, st)
	planted := e.Content(t, key)
	if a := st.Do(); a.StatusCode != http.StatusOK || a.Text != "" || len(a.SetCookies()) != 0 {
		t.Errorf("got %d, %q and cookies %v, want 200, an empty session and no cookie", a.StatusCode, a.Text, a.SetCookies())
	}
	if n := len(e.Events.Of(redsession.EventRefused)); n != 1 {
		t.Errorf("got %d events of a refusal, want 1", n)
	}
	a := st.Do("set:memo:new")
	if a.StatusCode != http.StatusOK || len(a.SetCookies()) != 1 || "session:"+a.Header.Get("X-Id") == key {
		t.Errorf("the next write: got %d, cookies %v and id %q, want 200 and one cookie of another id", a.StatusCode, a.SetCookies(), a.Header.Get("X-Id"))
	}
	if got := e.Content(t, key); got != planted {
		t.Errorf("the next write left %.200q under the planted key, want it untouched: %.200q", got, planted)
	}
	if got := st.Do().Text; got != "memo=new" {
		t.Errorf("after the next write: got %q, want memo=new", got)
	}
}

// atCommit plants while a request is between its load and its commit.
func (f forgery) atCommit(t *testing.T, e *stage.Env, st *stage.Scripted) {
	st.Must("login:alice set:memo:old-data")
	release := st.Hold("hold set:memo:new")
	key := f.over(t, e, st)
	planted := e.Content(t, key)
	late := release()
	if f.sameRevision { // the write goes over it, and nothing of it is believed
		if got := st.Do().Text; late.StatusCode != http.StatusOK || got != "alice memo=new" {
			t.Errorf("got %d, and then %q, want 200 and alice memo=new", late.StatusCode, got)
		}
		return
	}
	if late.StatusCode != http.StatusConflict || len(late.SetCookies()) != 0 {
		t.Errorf("got %d and cookies %v, want 409 and none: the change is not kept", late.StatusCode, late.SetCookies())
	}
	if n := len(e.Events.Of(redsession.EventRefused)); n != 1 {
		t.Errorf("got %d events of a refusal, want 1", n)
	}
	if got := e.Content(t, key); got != planted {
		t.Errorf("got %.200q under the planted key, want it untouched: %.200q", got, planted)
	}
}

func (f forgery) atLogout(t *testing.T, e *stage.Env, st *stage.Scripted) {
	st.Must("login:alice set:memo:old-data")
	old := st.Cookie()
	release := st.Fork(old).Hold("hold logout")
	f.over(t, e, st)
	if a := release(); a.StatusCode != http.StatusOK || len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
		t.Errorf("got %d and cookies %v, want 200 and the cookie expired", a.StatusCode, a.SetCookies())
	}
	if got := st.Fork(old).Do().Text; got != "" {
		t.Errorf("the old cookie reads %q, want an anonymous session", got)
	}
}

// forgery is what somebody with access to Redis puts under a session's key.
type forgery struct {
	name         string
	sameRevision bool
	plant        func(ctx context.Context, c redis.Cmdable, key string, s spoils)
}

// spoils is what that somebody finds in Redis.
type spoils struct{ own, otherKey, other, tombstone string }

var forgeries = []forgery{
	{"JSON of another program", false, writing(func(spoils) string { return `{"user":"root","admin":true}` })},
	{"JSON that looks like a record", false, writing(func(spoils) string {
		return `{"v":"AAAAAAAA","c":1,"x":9999999999,"i":9999,"u":"root","d":{},"t":"AAAAAAAAAAAAAAAAAAAAAA"}`
	})},
	{"an altered revision", false, writing(func(s spoils) string { return flip(s.own, 8) })},
	{"an altered user", true, writing(func(s spoils) string { return strings.Replace(s.own, `"alice"`, `"admin"`, 1) })},
	{"altered data", true, writing(func(s spoils) string { return strings.Replace(s.own, "old-data", "own-data", 1) })},
	{"an altered token", true, writing(func(s spoils) string { return flip(s.own, len(s.own)-10) })},
	{"a record without its end", true, writing(func(s spoils) string { return s.own[:len(s.own)-1] })},
	{"another session's record", false, writing(func(s spoils) string { return s.other })},
	{"another session's tombstone", false, writing(func(s spoils) string { return s.tombstone })},
	{"two records swapped", false, func(ctx context.Context, c redis.Cmdable, key string, s spoils) {
		c.Set(ctx, key, s.other, time.Hour)
		c.Set(ctx, s.otherKey, s.own, time.Hour)
	}},
	{"garbage", false, writing(func(spoils) string { return "\x00\xff{\"v\":\"\r\n" })},
	{"one character", false, writing(func(spoils) string { return "{" })},
	{"an empty string", false, writing(func(spoils) string { return "" })},
	{"a megabyte of garbage", false, writing(func(spoils) string { return strings.Repeat(`{"v":"AA`, 1<<17) })},
	{"a hash", false, func(ctx context.Context, c redis.Cmdable, key string, _ spoils) { c.HSet(ctx, key, "u", "root") }},
	{"a list", false, func(ctx context.Context, c redis.Cmdable, key string, _ spoils) { c.RPush(ctx, key, "root") }},
}

func writing(of func(s spoils) string) func(context.Context, redis.Cmdable, string, spoils) {
	return func(ctx context.Context, c redis.Cmdable, key string, s spoils) { c.Set(ctx, key, of(s), time.Hour) }
}

// flip alters one character of raw.
func flip(raw string, at int) string {
	b := []byte(raw)
	b[at] ^= 1
	return string(b)
}

// over plants the forgery over the session of st, and returns its key. Events
// are counted from then on.
func (f forgery) over(t *testing.T, e *stage.Env, st *stage.Scripted) (key string) {
	t.Helper()
	ctx := t.Context()
	own := "session:" + st.Must().Header.Get("X-Id")
	other, ended := st.Fork(""), st.Fork("")
	otherKey := "session:" + other.Must("login:mallory set:memo:planted").Header.Get("X-Id")
	endedKey := "session:" + ended.Must("login:mallory").Header.Get("X-Id")
	ended.Must("logout")
	values := e.Dump(t)
	e.Client.Del(ctx, own)
	f.plant(ctx, e.Client, own, spoils{values[own], otherKey, values[otherKey], values[endedKey]})
	e.Client.Expire(ctx, own, time.Hour)
	if e.Client.Exists(ctx, own).Val() != 1 || len(values[endedKey]) == 0 {
		t.Fatal("nothing was planted")
	}
	e.Events.Forget()
	return own
}
