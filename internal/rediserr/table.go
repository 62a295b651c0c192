package rediserr

import (
	"regexp"
	"strings"
)

// whole marks a reply that refuses a script before it begins.
const whole = true

// table says what a reply means that begins with a text. Upper and lower case are the
// same, ERR and what a script puts around the text are taken off before.
var table = []struct {
	text      string
	execution Execution
	recovery  Recovery
	scope     Scope
	whole     bool
}{
	// The node serves nobody for now.
	{"LOADING", NotExecuted, Passes, Node, whole},
	{"BUSY", NotExecuted, Passes, Node, whole},
	{"MASTERDOWN", NotExecuted, Passes, Node, whole},
	{"CLUSTERDOWN", NotExecuted, Passes, Node, whole},
	{"max number of clients", NotExecuted, Passes, Node, whole},
	{"UNBLOCKED", NotExecuted, PassesAroundFailover, Node, false},
	{"Can not execute the command on a stale replica", NotExecuted, Passes, Node, false},
	{"Script attempted to execute a", NotExecuted, Passes, Node, false}, // while the cluster is down
	{"Script killed by user", MaybeExecuted, Passes, Node, false},
	{"Lua script killed by user", MaybeExecuted, Passes, Node, false},

	// The node does not write.
	{"READONLY", NotExecuted, PassesAroundFailover, Writes, false},
	{"NOREPLICAS", NotExecuted, PassesAroundFailover, Writes, false},
	{"MISCONF", NotExecuted, Stays, Writes, false},
	{"OOM", NotExecuted, Stays, Writes, false},
	{"Out of memory", NotExecuted, Stays, Writes, false}, // Dragonfly

	// The client is not let in.
	{"NOAUTH", NotExecuted, Stays, Connection, whole},
	{"WRONGPASS", NotExecuted, Stays, Connection, whole},
	{"NOPROTO", NotExecuted, Stays, Connection, whole},
	{"DENIED", NotExecuted, Stays, Connection, whole},
	{"operation not permitted", NotExecuted, Stays, Connection, whole}, // before Redis 2.8, and hosted ones
	{"unauthenticated", NotExecuted, Stays, Connection, whole},         // hosted ones, by go-redis
	{"invalid password", NotExecuted, Stays, Connection, whole},
	{"AUTH <password> called", NotExecuted, Stays, Connection, whole},
	{"Client sent AUTH", NotExecuted, Stays, Connection, whole},
	{"invalid DB index", NotExecuted, Stays, Connection, whole},
	{"DB index is out of range", NotExecuted, Stays, Connection, whole},
	{"SELECT is not allowed", NotExecuted, Stays, Connection, whole},
	{"No such master with that name", NotExecuted, Stays, Connection, whole},

	// The command is not allowed to this user, or not there. A script is told the like of
	// its own commands in other words, or with what a script puts around them.
	{"NOPERM", NotExecuted, Stays, Node, whole},
	{"The user executing the script can't", NotExecuted, Stays, Node, false},
	{"ACL failure in script", NotExecuted, Stays, Node, false},
	{"unknown command", NotExecuted, Stays, Node, whole},
	{"unknown subcommand", NotExecuted, Stays, Node, whole},
	{"unsupported command", NotExecuted, Stays, Node, whole}, // Envoy
	{"Unknown Redis command called from script", NotExecuted, Stays, Node, false},
	{"This Redis command is not allowed from script", NotExecuted, Stays, Node, false},
	{"UNKILLABLE", NotExecuted, Stays, Node, false},
	{"NOTBUSY", NotExecuted, Stays, Node, false},

	// Sentinel is at work.
	{"INPROG", NotExecuted, Passes, Node, whole},
	{"NOGOODSLAVE", NotExecuted, Passes, Node, whole},
	{"NOQUORUM", NotExecuted, Passes, Node, whole},

	// One key or command.
	{"WRONGTYPE", NotExecuted, Stays, Key, false},
	{"TRYAGAIN", NotExecuted, Passes, Key, whole},
	{"NOSCRIPT", NotExecuted, Passes, Key, whole},

	// Our own mistakes. A client for clusters follows MOVED and ASK: one that arrives here
	// is a cluster behind a client for one server or, around a failover, one that
	// changes faster than go-redis follows.
	{"MOVED", NotExecuted, PassesAroundFailover, Bug, whole},
	{"ASK", NotExecuted, PassesAroundFailover, Bug, whole},
	{"CROSSSLOT", NotExecuted, Stays, Bug, whole},
	{"Cross-slot", NotExecuted, Stays, Bug, whole}, // redis-cluster-proxy
	{"EXECABORT", NotExecuted, Stays, Bug, whole},
	{"Error compiling script", NotExecuted, Stays, Bug, whole},
	{"Script attempted to access", NotExecuted, Stays, Bug, false},
	{"script tried accessing undeclared key", NotExecuted, Stays, Bug, false}, // Dragonfly
	{"wrong number of arg", NotExecuted, Stays, Bug, false},
	{"value is not", NotExecuted, Stays, Bug, false},
	{"syntax error", NotExecuted, Stays, Bug, false},
	{"invalid expire time", NotExecuted, Stays, Bug, false},
	{"Number of keys", NotExecuted, Stays, Bug, false},
	{"Protocol error", NotExecuted, Stays, Bug, whole},
	{"invalid request", NotExecuted, Stays, Bug, whole}, // Envoy

	// A proxy could not ask its servers: the words of errno(3) by twemproxy, Envoy, and
	// "Proxy error", "proxy upstream not available" of others.
	{"Connection refused", NotExecuted, Passes, Connection, whole},
	{"No route to host", NotExecuted, Passes, Connection, whole},
	{"Network is unreachable", NotExecuted, Passes, Connection, whole},
	{"no upstream host", NotExecuted, Passes, Connection, whole},
	{"Connection timed out", MaybeExecuted, Passes, Connection, false},
	{"Connection reset by peer", MaybeExecuted, Passes, Connection, false},
	{"Broken pipe", MaybeExecuted, Passes, Connection, false},
	{"upstream failure", MaybeExecuted, Passes, Connection, false},
	{"upstream protocol error", MaybeExecuted, Passes, Connection, false},
	{"finished with", MaybePartly, Passes, Connection, false},
	{"Proxy", MaybeExecuted, Passes, Connection, false},
}

