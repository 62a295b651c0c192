package rediserr_test

import (
	"testing"

	"github.com/redsession/redsession/internal/rediserr"
)

// answered is an error reply as go-redis returns it.
type answered string

func (a answered) Error() string { return string(a) }
func (answered) RedisError()     {}

// Replies that no server of this machine gives, by the file that holds them: Redis
// (src/), Valkey, Dragonfly, Envoy, twemproxy, corvus, camellia, redis-cluster-proxy.
// server_test.go has those of Redis 7.0.
func TestReply(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, text      string
		command, script rediserr.Meaning
	}{
		// Redis 6, src/scripting.c: luaPushError and evalGenericCommand.
		{"Redis 6 says OOM inside a script", "ERR Error running script (call to f_d223ed8c7345b684e8ed044ed472601f536fa58b): @user_script:3: @user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.", partly(stays, writes), partly(stays, writes)},
		{"Redis 6 says READONLY inside a script", "ERR Error running script (call to f_d2): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.", partly(aroundFailover, writes), partly(aroundFailover, writes)},
		{"Redis 6 says MISCONF inside a script", "ERR Error running script (call to f_d2): @user_script:1: @user_script: 1: -MISCONF Errors writing to the AOF file: No space left on device", partly(stays, writes), partly(stays, writes)},
		{"Redis 6 says NOPERM inside a script", "ERR Error running script (call to f_d2): @user_script:1: @user_script: 1: The user executing the script can't run this command or subcommand", partly(stays, node), partly(stays, node)},
		{"Redis 6 says WRONGTYPE inside a script", "ERR Error running script (call to f_d2): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value", partly(stays, key), partly(stays, key)},
		{"Redis 6 returns OOM of a pcall", "@user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.", partly(stays, writes), partly(stays, writes)},
		{"Redis 6 kills a script", "ERR Error running script (call to f_d2): @user_script:1: Script killed by user with SCRIPT KILL...", partly(passes, node), partly(passes, node)},
		{"a script of Redis 6 fails", "ERR Error running script (call to f_d2): @user_script:1: user_script:1: attempt to index a nil value", partly(stays, bug), partly(stays, bug)},

		// Redis 7.2 and Valkey, src/script.c, src/acl.c, src/multi.c.
		{"a script of another server says NOPERM inside", "ERR Error running script (call to f_d2): @user_script:1: NOPERM User alice has no permissions to run the 'set' command", partly(stays, node), partly(stays, node)},
		{"Redis 7.2 says NOPERM inside a script", "ERR ACL failure in script: User alice has no permissions to run the 'set' command script: ab12, on @user_script:1.", partly(stays, node), partly(stays, node)},
		{"Redis 7.2 says NOPERM", "NOPERM User alice has no permissions to run the 'evalsha' command", refused(stays, node), refused(stays, node)},
		{"a function of Redis 7 is out of memory", "OOM command not allowed when used memory > 'maxmemory'. script: swap, on @user_function:12.", partly(stays, writes), partly(stays, writes)},
		{"a script may not write on a replica", "READONLY Can not run script with write flag on readonly replica", refused(aroundFailover, writes), partly(aroundFailover, writes)},
		{"the cluster is down inside a script", "ERR Script attempted to execute a command while the cluster is down script: ab12, on @user_script:1.", partly(passes, node), partly(passes, node)},
		{"a replica is stale inside a script", "ERR Can not execute the command on a stale replica script: ab12, on @user_script:1.", partly(passes, node), partly(passes, node)},
		{"a script mixes slots", "ERR Script attempted to access keys that do not hash to the same slot script: ab12, on @user_script:1.", partly(stays, bug), partly(stays, bug)},
		{"a transaction is discarded for lack of memory", "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.", refused(stays, writes), partly(stays, writes)},
		{"a transaction is discarded", "EXECABORT Transaction discarded because of previous errors.", refused(stays, bug), refused(stays, bug)},
		{"Valkey is loading", "LOADING Valkey is loading the dataset in memory", refused(passes, node), refused(passes, node)},
		{"the cluster takes reads alone", "CLUSTERDOWN The cluster is down and only accepts read commands", refused(passes, node), refused(passes, node)},
		{"a wait is ended since the node became a replica", "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", refused(aroundFailover, node), partly(aroundFailover, node)},
		{"too many clients", "ERR max number of clients reached", refused(passes, node), refused(passes, node)},
		{"too many clients of a cluster", "ERR max number of clients + cluster connections reached", refused(passes, node), refused(passes, node)},
		{"protected mode", "DENIED Redis is running in protected mode because protected mode is enabled", refused(stays, connection), refused(stays, connection)},
		{"BUSYKEY is not BUSY", "BUSYKEY Target key name already exists.", maybe(stays, node), partly(stays, node)},

		// Redis 5 and older, src/server.c.
		{"a password before Redis 6", "ERR invalid password", refused(stays, connection), refused(stays, connection)},
		{"a password that Redis 5 does not want", "ERR Client sent AUTH, but no password is set", refused(stays, connection), refused(stays, connection)},

		// Sentinel, src/sentinel.c.
		{"a failover is under way", "INPROG Failover already in progress", refused(passes, node), refused(passes, node)},
		{"no replica can take over", "NOGOODSLAVE No suitable replica to promote", refused(passes, node), refused(passes, node)},
		{"a primary of another name", "ERR No such master with that name", refused(stays, connection), refused(stays, connection)},

		// Other servers and proxies.
		{"a proxy puts ERR before a code", "ERR READONLY You can't write against a read only replica.", refused(aroundFailover, writes), partly(aroundFailover, writes)},
		{"KeyDB is loading", "LOADING KeyDB is loading the dataset in memory", refused(passes, node), refused(passes, node)},
		{"Dragonfly is loading", "LOADING Dragonfly is loading the dataset in memory", refused(passes, node), refused(passes, node)},
		{"Dragonfly is full", "ERR Out of memory", refused(stays, writes), partly(stays, writes)},
		{"a script of Dragonfly uses another key", "ERR script tried accessing undeclared key", refused(stays, bug), partly(stays, bug)},
		{"Envoy has no server", "no upstream host", refused(passes, connection), refused(passes, connection)},
		{"Envoy lost its server", "upstream failure", maybe(passes, connection), partly(passes, connection)},
		{"Envoy did a part of a DEL", "finished with 2 error(s)", partly(passes, connection), partly(passes, connection)},
		{"Envoy does not know EVALSHA", "ERR unknown command 'evalsha', with args beginning with: ab12", refused(stays, node), refused(stays, node)},
		{"Envoy does not know a command, in its older words", "unsupported command 'wait'", refused(stays, node), refused(stays, node)},
		{"the server of twemproxy is gone", "ERR Connection refused", refused(passes, connection), refused(passes, connection)},
		{"the server of twemproxy does not answer", "ERR Connection timed out", maybe(passes, connection), partly(passes, connection)},
		{"corvus fails", "ERR Proxy error", maybe(passes, connection), partly(passes, connection)},
		{"corvus cannot forward", "ERR Proxy fail to forward command", maybe(passes, connection), partly(passes, connection)},
		{"camellia has no server", "ERR proxy upstream not available", maybe(passes, connection), partly(passes, connection)},
		{"redis-cluster-proxy mixes no slots", "ERR Cross-slot queries are not supported for this command.", refused(stays, bug), refused(stays, bug)},

		{"an unknown reply may be anything", "ERR the moon is full", maybe(stays, node), partly(stays, node)},
		{"an empty reply may be anything", "", maybe(stays, node), partly(stays, node)},
		{"an unknown code is no known one", "LOADINGS of cargo", maybe(stays, node), partly(stays, node)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			check(t, answered(row.text), false, row.command)
			check(t, answered(row.text), true, row.script)
		})
	}
}

