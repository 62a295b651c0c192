package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// reply is an error as Redis sends it.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestDeniedSaysWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name, text, why string
		ok              bool
	}{
		{"a command that this user may not run", "NOPERM User app has no permissions to run the 'info' command", "needs +info", true},
		{"a subcommand", "NOPERM this user has no permissions to run the 'config|get' command", "needs +config|get", true},
		{"a key", "NOPERM No permissions to access a key", "this user may not read these keys", true},
		{"a key, by an older Redis", "NOPERM this user has no permissions to access one of the keys used as arguments", "this user may not read these keys", true},
		{"a command that is switched off", "ERR unknown command 'CONFIG', with args beginning with: 'GET' 'save' ", "CONFIG is switched off here, or this server does not have it", true},
		{"a subcommand that is unknown", "ERR unknown subcommand 'DRYRUN'. Try ACL HELP.", "DRYRUN is switched off here, or this server does not have it", true},
		{"the same, by an older Redis", "ERR Unknown subcommand or wrong number of arguments for 'DRYRUN'. Try ACL HELP.", "this server does not have the command", true},
		{"something else", "ERR syntax error", "", false},
		{"a wrong password", "WRONGPASS invalid username-password pair or user is disabled.", "", false},
	} {
		if why, ok := server.Denied(fmt.Errorf("asking: %w", reply(tt.text))); why != tt.why || ok != tt.ok {
			t.Errorf("%s: got %q, %t, want %q, %t", tt.name, why, ok, tt.why, tt.ok)
		}
	}
}

func TestKindOf(t *testing.T) {
	id := strings.Repeat("a", 32)
	for _, tt := range []struct {
		name, prefix, key string
		want              server.Kind
	}{
		{"a session", "session:", "session:" + id, server.Session},
		{"an index", "session:", "session:user:" + id[:22], server.Index},
		{"a tag's index", "session:", "session:tag:" + id[:24], server.Tag},
		{"a device's key", "session:", "session:bind:" + id[:8] + "." + strings.Repeat("a", 43), server.Device},
		{"a device's key without a thumbprint", "session:", "session:bind:" + id[:8], server.Other},
		{"an import", "session:", "session:import:scs", server.Other},
		{"of a longer prefix", "a:", "a:b:" + id, server.Other},
		{"of another prefix", "b:", "a:" + id, server.Other},
		{"too long", "a:", "a:" + id + "a", server.Other},
		{"with another character", "a:", "a:" + id[1:] + "!", server.Other},
	} {
		if got := server.KindOf(tt.prefix, tt.key); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestWalkTakesThePrefixLiterally(t *testing.T) {
	mr := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	defer client.Close()
	for _, key := range []string{"[a]*?:x", "a:x", "[a]bc:x"} {
		_ = mr.Set(key, "v")
	}
	nodes, err := server.Masters(t.Context(), client)
	if err != nil || len(nodes) != 1 {
		t.Fatalf("got %v and %v, want one node", nodes, err)
	}
	var seen []string
	err = nodes[0].Walk(t.Context(), "[a]*?:", func(keys []string) (bool, error) {
		seen = append(seen, keys...)
		return true, nil
	})
	if err != nil || len(seen) != 1 || seen[0] != "[a]*?:x" {
		t.Errorf("got %q and %v, want the one key", seen, err)
	}
}

func TestInfoParts(t *testing.T) {
	info := server.Info{"cmdstat_expire": "calls=12,usec=30", "used_memory": "77", "role": "master"}
	if got := []int64{info.Part("cmdstat_expire", "calls"), info.Part("cmdstat_get", "calls"), info.Int("used_memory"), info.Int("role")}; fmt.Sprint(got) != "[12 0 77 0]" {
		t.Errorf("got %v, want [12 0 77 0]", got)
	}
}
