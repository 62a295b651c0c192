package facts_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What was logged in under an older secret is found by all secrets, and comes over to the newest before that is gone.
func TestTaggedSessionsOverChangesOfTheSecrets(t *testing.T) {
	t.Parallel()
	secrets := func(list ...[]byte) func(*redsession.Config) {
		return func(c *redsession.Config) { c.Secrets = list }
	}
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		old, both := maker(t, secrets(stage.Secret)), maker(t, secrets(stage.NewerSecret, stage.Secret))
		before := stage.NewScripted(t, old)
		before.Must("login:alice:tag=a,tag=b")
		other := stage.NewScripted(t, old)
		other.Must("login:bob:tag=a")
		during := stage.NewScripted(t, both).Fork(before.Cookie())
		want := func(when string, m *redsession.Manager, tag string, n int) {
			t.Helper()
			if infos, err := m.Tagged(t.Context(), tag); len(infos) != n || err != nil {
				t.Errorf("%s: got %d sessions with %s, %v, want %d", when, len(infos), tag, err, n)
			}
		}
		want("with both secrets", both, "a", 2)
		for range 2 {
			e.Advance(t, 3*time.Hour)
			during.Must()
			during.Must()
			stage.Until(t, "one entry for each tag", func() bool { return len(entries(t, e, "tag")) == 3 })
		}
		want("after a rotation", both, "a", 2)
		want("after a rotation", both, "b", 1)
		newest := maker(t, secrets(stage.NewerSecret))
		want("with the newest alone", newest, "a", 1)
		want("with the newest alone", newest, "b", 1)
		want("with the old one alone", old, "a", 1)
		if got, want := stage.NewScripted(t, newest).Fork(during.Cookie()).Must("facts").Header.Get("X-Facts"), `alice "" [a b] 0[]`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if n, err := both.RevokeTagged(t.Context(), "a"); n != 2 || err != nil {
			t.Errorf("got %d ended, %v, want both", n, err)
		}
		if left := entries(t, e, "tag"); len(left) != 0 {
			t.Errorf("got the entries %v, want none", left)
		}
	})
}

// Whoever can write to Redis harms nobody by what they put under a tag's key: it is taken out, and nobody's session ends
// that does not have the tag.
func TestTaggedPoison(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t)
		victim, st := stage.NewScripted(t, m), stage.NewScripted(t, m)
		victim.Must("login:bob:tag=b")
		st.Must("login:alice:tag=a")
		id := victim.Must().Header.Get("X-Id")
		own := st.Must().Header.Get("X-Id")
		index := ""
		for _, key := range e.Client.Keys(t.Context(), "session:tag:*").Val() {
			if e.Client.ZScore(t.Context(), key, own).Err() == nil {
				index = key
			}
		}
		plant := func() {
			zs := []redis.Z{{Member: id, Score: 1}, {Member: "garbage", Score: 1}, {Member: "", Score: 2}}
			for i := range 200 {
				zs = append(zs, redis.Z{Member: fmt.Sprintf("%032d", i), Score: float64(i)})
			}
			if err := e.Client.ZAdd(t.Context(), index, zs...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		plant()
		if infos, err := m.Tagged(t.Context(), "a"); len(infos) != 1 || err != nil || infos[0].ID != own {
			t.Errorf("got %v, %v, want the one session", infos, err)
		}
		if left := e.Client.ZRange(t.Context(), index, 0, -1).Val(); len(left) != 1 {
			t.Errorf("got %d entries, want the list to heal the index", len(left))
		}
		plant()
		if n, err := m.RevokeTagged(t.Context(), "a"); n != 1 || err != nil {
			t.Errorf("got %d, %v, want one ended", n, err)
		}
		if got := victim.Must().Text; got != "bob" {
			t.Errorf("got %q of another's session, want bob", got)
		}
		for _, what := range []string{"a list", "a string"} {
			e.Client.Del(t.Context(), index)
			if what == "a list" {
				e.Client.RPush(t.Context(), index, id)
			} else {
				e.Client.Set(t.Context(), index, id, 0)
			}
			if infos, err := m.Tagged(t.Context(), "a"); len(infos) != 0 || err != nil {
				t.Errorf("%s: got %v, %v, want none", what, infos, err)
			}
			e.Advance(t, time.Millisecond)
			st.Fork("").Must("login:alice:tag=a")
			if infos, err := m.Tagged(t.Context(), "a"); len(infos) != 1 || err != nil {
				t.Errorf("%s: got %v, %v after a login, want it", what, infos, err)
			}
		}
		e.Client.Del(t.Context(), index)
		e.Client.RPush(t.Context(), index, id)
		if n, err := m.RevokeTagged(t.Context(), "a"); n != 0 || err != nil || victim.Must().Text != "bob" {
			t.Errorf("got %d, %v, want none ended", n, err)
		}
	})
}

// Neither Redis nor an error shows a tag, and an Admin that cannot find any says why.
func TestTagsAreNotShown(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		stage.NewScripted(t, m).Must("login:alice:tag=" + sid)
		for _, key := range e.Keys(t) {
			if text := key + e.Content(t, key); strings.Contains(text, "idp") || strings.Contains(text, "08a5") {
				t.Errorf("%s shows the tag", text)
			}
		}
		operator := e.Operator(t, "")
		for name, ask := range map[string]func(tag string) error{
			"Tagged":       func(tag string) error { _, err := operator.Tagged(context.Background(), tag); return err },
			"RevokeTagged": func(tag string) error { _, err := operator.RevokeTagged(context.Background(), tag); return err },
		} {
			if err := ask(sid); err == nil || !strings.Contains(err.Error(), "Secrets") || strings.Contains(err.Error(), "idp") {
				t.Errorf("%s without secrets: got %v", name, err)
			}
		}
		for _, tag := range []string{"", strings.Repeat("idp", 100)} {
			_, err := m.Tagged(t.Context(), tag)
			_, err2 := m.RevokeTagged(t.Context(), tag)
			if err == nil || err2 == nil || strings.Contains(err.Error()+err2.Error(), "idp") {
				t.Errorf("%d bytes: got %v and %v, want errors that do not show it", len(tag), err, err2)
			}
		}
	})
}

// Every process that lists, ends or logs in by a tag does so with the smallest ACL of the README.
func TestTagsNeedNoFurtherRights(t *testing.T) {
	t.Parallel()
	e := stage.FlavourNamed(t, "cluster").Env(t)
	e.Restrict(t, stage.ClusterACL)
	m := e.Manager(t, func(c *redsession.Config) {
		u, err := url.Parse(e.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.URL = u.String()
	})
	st := stage.NewScripted(t, m)
	st.Must("login:alice:tag=a")
	st.Must("rotate")
	st.Must()
	if n, err := m.RevokeTagged(t.Context(), "a"); n != 1 || err != nil {
		t.Errorf("got %d, %v, want one", n, err)
	}
}
