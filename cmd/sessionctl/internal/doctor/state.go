package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// The oldest Redis that passes. The project's own tests run on 7.0 and later.
const oldestMajor, oldestMinor = 6, 2

func checkVersion(_ context.Context, _ *examination, n *node) ([]Finding, error) {
	version, name := n.hello.Version, n.hello.Server
	if v := n.info["redis_version"]; v != "" {
		version = v
	}
	if v := n.info["valkey_version"]; v != "" {
		version, name = v, "valkey"
	}
	seen := name + " " + version
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	switch {
	case errA != nil || errB != nil:
		return one("version", Warn, fmt.Sprintf("%q, which says nothing about its age", seen), "look at the version by hand: 6.2 or later is needed"), nil
	case a < oldestMajor || a == oldestMajor && b < oldestMinor:
		return one("version", Fail, seen+": too old, and without security fixes", "upgrade to 7.2 or later; 6.2 is the least"), nil
	}
	return one("version", OK, seen, ""), nil
}

func checkEviction(_ context.Context, _ *examination, n *node) ([]Finding, error) {
	if n.info == nil {
		return nil, nil
	}
	policy, limit := n.info["maxmemory_policy"], n.info.Int("maxmemory")
	switch {
	case limit == 0:
		return one("eviction", OK, "no maxmemory: nothing is evicted (policy "+policy+")", ""), nil
	case policy == "noeviction":
		return one("eviction", OK, "policy noeviction, maxmemory "+size(limit), ""), nil
	}
	evicted := ""
	if e := n.info.Int("evicted_keys"); e > 0 {
		evicted = fmt.Sprintf("; %s keys were evicted already", humanize.Comma(e))
	}
	return one("eviction", Fail,
		fmt.Sprintf("policy %s with maxmemory %s: when memory is full, Redis drops sessions and logs their users out%s", policy, size(limit), evicted),
		"set maxmemory-policy noeviction (CONFIG SET, and in redis.conf), and keep caches in another Redis"), nil
}

const (
	memoryWarn = 0.75
	memoryFail = 0.9
)

func checkMemory(_ context.Context, _ *examination, n *node) ([]Finding, error) {
	if n.info == nil {
		return nil, nil
	}
	used, limit, of := n.info.Int("used_memory"), n.info.Int("maxmemory"), "maxmemory"
	if limit == 0 {
		used, limit, of = n.info.Int("used_memory_rss"), n.info.SystemMemory(), "the machine's memory (no maxmemory is set)"
	}
	if limit == 0 {
		return one("memory", Warn, size(used)+" used; the limit is not known", "set maxmemory below what the machine has"), nil
	}
	share := float64(used) / float64(limit)
	seen := fmt.Sprintf("%s used, %.0f %% of %s, %s", size(used), share*100, of, size(limit))
	do := "raise maxmemory or the machine's memory, or shorten the timeouts of sessions"
	switch {
	case share >= memoryFail:
		return one("memory", Fail, seen+": when it is full, Redis refuses logins", do), nil
	case share >= memoryWarn:
		return one("memory", Warn, seen, do), nil
	}
	return one("memory", OK, seen, ""), nil
}

func checkPersistence(ctx context.Context, _ *examination, n *node) ([]Finding, error) {
	if n.info == nil {
		return nil, nil
	}
	const name = "persistence"
	for _, field := range []struct{ name, what string }{
		{"rdb_last_bgsave_status", "the last snapshot"}, {"aof_last_write_status", "the last write to the AOF"}, {"aof_last_bgrewrite_status", "the last rewrite of the AOF"},
	} {
		if status := n.info[field.name]; status != "" && status != "ok" {
			return one(name, Fail, field.what+" failed: Redis may refuse all writes, logins too", "look at Redis's log for the reason, most often a full disk or too little memory to fork"), nil
		}
	}
	if n.info["aof_enabled"] == "1" {
		return one(name, OK, "AOF is on", ""), nil
	}
	save, err := n.Client.ConfigGet(ctx, "save").Result()
	if err != nil {
		return denied(name, "at snapshots (AOF is off)", err)
	}
	if save["save"] != "" {
		last := time.Since(time.Unix(n.info.Int("rdb_last_save_time"), 0)).Round(time.Second)
		return one(name, OK, fmt.Sprintf("snapshots (save %s), the last %s ago: a crash loses what came after", save["save"], last), ""), nil
	}
	return one(name, Warn, "neither AOF nor snapshots: a restart of Redis logs everybody out", "set appendonly yes (appendfsync everysec)"), nil
}

// lagWarn is how many seconds a replica may be silent; it reports every second.
const lagWarn = 10

func checkReplication(_ context.Context, x *examination, n *node) ([]Finding, error) {
	if n.info == nil {
		return nil, nil
	}
	const name = "replication"
	if n.info["role"] == "slave" {
		seen := "this is a replica, which takes no writes"
		if n.info["master_link_status"] != "up" {
			seen += ", and it has lost its master"
		}
		return one(name, Fail, seen, "use the master's address, or redis+sentinel://"), nil
	}
	replicas := n.info.Int("connected_slaves")
	if replicas == 0 {
		if scheme, _, _ := strings.Cut(x.URL, "://"); strings.Contains(scheme, "+") {
			return one(name, Warn, "no replica: when this master dies, nothing takes its place", "start a replica, or see in its log why it is not connected"), nil
		}
		return one(name, OK, "no replicas", ""), nil
	}
	var bad []Finding
	for i := range replicas {
		field := fmt.Sprintf("slave%d", i)
		said := make(map[string]string)
		for part := range strings.SplitSeq(n.info[field], ",") {
			key, value, _ := strings.Cut(part, "=")
			said[key] = value
		}
		who := said["ip"] + ":" + said["port"]
		switch lag := n.info.Part(field, "lag"); {
		case said["state"] != "online":
			bad = append(bad, Finding{Check: name, Severity: Warn, Seen: fmt.Sprintf("replica %s is not in sync (%s)", who, said["state"]), Do: "wait if it has just started; else see its log"})
		case lag >= lagWarn:
			bad = append(bad, Finding{Check: name, Severity: Warn, Seen: fmt.Sprintf("replica %s lags by %d s: a failover now would lose what came since", who, lag), Do: "look at the network and the load between the two"})
		}
	}
	if bad != nil {
		return bad, nil
	}
	return one(name, OK, fmt.Sprintf("%d in sync", replicas), ""), nil
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