// judgeReply returns the meaning of what Redis answered. An unknown error inside a
// script is one of the script; any other unknown one may be anything.
func judgeReply(text string, script bool) Meaning {
	rest, inside := unwrapReply(text)
	for _, row := range table {
		if !begins(rest, row.text) {
			continue
		}
		m := Meaning{row.execution, row.recovery, row.scope}
		if inside || script && !row.whole {
			m.Execution = MaybePartly
		}
		return m
	}
	if inside {
		return Meaning{MaybePartly, Stays, Bug}
	}
	return Meaning{MaybeExecuted, Stays, Node}
}

// Redis 7 and Valkey put where it was after an error inside a script, Redis 6 before
// it, with a dash where the error is one of its own.
var (
	insideAfter  = regexp.MustCompile(` script: \S*, on @?\w+:-?\d*\.?$`)
	insideBefore = regexp.MustCompile(`^(?:Error running script \(call to \w+\): )?(?:@?\w+: ?\d+: )+`)
)

// unwrapReply takes off what stands around an error reply: ERR, which some servers
// and proxies put before a code, the words of a script, and those of an EXEC.
func unwrapReply(text string) (rest string, inside bool) {
	rest = insideAfter.ReplaceAllLiteralString(bare(text), "")
	inside = rest != bare(text)
	rest = bare(strings.TrimPrefix(rest, "EXECABORT Transaction discarded because of: "))
	if at := insideBefore.FindString(rest); at != "" {
		return bare(rest[len(at):]), true
	}
	return rest, inside
}

func bare(text string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(text, "-"), "ERR "), "-")
}

// begins tells whether text begins with the words of start.
func begins(text, start string) bool {
	if len(text) < len(start) || !strings.EqualFold(text[:len(start)], start) {
		return false
	}
	// A code is a word of its own: BUSYKEY is not BUSY.
	return start != strings.ToUpper(start) || len(text) == len(start) || text[len(start)] == ' '
}
