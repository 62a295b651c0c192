package keyspace_test

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/keyspace"
)

func TestIDOfASIDIsNotTheSID(t *testing.T) {
	t.Parallel()
	a, b := keyspace.NewSID(), keyspace.NewSID()
	if a == b {
		t.Fatal("two SIDs are equal")
	}
	if a.ID() != keyspace.HashID(a[:]) || a.ID() == b.ID() {
		t.Errorf("got ids %q and %q", a.ID(), b.ID())
	}
	if !keyspace.IsID(a.ID()) {
		t.Errorf("%q is no id", a.ID())
	}
}

func TestIsID(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("aZ0_", 8)
	for _, row := range []struct {
		name, id string
		want     bool
	}{
		{"32 characters of base64url are an id", good, true},
		{"nothing is none", "", false},
		{"31 characters are none", good[1:], false},
		{"33 characters are none", good + "a", false},
		{"a colon is in none", good[:31] + ":", false},
		{"a glob character is in none", good[:31] + "*", false},
		{"a NUL is in none", good[:31] + "\x00", false},
		{"a letter of two bytes is in none", good[:30] + "é", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := keyspace.IsID(row.id); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestSessionID(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("a", keyspace.IDLen)
	for _, row := range []struct {
		name, prefix, key string
		want              bool
	}{
		{"a session's key is one", "a:", "a:" + id, true},
		{"the empty prefix has sessions too", "", id, true},
		{"a longer prefix's session is none", "a:", "a:b:" + id, false},
		{"another prefix's session is none", "a:", "b:" + id, false},
		{"a user's index is none", "a:", keyspace.New("a:").User("u"), false},
		{"the state of an import is none", "a:", keyspace.New("a:").Import("scs"), false},
		{"a probe is none", "a:", keyspace.New("a:").Probe(7), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := keyspace.New(row.prefix).SessionID(row.key)
			if ok != row.want || ok && got != id {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestUserKeys(t *testing.T) {
	t.Parallel()
	s := keyspace.New("p:")
	if s.User("a") == s.User("b") || strings.Contains(s.User("alice@example.com"), "alice") {
		t.Error("a user's key shows the user, or is another's")
	}
	if !s.IsTag(s.Tag(strings.Repeat("a", 24))) || s.IsTag(s.User("")) || s.IsTag(s.Tag("short")) || s.IsTag(s.Session(keyspace.NewSID().ID())) {
		t.Error("IsTag does not tell tags' indexes apart")
	}
	if !s.IsUser(s.User("")) || s.IsUser("p:user:short") || s.IsUser("p:user:"+strings.Repeat("!", 22)) || s.IsUser(s.Session(keyspace.NewSID().ID())) || s.IsUser(s.Tag(strings.Repeat("a", 24))) {
		t.Error("IsUser does not tell users' indexes apart")
	}
}

func TestPatternsMatchTheirPrefixAlone(t *testing.T) {
	t.Parallel()
	if got, want := keyspace.New(`a*[b]-^?\`).Pattern(), `a\*\[b\]\-\^\?\\*`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := keyspace.New("s:").SessionPattern(), "s:"+strings.Repeat("?", keyspace.IDLen); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
