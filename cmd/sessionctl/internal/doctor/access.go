package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// checkTransport looks whether sessions travel in the clear.
func (x *examination) checkTransport(ctx context.Context) error {
	const name = "transport"
	scheme, _, _ := strings.Cut(x.URL, "://")
	switch {
	case scheme == "unix":
		x.found(one(name, OK, "a unix socket", "")...)
	case strings.HasPrefix(scheme, "rediss"):
		if c := x.nodes[0].Client.Options().TLSConfig; c != nil && c.InsecureSkipVerify {
			x.found(one(name, Warn, "TLS, but the certificate is not checked: whoever is on the way can read and change sessions", "give ca=FILE in place of insecure_skip_verify")...)
			return nil
		}
		x.found(one(name, OK, "TLS", "")...)
	default:
		for _, host := range x.hosts() {
			if !server.IsLocal(ctx, host) {
				x.found(one(name, Warn, fmt.Sprintf("no TLS on the way to %s: whoever is on it can read and change sessions, and read the password", host), "use rediss:// (tls-port in redis.conf), or be sure of that network")...)
				return nil
			}
		}
		x.found(one(name, OK, "no TLS, within this machine", "")...)
	}
	return nil
}

// hosts are those that x.URL names, and a cluster's masters.
func (x *examination) hosts() []string {
	nodes := make([]server.Node, len(x.nodes))
	for i, n := range x.nodes {
		nodes[i] = n.Node
	}
	return server.Hosts(x.URL, nodes)
}

// checkDefaultUser looks whether anybody who reaches Redis may use it.
func checkDefaultUser(ctx context.Context, x *examination, n *node) ([]Finding, error) {
	const name = "default user"
	anyone := n.anonymous()
	defer anyone.Close()
	err := anyone.Ping(ctx).Err()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return one(name, OK, "nobody gets in without a password"+certificate(err), ""), nil
	}
	if o := n.Client.Options(); o.Network == "unix" {
		return one(name, OK, "no password, on a unix socket: its file permissions decide", ""), nil
	}
	const do = "set a password (requirepass), or better an ACL user with few commands and `user default off`"
	for _, host := range x.hosts() {
		if !server.IsLocal(ctx, host) {
			return one(name, Fail, fmt.Sprintf("no password is needed at %s: whoever reaches it can read and end every session", host), do), nil
		}
	}
	config := make(map[string]string)
	for _, setting := range []string{"bind", "protected-mode"} { // before Redis 7, one at a time
		got, err := n.Client.ConfigGet(ctx, setting).Result()
		if err != nil {
			return denied(name, "at bind and protected-mode (no password is needed here)", err)
		}
		maps.Copy(config, got)
	}
	switch {
	case loopbackOnly(config["bind"]):
		return one(name, OK, "no password is needed, but Redis listens on this machine alone", ""), nil
	case config["protected-mode"] == "yes":
		return one(name, Warn, "no password is needed; only protected-mode keeps other machines out", do), nil
	}
	return one(name, Fail, fmt.Sprintf("no password is needed, and Redis listens on other addresses than loopback (bind %q, protected-mode no)", config["bind"]), do), nil
}

func certificate(err error) string {
	var op *net.OpError
	if errors.As(err, &op) || strings.Contains(err.Error(), "tls:") {
		return " or certificate"
	}
	return ""
}

// loopbackOnly reads the setting bind; empty means all addresses.
func loopbackOnly(bind string) bool {
	for _, addr := range strings.Fields(bind) {
		if ip := net.ParseIP(strings.TrimPrefix(addr, "-")); ip == nil || !ip.IsLoopback() {
			return false
		}
	}
	return bind != ""
}

// dangers are commands that hold up or lose everything, and that sessions never
// need.
var dangers = [][]any{
	{"KEYS", "*"}, {"FLUSHALL"}, {"FLUSHDB"}, {"SHUTDOWN"}, {"CONFIG", "SET", "save", ""}, {"DEBUG", "SLEEP", "0"},
}

func checkDangers(ctx context.Context, _ *examination, n *node) ([]Finding, error) {
	const name = "dangerous commands"
	user, err := n.Client.Do(ctx, "acl", "whoami").Text()
	if err != nil {
		return deniedACL(name, err)
	}
	var allowed []string
	for _, command := range dangers {
		may, err := mayRun(ctx, n.Client, user, command)
		if err != nil {
			return deniedACL(name, err)
		}
		if may {
			allowed = append(allowed, fmt.Sprint(command[0]))
		}
	}
	if len(allowed) == 0 {
		return one(name, OK, fmt.Sprintf("user %s may run none of KEYS, FLUSHALL and the like", user), ""), nil
	}
	return one(name, Warn, fmt.Sprintf("user %s may run %s: one of them holds up, or loses, every session", user, strings.Join(allowed, ", ")),
		"if programs log in as this user, give them one of their own, with the commands that redsession's README lists"), nil
}

func deniedACL(name string, err error) ([]Finding, error) {
	why, ok := server.Denied(err)
	if ok && strings.HasPrefix(why, "needs") {
		return []Finding{cannotLook(name, "", "needs +acl|whoami and +acl|dryrun")}, nil
	}
	return denied(name, "", err)
}

// mayRun asks Redis 7 whether user may run command, and reads the user's rules
// before that.
func mayRun(ctx context.Context, client redis.UniversalClient, user string, command []any) (bool, error) {
	reply, err := client.Do(ctx, append([]any{"acl", "dryrun", user}, command...)...).Text()
	if err == nil {
		return reply == "OK", nil
	}
	why, ok := server.Denied(err)
	switch {
	case redis.HasErrorPrefix(err, "Command"): // renamed, or switched off: there is no such command
		return false, nil
	case !ok || strings.HasPrefix(why, "needs"):
		return false, err
	}
	rules, err := client.Do(ctx, "acl", "getuser", user).Result()
	if err != nil {
		return false, err
	}
	return strings.Contains(fmt.Sprint(rules), "+@all "), nil
}
