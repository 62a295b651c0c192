package doctor

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// electing is how long a failover takes once a primary is taken for dead: the election of
// a replica, and until its clients know. One to two seconds were measured.
const electing = 2 * time.Second

// checkSentinelPatience looks whether a failover by Sentinel is over before requests give up
// waiting for it.
func (x *examination) checkSentinelPatience(master string, said sentinelsSaid) {
	switch {
	case x.OutageWait <= 0: // nobody waits
	case said.downAfter > 0:
		x.found(x.patience("down-after-milliseconds", said.downAfter, "SENTINEL SET "+master+" down-after-milliseconds %d, at each sentinel"))
	case said.denied != "":
		x.found(cannotLook("failover", "at down-after-milliseconds", said.denied))
	}
}

// checkNodeTimeout does the same for a cluster.
func checkNodeTimeout(ctx context.Context, x *examination, n *node) ([]Finding, error) {
	const setting = "cluster-node-timeout"
	if x.OutageWait <= 0 || !server.IsCluster(x.Client) {
		return nil, nil
	}
	config, err := n.Client.ConfigGet(ctx, setting).Result()
	if err != nil {
		return denied("failover", "at "+setting, err)
	}
	return []Finding{x.patience(setting, milliseconds(config[setting]), "CONFIG SET "+setting+" %d, at each node")}, nil
}

// patience compares how long Redis waits for a primary with how long requests wait for
// Redis. mend is how to set the former to a number of milliseconds.
func (x *examination) patience(setting string, waits time.Duration, mend string) Finding {
	const name = "failover"
	seen := fmt.Sprintf("%s is %s, so that a failover takes about %s; requests wait for %s (OutageWait)", setting, waits, waits+electing, x.OutageWait)
	if waits+electing <= x.OutageWait {
		return Finding{Check: name, Severity: OK, Seen: seen}
	}
	do := fmt.Sprintf("set Config.OutageWait to %s or more, below the server's WriteTimeout", waits+electing)
	if left := x.OutageWait - electing; left >= time.Second { // with less, a short hiccup is taken for a death
		do = fmt.Sprintf(mend, left.Milliseconds()) + "; or " + do
	}
	return Finding{Check: name, Severity: Warn, Seen: seen + ", and then are 503", Do: do + " (if it is not " + x.OutageWait.String() + ", give it by --outage-wait)"}
}

// checkCutOff looks whether a primary that has lost sight of its replicas stops to
// acknowledge writes, which it will lose when one of them takes its place. INFO counts the
// replicas that are near enough as soon as some are demanded.
func checkCutOff(ctx context.Context, _ *examination, n *node) ([]Finding, error) {
	const name = "cut-off primary"
	if n.info == nil || n.info["role"] == "slave" {
		return nil, nil
	}
	replicas := n.info.Int("connected_slaves")
	_, demanded := n.info["min_slaves_good_slaves"]
	switch {
	case !demanded && replicas == 0:
		return nil, nil
	case !demanded:
		do := "set min-replicas-to-write 1 and min-replicas-max-lag 5 (CONFIG SET, and in redis.conf), on the replicas too"
		if replicas == 1 {
			do = "start a second replica, and then " + do
		}
		return one(name, Warn, "a primary that is cut off from its replicas goes on acknowledging logins and logouts, which a failover loses (min-replicas-to-write is 0)", do), nil
	}
	want, good := int64(1), n.info.Int("min_slaves_good_slaves")
	if config, err := n.Client.ConfigGet(ctx, "min-replicas-to-write").Result(); err == nil {
		want, _ = strconv.ParseInt(config["min-replicas-to-write"], 10, 64)
	} else if _, ok := server.Denied(err); !ok {
		return nil, err
	}
	seen := fmt.Sprintf("min-replicas-to-write is met: %d replicas are near enough", good)
	switch {
	case good < want:
		return one(name, Fail, fmt.Sprintf("every login and write is refused: min-replicas-to-write asks for %d replicas, and %d are near enough", want, good),
			"start the replicas that are missing, or see in their logs why they lag; until then CONFIG SET min-replicas-to-write 0 takes writes that a failover may lose"), nil
	case good == want:
		return one(name, Warn, seen+", with none to spare: when one goes, logins and writes are refused", "start another replica"), nil
	}
	return one(name, OK, seen, ""), nil
}

func milliseconds(digits string) time.Duration {
	n, _ := strconv.ParseInt(digits, 10, 64)
	return time.Duration(n) * time.Millisecond
}
