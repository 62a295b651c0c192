package doctor

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
	"github.com/redsession/redsession/internal/redisurl"
)

// allSlots is how many slots a cluster has (Redis Cluster specification).
const allSlots = "16384"

func (x *examination) checkCluster(ctx context.Context) error {
	if !server.IsCluster(x.Client) {
		return nil
	}
	const name = "cluster"
	reply, err := x.nodes[0].Client.ClusterInfo(ctx).Result()
	if err != nil {
		found, err := denied(name, "at its slots", err)
		x.found(found...)
		return err
	}
	said := make(map[string]string)
	for line := range strings.Lines(reply) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		said[key] = value
	}
	seen := fmt.Sprintf("state %s, %s of %s slots served, %d masters", said["cluster_state"], said["cluster_slots_ok"], allSlots, len(x.nodes))
	const do = "`redis-cli --cluster check HOST:PORT` says which slots, `--cluster fix` mends them"
	switch {
	case said["cluster_state"] != "ok" || said["cluster_slots_assigned"] != allSlots:
		x.found(one(name, Fail, seen+": sessions in the others cannot be reached", do)...)
	case said["cluster_slots_ok"] != allSlots:
		x.found(one(name, Warn, seen+"; a master seems to be failing", do)...)
	default:
		x.found(one(name, OK, seen, "")...)
	}
	return nil
}

// checkSentinels asks every sentinel whether enough of them agree for a failover.
func (x *examination) checkSentinels(ctx context.Context) error {
	u, master, ok := sentinelURL(x.URL)
	if !ok {
		return nil
	}
	const name = "sentinels"
	addrs := server.Addrs(x.URL)
	said, err := x.askSentinels(ctx, u, master, addrs)
	if err != nil {
		return err
	}
	silent := said.silent
	switch {
	case len(said.refused) > 0:
		x.found(one(name, Fail, said.refused[0], "start the sentinels that are missing: no failover can happen")...)
	case len(silent)*2 >= len(addrs) && len(silent) > 0:
		x.found(one(name, Fail, strings.Join(silent, ", ")+" of "+fmt.Sprint(len(addrs))+" do not answer", "start them: without a majority no failover can happen")...)
	case len(silent) > 0:
		x.found(one(name, Warn, strings.Join(silent, ", ")+" does not answer; the others are enough", "start it again")...)
	default:
		x.found(one(name, OK, fmt.Sprintf("%d answer and agree on %s", len(addrs), master), "")...)
	}
	x.checkSentinelPatience(master, said)
	return nil
}

// sentinelsSaid is what all sentinels say of a master.
type sentinelsSaid struct {
	silent    []string      // addresses that do not answer
	refused   []string      // what those say who see no quorum
	downAfter time.Duration // the longest that one waits before it takes the master for dead
	denied    string        // why that cannot be seen
}

func (x *examination) askSentinels(ctx context.Context, u url.URL, master string, addrs []string) (said sentinelsSaid, err error) {
	for _, addr := range addrs {
		if !strings.Contains(addr[strings.LastIndexByte(addr, ']')+1:], ":") {
			addr += ":26379"
		}
		u.Host = addr
		client, err := redisurl.Client(u.String(), x.Timeout)
		if err != nil {
			return said, fmt.Errorf("sentinel %s: %w", addr, err)
		}
		quorum := client.Do(ctx, "sentinel", "ckquorum", master).Err()
		about := redis.NewMapStringStringCmd(ctx, "sentinel", "master", master)
		if err := client.Process(ctx, about); err == nil {
			said.downAfter = max(said.downAfter, milliseconds(about.Val()["down-after-milliseconds"]))
		} else if why, ok := server.Denied(err); ok {
			said.denied = why
		}
		_ = client.Close()
		switch {
		case ctx.Err() != nil:
			return said, ctx.Err()
		case quorum == nil:
		case redis.HasErrorPrefix(quorum, "NOQUORUM"):
			said.refused = append(said.refused, quorum.Error())
		default:
			said.silent = append(said.silent, addr)
		}
	}
	return said, nil
}

// sentinelURL turns the URL of what sentinels watch into that of a sentinel,
// but for its address, and the master's name.
func sentinelURL(rawURL string) (u url.URL, master string, ok bool) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	plain, kind, _ := strings.Cut(scheme, "+")
	if kind != "sentinel" {
		return url.URL{}, "", false
	}
	_, path, _ := strings.Cut(rest, "/")
	path, query, _ := strings.Cut(path, "?")
	name, _, _ := strings.Cut(path, "/")
	if master, _ = url.PathUnescape(name); master == "" {
		return url.URL{}, "", false
	}
	values, _ := url.ParseQuery(query)
	u = url.URL{Scheme: plain}
	if user, password := values.Get("sentinel_username"), values.Get("sentinel_password"); password != "" {
		u.User = url.UserPassword(user, password)
	}
	for name := range values {
		if name != "ca" && name != "cert" && name != "key" && name != "server_name" && name != "insecure_skip_verify" {
			values.Del(name)
		}
	}
	u.RawQuery = values.Encode()
	return u, master, true
}
