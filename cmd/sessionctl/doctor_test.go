package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/doctor"
	"github.com/redsession/redsession/internal/redistest"
)

// examine runs doctor and returns its findings by their check.
func examine(t *testing.T, url string, args ...string) (map[string]doctor.Finding, int) {
	t.Helper()
	o := ctl(t, url, append([]string{"doctor", "--json"}, args...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(o.out), &d); err != nil {
		t.Fatalf("got %q and %q: %v", o.out, o.errs, err)
	}
	found := make(map[string]doctor.Finding)
	for _, f := range d.Findings {
		if old, ok := found[f.Check]; !ok || old.Severity == doctor.OK {
			found[f.Check] = f
		}
	}
	return found, o.code
}

func wantFinding(t *testing.T, found map[string]doctor.Finding, check string, severity doctor.Severity, seen string) {
	t.Helper()
	f := found[check]
	if f.Severity != severity || !strings.Contains(f.Seen, seen) {
		t.Errorf("%s: got %s, %q, want %s and %q", check, f.Severity, f.Seen, severity, seen)
	}
	if f.Severity != doctor.OK && f.Do == "" {
		t.Errorf("%s: got nothing to do for %q", check, f.Seen)
	}
}

func TestDoctorIsContentWithAGoodServer(t *testing.T) {
	srv := redistest.StartACL(t, "app", "secret", "~*", "+@all", "-@dangerous", "+info", "+config|get", "+slowlog|get", "+latency|latest", "+acl|whoami", "+acl|dryrun")
	ctl(t, srv.URL, "count").wants(t, exitDone)
	login(t, srv.URL, "alice")
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	found, code := examine(t, srv.URL)
	if code != exitDone {
		t.Errorf("got exit code %d, want 0: %v", code, found)
	}
	for check, f := range found {
		if f.Severity != doctor.OK && check != "persistence" { // redistest's servers keep nothing
			t.Errorf("got %+v, want nothing to do", f)
		}
	}
	wantFinding(t, found, "forecast", doctor.OK, "more fit in the machine's memory")
	wantFinding(t, found, "records", doctor.OK, "1 verify")
	wantFinding(t, found, "dangerous commands", doctor.OK, "user app may run none")
}

func TestDoctorFindsWhatIsBad(t *testing.T) {
	for _, tt := range []struct {
		name     string
		args     []string // of redis-server
		spoil    func(t *testing.T, c *redis.Client)
		secrets  string
		check    string
		severity doctor.Severity
		seen     string
	}{
		{name: "any key may be evicted", args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, check: "eviction", severity: doctor.Fail, seen: "allkeys-lru"},
		{name: "keys with a TTL may be evicted", args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"}, check: "eviction", severity: doctor.Fail, seen: "drops sessions"},
		{name: "a policy without maxmemory evicts nothing", args: []string{"--maxmemory-policy", "allkeys-lru"}, check: "eviction", severity: doctor.OK, seen: "nothing is evicted"},
		{name: "memory is full", args: []string{"--maxmemory", "1mb"}, check: "memory", severity: doctor.Fail, seen: "refuses logins"},
		{name: "nothing is kept", check: "persistence", severity: doctor.Warn, seen: "logs everybody out"},
		{name: "snapshots are taken", args: []string{"--save", "3600 1"}, check: "persistence", severity: doctor.OK, seen: "snapshots (save 3600 1)"},
		{name: "the AOF is on", args: []string{"--appendonly", "yes"}, check: "persistence", severity: doctor.OK, seen: "AOF is on"},
		{name: "everything is allowed", check: "dangerous commands", severity: doctor.Warn, seen: "KEYS, FLUSHALL"},
		{name: "anybody may connect from anywhere", args: []string{"--bind", "*", "--protected-mode", "no"}, check: "default user", severity: doctor.Fail, seen: "listens on other addresses"},
		{name: "only protected-mode keeps others out", args: []string{"--bind", "*"}, check: "default user", severity: doctor.Warn, seen: "only protected-mode"},
		{name: "the server is for this machine", check: "default user", severity: doctor.OK, seen: "on this machine alone"},
		{name: "CONFIG is switched off", args: []string{"--rename-command", "CONFIG", ""}, check: "persistence", severity: doctor.Warn, seen: "cannot look at snapshots (AOF is off): CONFIG is switched off"},
		{name: "a command took long", args: []string{"--enable-debug-command", "yes"}, spoil: func(t *testing.T, c *redis.Client) {
			c.Do(t.Context(), "debug", "sleep", "0.08")
		}, check: "slow commands", severity: doctor.Warn, seen: "(DEBUG)"},
		{name: "a session has no TTL", spoil: func(t *testing.T, c *redis.Client) {
			c.Persist(t.Context(), "session:"+numberedID(3))
		}, check: "ttl", severity: doctor.Fail, seen: "1 of 20 keys looked at have no TTL, for example session:" + numberedID(3)},
		{name: "somebody's index has no TTL", spoil: func(t *testing.T, c *redis.Client) {
			c.ZAdd(t.Context(), "session:user:AAAAAAAAAAAAAAAAAAAAAA", redis.Z{Member: "x"})
		}, check: "ttl", severity: doctor.Fail, seen: "1 of 21 keys"},
		{name: "other programs' keys need none", spoil: func(t *testing.T, c *redis.Client) {
			c.Set(t.Context(), "session:import:scs", "x", 0)
			c.Set(t.Context(), "session:tenant:"+numberedID(1), "x", 0)
		}, check: "ttl", severity: doctor.OK, seen: "20 keys looked at: each"},
		{name: "a record was planted", spoil: func(t *testing.T, c *redis.Client) {
			c.Set(t.Context(), "session:"+someID, "planted", time.Hour)
		}, check: "records", severity: doctor.Fail, seen: "1 of 21 are no session records, for example " + someID},
		{name: "a record was copied", secrets: base64Secret(), spoil: func(t *testing.T, c *redis.Client) {
			c.Copy(t.Context(), "session:"+numberedID(1), "session:"+someID, 0, true)
		}, check: "records", severity: doctor.Fail, seen: "1 of 21 do not verify, for example " + someID},
		{name: "a list lies under an id", secrets: base64Secret(), spoil: func(t *testing.T, c *redis.Client) {
			c.RPush(t.Context(), "session:"+someID, "x")
			c.Expire(t.Context(), "session:"+someID, time.Hour)
		}, check: "records", severity: doctor.Fail, seen: "1 of 21 do not verify"},
		{name: "the secret is another", secrets: strings.Repeat("ab", 32), check: "records", severity: doctor.Fail, seen: "20 of 20 do not verify"},
		{name: "no secret is given", check: "records", severity: doctor.Warn, seen: "no secrets given"},
		{name: "the secret is the right one", secrets: base64Secret(), check: "records", severity: doctor.OK, seen: "20 verify"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := redistest.Start(t, tt.args...)
			client := srv.Client()
			if tt.check == "ttl" || tt.check == "records" {
				fill(t, client, 20)
			}
			if tt.spoil != nil {
				tt.spoil(t, client)
			}
			t.Setenv("REDSESSION_SECRETS", tt.secrets)
			found, code := examine(t, srv.URL)
			wantFinding(t, found, tt.check, tt.severity, tt.seen)
			if (tt.severity == doctor.Fail) != (code == exitFailed) {
				t.Errorf("got exit code %d for %v", code, found)
			}
		})
	}
}

// TestDoctorReadsINFO lets a proxy answer INFO with what a test cannot make a
// server do.
func TestDoctorReadsINFO(t *testing.T) {
	srv := redistest.Start(t)
	text := srv.Client().Info(t.Context(), "all").Val()
	for _, tt := range []struct {
		name     string
		set      map[string]string
		check    string
		severity doctor.Severity
		seen     string
	}{
		{"the version is old", map[string]string{"redis_version": "6.0.16"}, "version", doctor.Fail, "too old"},
		{"the version is the oldest that is good", map[string]string{"redis_version": "6.2.0"}, "version", doctor.OK, "6.2.0"},
		{"the version is strange", map[string]string{"redis_version": "rolling"}, "version", doctor.Warn, "says nothing"},
		{"memory is near its limit", map[string]string{"maxmemory": "1000", "used_memory": "800"}, "memory", doctor.Warn, "80 % of maxmemory"},
		{"the machine is full", map[string]string{"total_system_memory": "1000", "used_memory_rss": "950"}, "memory", doctor.Fail, "95 % of the machine's memory"},
		{"a snapshot failed", map[string]string{"rdb_last_bgsave_status": "err"}, "persistence", doctor.Fail, "the last snapshot failed"},
		{"the AOF cannot be written", map[string]string{"aof_enabled": "1", "aof_last_write_status": "err"}, "persistence", doctor.Fail, "AOF failed"},
		{"it is a replica", map[string]string{"role": "slave", "master_link_status": "up"}, "replication", doctor.Fail, "takes no writes"},
		{"it is a replica without a master", map[string]string{"role": "slave", "master_link_status": "down"}, "replication", doctor.Fail, "lost its master"},
		{"a replica lags", map[string]string{"connected_slaves": "1", "slave0": "ip=10.0.0.9,port=6379,state=online,offset=1,lag=42"}, "replication", doctor.Warn, "10.0.0.9:6379 lags by 42 s"},
		{"a replica is not in sync", map[string]string{"connected_slaves": "1", "slave0": "ip=10.0.0.9,port=6379,state=wait_bgsave,offset=0,lag=0"}, "replication", doctor.Warn, "not in sync (wait_bgsave)"},
		{"a replica is in sync", map[string]string{"connected_slaves": "1", "slave0": "ip=10.0.0.9,port=6379,state=online,offset=1,lag=1"}, "replication", doctor.OK, "1 in sync"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info := text
			for name, value := range tt.set {
				line := regexp.MustCompile(`(?m)^` + name + `:.*\r\n`)
				info = line.ReplaceAllString(info, "") + name + ":" + value + "\r\n"
			}
			proxy := redistest.NewProxy(t, srv.Addr)
			proxy.Reply(func(args []string) (string, bool) {
				return fmt.Sprintf("$%d\r\n%s\r\n", len(info), info), args[0] == "INFO"
			})
			found, _ := examine(t, proxy.URL)
			wantFinding(t, found, tt.check, tt.severity, tt.seen)
		})
	}
}

