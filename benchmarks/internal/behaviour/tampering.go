package behaviour

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

func replayed(st *stage) verdict {
	b := st.member("alice")
	thief := b.fork()
	b.do("logout")
	if thief.do("").has("user=alice") {
		return verdict{"logged in again", false}
	}
	return verdict{"a stranger", true}
}

// newRecord returns the key of the session that was not there before.
func (st *stage) newRecord(before []string) string {
	for _, k := range st.records() {
		if !slices.Contains(before, k) {
			return k
		}
	}
	return ""
}

func (st *stage) overwrite(k, value string) {
	if err := st.admin.Set(context.Background(), k, value, redis.KeepTTL).Err(); err != nil {
		st.t.Errorf("overwriting a record: %v", err)
	}
}

func altered(st *stage) verdict {
	mallory := st.member("mallory")
	k := st.newRecord(nil)
	value := st.admin.Get(context.Background(), k).Val()
	// Of the same length, so that every encoding stays whole.
	changed := strings.ReplaceAll(value, "mallory", "charles")
	if changed == value {
		return verdict{"the user's name is not in clear", true}
	}
	st.overwrite(k, changed)
	return believed(mallory.do(""), "user=charles")
}

func copied(st *stage) verdict {
	st.member("alice")
	before := st.records()
	if len(before) == 0 {
		return verdict{"nothing to copy", false}
	}
	mallory := st.member("mallory")
	st.overwrite(st.newRecord(before), st.admin.Get(context.Background(), before[0]).Val())
	return believed(mallory.do(""), "user=alice")
}

func believed(a answer, user string) verdict {
	switch {
	case a.has(user):
		return verdict{"mallory is " + strings.TrimPrefix(user, "user=") + " now", false}
	case a.status == http.StatusOK:
		return verdict{"refused: a stranger", true}
	}
	return verdict{"refused", true}
}

func defaultCookie(st *stage) verdict {
	line, err := st.peer.DefaultCookie(st.server.Addr)
	if err != nil {
		return verdict{"none: " + err.Error(), false}
	}
	c, err := http.ParseSetCookie(line)
	if err != nil {
		return verdict{"not to be parsed", false}
	}
	var lacks []string
	for _, attribute := range []struct {
		name string
		set  bool
	}{{"HttpOnly", c.HttpOnly}, {"Secure", c.Secure}, {"SameSite", c.SameSite > http.SameSiteDefaultMode}} {
		if !attribute.set {
			lacks = append(lacks, attribute.name)
		}
	}
	switch {
	case len(lacks) > 0:
		return verdict{"no " + strings.Join(lacks, ", no "), false}
	case strings.HasPrefix(c.Name, "__Host-"):
		return verdict{"all three, and __Host-", true}
	}
	return verdict{"all three", true}
}
