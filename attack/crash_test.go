package attack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// crashLimit is Config.MaxPerUser of the processes that die and of those that look after them.
const crashLimit = 3

// operation is something that a process may be killed in.
type operation struct {
	later   time.Duration            // between prepare and the rest
	wait    time.Duration            // the child's Config.OutageWait; 0 for none
	prepare func(sc *scene) []string // cookies
	run     func(c *crashing)        // in the child
	check   func(sc *scene, d death) // what must hold however far it got
}

// scene is one Redis with one prefix, before and after the child.
type scene struct {
	testing.TB
	client redis.UniversalClient
	prefix string
	later  time.Duration       // of the operation
	m      *redsession.Manager // another server
	at     func(later time.Duration) *redsession.Manager
}

// death is how a child ended.
type death struct {
	report
	killed  bool
	cookies []string // of prepare
}

// acknowledged tells whether the child got an answer to its nth request, counted from 0, and returns its cookie.
func (d *death) acknowledged(n int) (cookie string, ok bool) {
	if n >= len(d.Answers) || d.Answers[n].Status != 200 {
		return "", false
	}
	return d.Answers[n].Cookie, true
}

// A plan is one script here, so that a process dies before it or after it.
func TestAKilledProcessLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	crashEverywhere(t, task{Addrs: []string{srv.Addr}})
}

func TestAKilledProcessLeavesNothingHalfDoneBetweenThePartsOfAPlan(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	crashEverywhere(t, task{Addrs: []string{srv.Addr}, Apart: true})
}

func TestAKilledProcessLeavesNothingHalfDoneOnACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	crashEverywhere(t, task{Addrs: c.Addrs, Cluster: true})
}

// thorough also kills right after each command, which leaves in Redis what dying before the next one does.
var thorough = os.Getenv("REDSESSION_ATTACK_THOROUGH") == "true"

// crashEverywhere kills a process at every point of every operation, on the Redis that base names.
func crashEverywhere(t *testing.T, base task) {
	client := dial(base.Addrs, base.Cluster, nil)
	t.Cleanup(func() { client.Close() })
	// Each has keys of its own, and most of the time it waits: for processes to begin and end, and for Redis.
	var all errgroup.Group
	all.SetLimit(atOnce)
	defer func() { _ = all.Wait() }()
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		op := operations[name]
		all.Go(func() error {
			t.Run(name, func(t *testing.T) {
				base := base
				base.Operation, base.Later, base.Wait = name, op.later, op.wait
				// The first run is not cut short. It tells how many points there are, and the servers learn the scripts.
				whole := crash(t, client, op, base)
				whole = crash(t, client, op, base)
				points := 0
				for n := 1; n <= whole.Commands; n++ {
					for _, after := range []bool{false, true} {
						if same := after && n < whole.Commands && !thorough; same {
							continue
						}
						tk := base
						tk.Point, tk.After = n, after
						t.Run(where(whole, tk), func(t *testing.T) {
							if d := crash(t, client, op, tk); d.killed {
								points++
							}
						})
					}
				}
				t.Logf("%d crash points among %s", points, strings.Join(whole.Names, " "))
			})
			return nil
		})
	}
}

// atOnce is how many operations are tried at a time.
const atOnce = 6

func where(d death, tk task) string {
	when := "before"
	if tk.After {
		when = "after"
	}
	return fmt.Sprintf("%s %d %s", when, tk.Point, d.Names[tk.Point-1])
}

// crash performs op once in a child and checks what is left.
func crash(t *testing.T, client redis.UniversalClient, op operation, tk task) death {
	t.Helper()
	tk.Prefix = fmt.Sprintf("%s-%d-%t-%d:", strings.ReplaceAll(tk.Operation, " ", "-"), tk.Point, tk.After, time.Now().UnixNano())
	sc := &scene{TB: t, client: client, prefix: tk.Prefix, later: op.later}
	sc.at = func(later time.Duration) *redsession.Manager {
		return newManager(t, childSettings(client, &task{Prefix: tk.Prefix, Later: later}))
	}
	sc.m = sc.at(0)
	tk.Cookies = op.prepare(sc)
	d := execute(t, tk)
	d.cookies = tk.Cookies
	if tk.Point == 0 && d.killed {
		t.Fatalf("the child that was to live died: %s", d.Err)
	}
	sc.m = sc.at(op.later)
	op.check(sc, d)
	sc.noLeftovers()
	return d
}

// execute runs the child to its end.
func execute(t *testing.T, tk task) (d death) {
	t.Helper()
	text, err := json.Marshal(tk)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	// By default a program with the race detector waits for a second before it exits.
	cmd.Env = append(os.Environ(), childVar+"="+string(text), "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout = &out
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatal("the child hangs")
	}
	d.killed = err != nil
	if err != nil && !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended with %v", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; last != "" {
		if err := json.Unmarshal([]byte(last), &d.report); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// sees fails the test unless a browser with that cookie sees one of want.
func (sc *scene) sees(who, cookie string, want ...string) string {
	sc.Helper()
	a := look(sc.m, cookie)
	if a.status != 200 || !slices.Contains(want, a.body) {
		sc.Errorf("%s: got status %d and %q, want one of %q", who, a.status, a.body, want)
	}
	if len(a.ours) > 1 {
		sc.Errorf("%s: got %d cookies of ours, want one at most", who, len(a.ours))
	}
	return a.body
}

// login logs in on another browser and returns its cookie.
func (sc *scene) login(user string, more ...handler) string {
	sc.Helper()
	var b browser
	sc.must(b.send(context.Background(), sc.m, all(append([]handler{login(user)}, more...)...)))
	return b.cookie
}

func (sc *scene) must(a answer) {
	sc.Helper()
	if a.status != 200 {
		sc.Fatalf("got status %d, want 200", a.status)
	}
}

// noLeftovers checks what holds for every operation. A login that was under way may have left an entry without a record:
// it counts for nothing, and whoever lists the user's sessions takes it out once no login can be so slow.
func (sc *scene) noLeftovers() {
	sc.Helper()
	own := sc.login("alice")
	if keys := eternal(sc, sc.client, sc.prefix); len(keys) > 0 {
		sc.Errorf("got keys that live for ever: %q, want none", keys)
	}
	if alive, _ := indexed(sc, sc.client, sc.prefix, "alice"); len(alive) > crashLimit {
		sc.Errorf("got %d logins, want at most %d", len(alive), crashLimit)
	}
	sc.sees("a login afterwards", own, "alice")
	if _, err := sc.at(sc.later+11*time.Minute).Sessions(context.Background(), "alice"); err != nil {
		sc.Error(err)
	}
	if _, dead := indexed(sc, sc.client, sc.prefix, "alice"); len(dead) > 0 {
		sc.Errorf("got %d entries without a session after 11 minutes, want none", len(dead))
	}
}

// staysThoughOthersLogIn checks that the session of cookie is not ended by as many logins as MaxPerUser allows beside
// it: what a dead process left must not count.
func (sc *scene) staysThoughOthersLogIn(cookie, want string) {
	sc.Helper()
	for range crashLimit - 1 {
		sc.login("alice")
	}
	sc.sees("within MaxPerUser", cookie, want)
}