func TestDoctorMeasuresLatency(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	proxy.Delay(12 * time.Millisecond)
	found, _ := examine(t, proxy.URL)
	wantFinding(t, found, "latency", doctor.Warn, "round trip")
}

func TestDoctorLooksAtTheWayThere(t *testing.T) {
	secured := redistest.StartTLS(t)
	found, _ := examine(t, withCA(secured))
	wantFinding(t, found, "transport", doctor.OK, "TLS")
	found, _ = examine(t, secured.URL+"?insecure_skip_verify=true")
	wantFinding(t, found, "transport", doctor.Warn, "the certificate is not checked")
	mutual := redistest.StartTLS(t, "--tls-auth-clients", "yes")
	found, _ = examine(t, withCA(mutual)+"&cert="+mutual.CertFile+"&key="+mutual.KeyFile)
	wantFinding(t, found, "default user", doctor.OK, "nobody gets in without a password or certificate")
	found, _ = examine(t, redistest.StartUnix(t).URL)
	wantFinding(t, found, "transport", doctor.OK, "unix socket")
	wantFinding(t, found, "default user", doctor.OK, "file permissions")

	outside := ownAddress(t)
	srv := redistest.Start(t, "--bind", "*", "--protected-mode", "no")
	_, port, _ := net.SplitHostPort(srv.Addr)
	found, code := examine(t, "redis://"+net.JoinHostPort(outside, port))
	wantFinding(t, found, "transport", doctor.Warn, "no TLS on the way to "+outside)
	wantFinding(t, found, "default user", doctor.Fail, "no password is needed at "+outside)
	if code != exitFailed {
		t.Errorf("got exit code %d, want 1", code)
	}
}

