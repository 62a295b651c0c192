package main

import (
	"net"
	"strings"
	"testing"

	"github.com/redsession/redsession/cmd/sessionctl/internal/doctor"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestDoctorComparesAFailoverWithTheWait(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	cluster := redistest.StartCluster(t)
	plain := redistest.Start(t)
	for _, tt := range []struct {
		name     string
		url      string
		nodes    []*redistest.Server
		set      []any
		args     []string
		severity doctor.Severity
		seen     string
	}{
		{name: "sentinels that are quick enough", url: sentinel.URL, nodes: sentinel.Sentinels, severity: doctor.OK, seen: "down-after-milliseconds is 300ms, so that a failover takes about 2.3s; requests wait for 5s"},
		{name: "sentinels as slow as Redis's example", url: sentinel.URL, nodes: sentinel.Sentinels, set: []any{"sentinel", "set", redistest.MasterName, "down-after-milliseconds", "30000"}, severity: doctor.Warn, seen: "takes about 32s"},
		{name: "sentinels for which servers wait", url: sentinel.URL, args: []string{"--outage-wait", "32s"}, severity: doctor.OK, seen: "requests wait for 32s"},
		{name: "one slow sentinel of three", url: sentinel.URL, nodes: sentinel.Sentinels[1:], set: []any{"sentinel", "set", redistest.MasterName, "down-after-milliseconds", "1000"}, severity: doctor.Warn, seen: "takes about 32s"},
		{name: "sentinels whose patience leaves no time for the election", url: sentinel.URL, nodes: sentinel.Sentinels, set: []any{"sentinel", "set", redistest.MasterName, "down-after-milliseconds", "4000"}, severity: doctor.Warn, seen: "takes about 6s"},
		{name: "sentinels, and nobody waits", url: sentinel.URL, args: []string{"--outage-wait", "0"}},
		{name: "sentinels, and nobody waits, as Config says it", url: sentinel.URL, args: []string{"--outage-wait=-1s"}},
		{name: "a cluster that is quick enough", url: cluster.URL, severity: doctor.OK, seen: "cluster-node-timeout is 1s, so that a failover takes about 3s"},
		{name: "a cluster for which servers do not wait long enough", url: cluster.URL, args: []string{"--outage-wait", "2500ms"}, severity: doctor.Warn, seen: "requests wait for 2.5s"},
		{name: "a cluster as slow as Redis's default", url: cluster.URL, nodes: cluster.Nodes, set: []any{"config", "set", "cluster-node-timeout", "15000"}, severity: doctor.Warn, seen: "takes about 17s"},
		{name: "one slow node of a cluster", url: cluster.URL, nodes: cluster.Nodes[1:], set: []any{"config", "set", "cluster-node-timeout", "1000"}, severity: doctor.Warn, seen: "takes about 17s"},
		{name: "a cluster, and nobody waits", url: cluster.URL, args: []string{"--outage-wait", "0"}},
		{name: "one server, where nothing fails over", url: plain.URL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, node := range tt.nodes {
				if tt.set == nil {
					continue
				}
				if err := node.Client().Do(t.Context(), tt.set...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			found, code := examine(t, tt.url, tt.args...)
			if code != exitDone {
				t.Errorf("got exit code %d, want 0", code)
			}
			if f, there := found["failover"]; tt.severity == "" && there {
				t.Errorf("got %+v, want nothing on failover", f)
			}
			if tt.severity != "" {
				wantFinding(t, found, "failover", tt.severity, tt.seen)
			}
		})
	}
}

func TestDoctorAsksAPrimaryNotToActAlone(t *testing.T) {
	for _, tt := range []struct {
		name     string
		replicas int
		set      map[string]string // by CONFIG SET
		severity doctor.Severity
		seen, do string
	}{
		{name: "no replica, and none is asked for"},
		{name: "a replica that nobody asks for", replicas: 1, severity: doctor.Warn, seen: "goes on acknowledging", do: "start a second replica, and then set min-replicas-to-write 1"},
		{name: "two replicas that nobody asks for", replicas: 2, severity: doctor.Warn, seen: "goes on acknowledging", do: "set min-replicas-to-write 1 and min-replicas-max-lag 5"},
		{name: "a replica asked for, however late", replicas: 2, set: map[string]string{"min-replicas-to-write": "1", "min-replicas-max-lag": "0"}, severity: doctor.Warn, seen: "goes on acknowledging", do: "min-replicas-max-lag 5"},
		{name: "one of two replicas asked for", replicas: 2, set: map[string]string{"min-replicas-to-write": "1"}, severity: doctor.OK, seen: "2 replicas are near enough"},
		{name: "the only replica asked for", replicas: 1, set: map[string]string{"min-replicas-to-write": "1"}, severity: doctor.Warn, seen: "none to spare", do: "start another replica"},
		{name: "more replicas asked for than there are", replicas: 1, set: map[string]string{"min-replicas-to-write": "2"}, severity: doctor.Fail, seen: "asks for 2 replicas, and 1 are near enough", do: "start the replicas"},
		{name: "a replica asked for where there is none", set: map[string]string{"min-replicas-to-write": "1"}, severity: doctor.Fail, seen: "every login and write is refused", do: "start the replicas"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			primary := startReplicated(t, tt.replicas)
			for name, value := range tt.set {
				if err := primary.Client().ConfigSet(t.Context(), name, value).Err(); err != nil {
					t.Fatal(err)
				}
			}
			found, code := examine(t, primary.URL)
			f, there := found["cut-off primary"]
			if tt.severity == "" && there {
				t.Errorf("got %+v, want nothing on it", f)
			}
			if tt.severity == "" {
				return
			}
			wantFinding(t, found, "cut-off primary", tt.severity, tt.seen)
			if !strings.Contains(f.Do, tt.do) {
				t.Errorf("got %q to do, want %q", f.Do, tt.do)
			}
			if (tt.severity == doctor.Fail) != (code == exitFailed) {
				t.Errorf("got exit code %d for %v", code, f)
			}
		})
	}
}

// startReplicated starts a server, and replicas of it that are in sync.
func startReplicated(t *testing.T, replicas int) *redistest.Server {
	t.Helper()
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(primary.Addr)
	for range replicas {
		redistest.Start(t, "--replicaof", host, port, "--repl-diskless-sync-delay", "0")
	}
	stage.Until(t, "the replicas to be in sync", func() bool {
		return strings.Count(primary.Client().Info(t.Context(), "replication").Val(), "state=online") == replicas
	})
	return primary
}

// TestDoctorSeesWhatASentinelAllows looks by a user of the sentinels who may ask for the
// quorum alone.
func TestDoctorSeesWhatASentinelAllows(t *testing.T) {
	s := redistest.StartSentinel(t)
	for _, node := range s.Sentinels {
		err := node.Client().Do(t.Context(), "acl", "setuser", "ops", "on", ">secret", "allchannels", "+ping", "+hello", "+client", "+subscribe",
			"+sentinel|get-master-addr-by-name", "+sentinel|sentinels", "+sentinel|replicas", "+sentinel|ckquorum").Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	found, _ := examine(t, s.URL+"?sentinel_username=ops&sentinel_password=secret")
	wantFinding(t, found, "sentinels", doctor.OK, "3 answer and agree on mymaster")
	wantFinding(t, found, "failover", doctor.Warn, "cannot look at down-after-milliseconds: needs +sentinel|master")
}
