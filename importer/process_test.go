package importer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
	"github.com/redsession/redsession/importer/internal/odoogen"
	"github.com/redsession/redsession/internal/redistest"
)

// store imports into a Redis, where all processes see it: SET NX, and a count of
// what was stored.
type store struct {
	client redis.UniversalClient
}

func (s *store) Import(ctx context.Context, records []redsession.LegacyRecord, _ bool) ([]redsession.ImportOutcome, error) {
	sets := make([]*redis.BoolCmd, len(records))
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, rec := range records {
			sets[i] = pipe.SetNX(ctx, "rec:"+rec.ID, rec.UserID, 0)
		}
		pipe.LPush(ctx, "batches", len(records))
		return nil
	})
	if err != nil {
		return nil, err
	}
	outcomes := make([]redsession.ImportOutcome, len(records))
	for i, set := range sets {
		outcomes[i].Status = redsession.ImportExisting
		if set.Val() {
			outcomes[i].Status = redsession.ImportStored
		}
	}
	return outcomes, nil
}

const processLease = 2 * time.Second

// TestProcess is no test: it is a server that starts, in a process of its own.
func TestProcess(t *testing.T) {
	url := os.Getenv("IMPORTER_TEST_URL")
	if url == "" {
		t.Skip("only for other tests")
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	o := importer.Options{Workers: 1}
	if os.Getenv("IMPORTER_TEST_SLOW") != "" {
		o.Rate = 100
	}
	report, err := importer.OnceInto(t.Context(), &store{client: client}, client, statePrefix, processLease, importer.Odoo(os.Getenv("IMPORTER_TEST_DIR")), o)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(report)
	fmt.Printf("REPORT %s\n", text)
}

func process(t *testing.T, url, dir string, more ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), append(more, "GORACE=atexit_sleep_ms=0", "IMPORTER_TEST_URL="+url, "IMPORTER_TEST_DIR="+dir)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func reportOf(t *testing.T, output string) (r importer.Report) {
	t.Helper()
	_, text, _ := strings.Cut(output, "REPORT ")
	text, _, _ = strings.Cut(text, "\n")
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("got output %q and error %v, want a report", output, err)
	}
	return r
}

func TestAProcessThatIsKilledIsReplaced(t *testing.T) {
	t.Parallel()
	server, dir := redistest.Start(t), t.TempDir()
	made, err := odoogen.Generate(dir, 600, 3)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	slow := process(t, server.URL, dir, "IMPORTER_TEST_SLOW=1")
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	if err := client.BRPop(t.Context(), time.Minute, "batches").Err(); err != nil {
		t.Fatal(err)
	}
	if err := slow.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = slow.Wait()
	before := len(client.Keys(t.Context(), "rec:*").Val())
	output, err := process(t, server.URL, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	report := reportOf(t, string(output))
	after := len(client.Keys(t.Context(), "rec:*").Val())
	if before == 0 || before >= made.Sessions || after != made.Sessions || report.Existing != before || report.Imported != made.Sessions-before || report.Elsewhere {
		t.Errorf("got %d sessions before the kill, then %d existing, %d imported, %d in all; want some, as many, the rest, %d",
			before, report.Existing, report.Imported, after, made.Sessions)
	}
}

func TestEightProcessesImportOnce(t *testing.T) {
	t.Parallel()
	server, dir := redistest.Start(t), t.TempDir()
	made, err := odoogen.Generate(dir, 400, 4)
	if err != nil {
		t.Fatal(err)
	}
	processes, outputs := make([]*exec.Cmd, 8), make([]strings.Builder, 8)
	for i := range processes {
		processes[i] = process(t, server.URL, dir)
		processes[i].Stdout = &outputs[i]
		if err := processes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	imports := 0
	for i, cmd := range processes {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		report := reportOf(t, outputs[i].String())
		if !report.Elsewhere {
			imports++
		}
		if report.Imported != made.Sessions {
			t.Errorf("got a report of %d imported, want everybody to see %d", report.Imported, made.Sessions)
		}
	}
	if n := len(server.Client().Keys(t.Context(), "rec:*").Val()); imports != 1 || n != made.Sessions {
		t.Errorf("got %d imports and %d sessions, want 1 and %d", imports, n, made.Sessions)
	}
}

// named is a type of the caller's own around a client of a cluster.
type named struct{ *redis.ClusterClient }

func TestEveryMasterOfAClusterIsRead(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t).Client()
	const n = 300
	for i := range n {
		id := fmt.Sprintf("%032d", i)
		if err := client.Set(t.Context(), "sess:"+id, expressRaw, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s := newSink()
	if report := run(t, s, importer.ConnectRedis(client, ""), importer.Options{}); report.Imported != n {
		t.Errorf("got %d imported, want %d", report.Imported, n)
	}
	if report := run(t, newSink(), importer.ConnectRedis(named{client}, ""), importer.Options{}); report.Imported != n {
		t.Errorf("got %d imported by a client of another type, want %d", report.Imported, n)
	}
	for range 2 { // the state's scripts work there too
		report, err := importer.OnceInto(t.Context(), s, client, statePrefix, longLease, importer.ConnectRedis(client, ""), importer.Options{})
		if err != nil || report.Existing != n {
			t.Errorf("got %d existing and error %v, want %d", report.Existing, err, n)
		}
	}
	if got, err := importer.Estimate(t.Context(), importer.ConnectRedis(client, "")); got != n+1 || err != nil {
		t.Errorf("got an estimate of %d and error %v, want %d and the state", got, err, n)
	}
}

func TestEveryServerOfARingIsRead(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{
		"one": redistest.Start(t).Addr, "two": redistest.Start(t).Addr,
	}})
	t.Cleanup(func() { ring.Close() })
	const n = 100
	for i := range n {
		if err := ring.Set(t.Context(), "sess:"+fmt.Sprintf("%032d", i), expressRaw, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if report := run(t, newSink(), importer.ConnectRedis(ring, ""), importer.Options{}); report.Imported != n {
		t.Errorf("got %d imported, want %d", report.Imported, n)
	}
}

// docs/migrating.md states these rules.
func TestTheSmallestACLIsEnough(t *testing.T) {
	server := redistest.StartACL(t, "mover", "p",
		"~sess:*", "+ping", "+scan", "+getrange", "+pttl", "+del",
		"~"+statePrefix+"*", "+eval", "+evalsha", "+hget", "+hset", "+hdel", "+pexpire", "+persist",
		"+set") // only for the test
	client := server.Client()
	if err := client.Set(t.Context(), "sess:"+expressID, expressRaw, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	source := importer.ConnectRedis(client, "")
	for range 2 {
		report, err := importer.OnceInto(t.Context(), newSink(), client, statePrefix, longLease, source, importer.Options{})
		if err != nil || report.Imported != 1 {
			t.Errorf("got %d imported and error %v, want 1", report.Imported, err)
		}
	}
	legacy := source.Adopt("", "secret")
	rec, err := legacy.Load(t.Context(), expressID)
	adas(t, "live", rec, err)
	if err := legacy.Delete(t.Context(), expressID); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}