// ownAddress returns an address of this machine that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			return ip.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

func TestDoctorLooksAtTheCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	found, _ := examine(t, cluster.URL)
	wantFinding(t, found, "cluster", doctor.OK, "16384 of 16384 slots")
	if f := found["replication"]; f.Node != "" || f.Severity != doctor.OK {
		t.Errorf("got %+v, want one finding for all nodes", f)
	}
	for _, node := range cluster.Nodes {
		node.Client().ConfigSet(t.Context(), "cluster-require-full-coverage", "no")
	}
	if err := cluster.Nodes[0].Client().Do(t.Context(), "cluster", "delslots", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for _, node := range cluster.Nodes[1:3] { // gossip would take a second
		node.Client().Do(t.Context(), "cluster", "delslots", "0")
	}
	found, code := examine(t, cluster.URL)
	wantFinding(t, found, "cluster", doctor.Fail, "16383 of 16384 slots")
	if code != exitFailed {
		t.Errorf("got exit code %d, want 1", code)
	}
}

func TestDoctorAsksTheSentinels(t *testing.T) {
	s := redistest.StartSentinel(t)
	found, _ := examine(t, s.URL)
	wantFinding(t, found, "sentinels", doctor.OK, "3 answer and agree on mymaster")
	s.Sentinels[2].Kill()
	found, _ = examine(t, s.URL)
	wantFinding(t, found, "sentinels", doctor.Warn, s.Addrs[2]+" does not answer")
	s.Sentinels[1].Kill()
	found, code := examine(t, s.URL)
	wantFinding(t, found, "sentinels", doctor.Fail, "")
	if code != exitFailed {
		t.Errorf("got exit code %d, want 1", code)
	}
}

func TestDoctorOnATerminal(t *testing.T) {
	srv := redistest.Start(t)
	fill(t, srv.Client(), 1200)
	o := ctlTerminal(t, 70, "", srv.URL, "doctor", "--sample", "100")
	o.wants(t, exitDone, "→", "to think about", "a sample", "about ")
	for line := range strings.Lines(o.out) {
		if shownWidth(strings.TrimRight(line, " \n")) > 70 {
			t.Errorf("got a line of %d columns, want at most 70: %q", shownWidth(line), line)
		}
	}
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ctx, []string{"--url", srv.URL, "doctor"}, strings.NewReader(""), &out, &out); code != exitStopped || out.String() != "sessionctl: stopped\n" {
		t.Errorf("got exit code %d and %q, want 130 and that it stopped", code, out.String())
	}
}