func TestReplyTextHoldsNoArgument(t *testing.T) {
	t.Parallel()
	const sid = "Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZg"
	for _, row := range []struct{ name, text, want string }{
		{"the arguments of an unknown command go", "ERR unknown command 'evalsha', with args beginning with: 'secret' ", "ERR unknown command 'evalsha'"},
		{"those of Redis 6 go", "ERR unknown command `GET`, with args beginning with: `secret`, ", "ERR unknown command `GET`"},
		{"those of Envoy go", "ERR unknown command, 'get' with args beginning with: secret", "ERR unknown command, 'get'"},
		{"the name of a refused command stays", "NOPERM this user has no permissions to run the 'evalsha' command", "NOPERM this user has no permissions to run the 'evalsha' command"},
		{"a subcommand stays", "ERR unknown subcommand 'nix'. Try CLIENT HELP.", "ERR unknown subcommand 'nix'. Try CLIENT HELP."},
		{"a quoted key goes", "NOGROUP No such key 'secret' or consumer group 'it's secret'", "NOGROUP No such key …"},
		{"a quoted key goes behind an apostrophe", "ERR can't read 'secret'", "ERR can't read …"},
		{"words of Redis in quotes stay", "OOM command not allowed when used memory > 'maxmemory'.", "OOM command not allowed when used memory > 'maxmemory'."},
		{"the name of an option stays", "MISCONF (stop-writes-on-bgsave-error option)", "MISCONF (stop-writes-on-bgsave-error option)"},
		{"a SID goes", "ERR bad value " + sid + " here", "ERR bad value * here"},
		{"an id in a key goes", "ERR bad key session:" + sid[:32], "ERR bad key session:*"},
		{"the hash of a script goes, its line stays", "ERR x script: d223ed8c7345b684e8ed044ed472601f536fa58b, on @user_script:1.", "ERR x script: *, on @user_script:1."},
		{"an address stays", "MOVED 12182 redis-1.example.org:6379", "MOVED 12182 redis-1.example.org:6379"},
		{"a second line goes", "ERR one\r\ntwo", "ERR one"},
		{"what a terminal would obey goes", "ERR \x1b[31mred\x07", "ERR ?[31mred?"},
		{"letters beyond ASCII go", "ERR é", "ERR ?"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := rediserr.Reply(answered(row.text)); got != row.want || !ok {
				t.Errorf("got %q, %v, want %q", got, ok, row.want)
			}
		})
	}
}
