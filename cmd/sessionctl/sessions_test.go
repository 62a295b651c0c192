package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

func TestEveryCommandWorksOnEveryRedis(t *testing.T) {
	eachFlavour(t, func(t *testing.T, url string) {
		alice, _ := login(t, url, "alice")
		login(t, url, "bob")
		login(t, url, "bob")
		login(t, url, "")
		t.Setenv("REDSESSION_SECRETS", base64Secret())
		ctl(t, url, "ping").wants(t, exitDone, "reached", "topology")
		ctl(t, url, "count").wants(t, exitDone, "4\n")
		if o := ctl(t, url, "list"); strings.Count(o.out, "\n") != 4 {
			t.Errorf("got %q, want 4 lines", o.out)
		}
		ctl(t, url, "list", "--user", "bob", "--json").wants(t, exitDone, `"user":"bob"`)
		ctl(t, url, "show", alice).wants(t, exitDone, "alice", "cart (", "verifies")
		ctl(t, url, "ttl", alice).wants(t, exitDone)
		ctl(t, url, "top", "--interval", "100ms", "--count", "1").wants(t, exitDone, "hits/s", "peak")
		if o := ctl(t, url, "doctor", "--json"); !strings.Contains(o.out, `"4 verify"`) || strings.Contains(o.out, "cannot look") {
			t.Errorf("got %s, want to see everything", o.out)
		}
		ctl(t, url, "revoke", alice).wants(t, exitDone, "1 session revoked")
		ctl(t, url, "revoke", "--user", "bob").wants(t, exitDone, "2 sessions revoked")
		ctl(t, url, "revoke", "--all", "--yes").wants(t, exitDone, "1 session revoked")
		ctl(t, url, "count", "--json").wants(t, exitDone, `{"sessions":0}`)
	})
}

func TestNothingUsableIsPrinted(t *testing.T) {
	srv := redistest.StartACL(t, "ops", "hunter2")
	id, cookie := login(t, srv.URL, "alice")
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	for _, args := range []string{"ping", "doctor --sample 0", "count", "list", "list --user alice", "show " + id, "ttl " + id, "top --count 1 --interval 100ms"} {
		for _, asJSON := range []bool{false, true} {
			words := strings.Fields(args)
			if asJSON {
				words = append(words, "--json")
			}
			for _, o := range []outcome{ctl(t, srv.URL, words...), ctlTerminal(t, 150, "", srv.URL, words...)} {
				for _, hidden := range []string{cookie, "hunter2", base64Secret(), string(secret), hiddenValue} {
					if strings.Contains(o.out+o.errs, hidden) {
						t.Errorf("%s prints %q", args, hidden)
					}
				}
				if strings.Contains(o.out, "\u009b") {
					t.Errorf("%s lets a browser colour the terminal: %q", args, o.out)
				}
				if asJSON && !json.Valid([]byte(o.out)) {
					t.Errorf("%s: got %q, want JSON", args, o.out)
				}
			}
		}
	}
	ctl(t, srv.URL, "show", cookie).wants(t, exitUsage, "A cookie's value is none")
	if o := ctl(t, srv.URL, "revoke", cookie); strings.Contains(o.errs, cookie) {
		t.Errorf("got %q, want the cookie not repeated", o.errs)
	}
}

func TestListOf3000SessionsStopsAtTheLimit(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.NewProxy(t, srv.Addr)
	fill(t, srv.Client(), 3000)
	o := ctl(t, proxy.URL, "list", "--limit", "7")
	if o.wants(t, exitDone); strings.Count(o.out, "\n") != 7 {
		t.Errorf("got %d lines, want 7", strings.Count(o.out, "\n"))
	}
	scans := 0
	for _, cmd := range proxy.Commands() {
		if cmd[0] == "SCAN" {
			scans++
		}
	}
	if scans != 1 {
		t.Errorf("got %d SCANs for 7 of 3000 sessions, want 1", scans)
	}
	seen := make(map[string]int)
	for line := range strings.Lines(ctl(t, srv.URL, "list").out) {
		id, _, _ := strings.Cut(line, "\t")
		seen[id]++
	}
	if len(seen) != 3000 {
		t.Errorf("got %d sessions, want 3000", len(seen))
	}
	ids := slices.Sorted(maps.Keys(seen))
	if ids[0] != numberedID(0) || ids[2999] != numberedID(2999) {
		t.Errorf("got ids from %s to %s", ids[0], ids[2999])
	}
	if o := ctl(t, srv.URL, "list", "--json"); strings.Count(o.out, "\n") != 3000 {
		t.Errorf("got %d lines of JSON, want 3000", strings.Count(o.out, "\n"))
	}
}

func TestListFitsTheTerminal(t *testing.T) {
	srv := redistest.Start(t)
	login(t, srv.URL, strings.Repeat("a-long-name-", 20))
	login(t, srv.URL, "日本語の名前")
	login(t, srv.URL, "")
	for _, width := range []int{40, 60, 80, 100, 120, 200, 400} {
		o := ctlTerminal(t, width, "", srv.URL, "list")
		o.wants(t, exitDone, "ID")
		lines := strings.Split(strings.TrimRight(o.out, "\n"), "\n")
		if len(lines) != 4 {
			t.Fatalf("width %d: got %d lines, want a heading and 3: %q", width, len(lines), o.out)
		}
		for _, line := range lines {
			if n := shownWidth(line); n > max(width, 55) {
				t.Errorf("width %d: got a line of %d columns: %q", width, n, line)
			}
		}
		if has := strings.Contains(lines[0], "AGENT"); has != (width >= 120) {
			t.Errorf("width %d: got heading %q", width, lines[0])
		}
	}
}

func TestColoursAreForTerminalsAlone(t *testing.T) {
	srv := redistest.Start(t)
	login(t, srv.URL, "alice")
	t.Setenv("TERM", "xterm")
	if o := ctlTerminal(t, 100, "", srv.URL, "list"); !strings.Contains(o.out, "\x1b[") {
		t.Errorf("got %q, want colours on a terminal", o.out)
	}
	if o := ctl(t, srv.URL, "list"); strings.Contains(o.out, "\x1b[") {
		t.Errorf("got %q, want no colours in a pipe", o.out)
	}
	t.Setenv("NO_COLOR", "1")
	for _, command := range []string{"list", "doctor", "ping"} {
		if o := ctlTerminal(t, 100, "", srv.URL, command); strings.Contains(o.out, "\x1b[") {
			t.Errorf("got %q, want no colours with NO_COLOR", o.out)
		}
	}
}

func TestEmptyRedisIsSaidToBeEmpty(t *testing.T) {
	srv := redistest.Start(t)
	ctlTerminal(t, 80, "", srv.URL, "list").wants(t, exitDone, `no sessions under the prefix "session:"`)
	ctlTerminal(t, 80, "", srv.URL, "list", "--user", "alice").wants(t, exitDone, "no sessions of alice")
	if o := ctl(t, srv.URL, "list"); o.out+o.errs != "" {
		t.Errorf("got %q and %q, want nothing in a pipe", o.out, o.errs)
	}
	ctl(t, srv.URL, "count").wants(t, exitDone, "0\n")
	ctl(t, srv.URL, "revoke", "--user", "alice").wants(t, exitDone, "0 sessions revoked")
	ctl(t, srv.URL, "revoke", someID).wants(t, exitDone, "0 sessions revoked")
	ctl(t, srv.URL, "show", someID).wants(t, exitFailed, "there is no session "+someID)
	ctl(t, srv.URL, "ttl", someID).wants(t, exitFailed, "there is no session "+someID)
}

func TestShowOfWhatCannotBeRead(t *testing.T) {
	srv := redistest.Start(t)
	plain, _ := login(t, srv.URL, "alice")
	closed, _ := login(t, srv.URL, "alice", func(c *redsession.Config) { c.Encrypt = true })
	client := srv.Client()
	client.Set(t.Context(), "session:"+someID, "nonsense", time.Hour)
	ctl(t, srv.URL, "show", plain).wants(t, exitDone, "not checked", "cart (")
	o := ctl(t, srv.URL, "show", closed)
	o.wants(t, exitDone, "encrypted")
	if strings.Contains(o.out, "cart") {
		t.Errorf("got %q, want no keys of encrypted data", o.out)
	}
	ctl(t, srv.URL, "show", closed, "--json").wants(t, exitDone, `"encrypted":true,"data":null`)
	ctl(t, srv.URL, "show", someID).wants(t, exitFailed, "no session record")
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	ctl(t, srv.URL, "show", closed).wants(t, exitDone, "verifies; the data are encrypted", "cart (29 bytes)")
	ctl(t, srv.URL, "show", plain, "--json").wants(t, exitDone, `"verified":true,"encrypted":false,"data":[{"key":"cart","bytes":29}]`)
	t.Setenv("REDSESSION_SECRETS", strings.Repeat("ab", 32))
	ctl(t, srv.URL, "show", plain).wants(t, exitDone, "does NOT verify")
	ctl(t, srv.URL, "show", closed).wants(t, exitDone, "does NOT verify", "encrypted:")
}

func TestShowOfARotatedSessionNamesItsSuccessor(t *testing.T) {
	srv := redistest.Start(t)
	next, _ := login(t, srv.URL, "alice")
	key, later := "session:"+someID, time.Now().Add(time.Hour)
	tomb, err := record.NewRotationTombstone(ringOf(t), record.Rotation{
		Key: key, Old: []byte("old"), Next: []byte("next"), NextID: next, Seen: 1, Deadline: later.Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := srv.Client()
	client.Set(t.Context(), key, tomb.Encode(ringOf(t), key), time.Hour)
	for _, command := range []string{"show", "ttl"} {
		ctl(t, srv.URL, command, someID).wants(t, exitFailed, "goes on as "+next)
	}
	ctl(t, srv.URL, "count").wants(t, exitDone, "1\n")
	ctl(t, srv.URL, "revoke", someID).wants(t, exitDone, "1 session revoked")
	ctl(t, srv.URL, "show", next).wants(t, exitFailed, "there is no session")
}

func TestShowOfASessionThatALoginReplacedNamesThatLogin(t *testing.T) {
	srv := redistest.Start(t)
	next, _ := login(t, srv.URL, "alice")
	key := "session:" + someID
	tomb := record.NewLoginTombstone(time.Now(), time.Hour, next)
	srv.Client().Set(t.Context(), key, tomb.Encode(ringOf(t), key), time.Hour)
	ctl(t, srv.URL, "show", someID).wants(t, exitFailed, "has ended", "a login put "+next)
	ctl(t, srv.URL, "count").wants(t, exitDone, "1\n")
	ctl(t, srv.URL, "revoke", someID).wants(t, exitDone)
	ctl(t, srv.URL, "show", next).wants(t, exitDone, "alice") // endings do not follow it
}

func TestTTLIsSecondsForPrograms(t *testing.T) {
	srv := redistest.Start(t)
	id, _ := login(t, srv.URL, "alice")
	client := srv.Client()
	client.Expire(t.Context(), "session:"+id, time.Hour)
	o := ctl(t, srv.URL, "ttl", id)
	if n, err := strconv.Atoi(strings.TrimSpace(o.out)); o.code != exitDone || err != nil || n < 3000 || n > 3600 {
		t.Errorf("got %q, want about 3600", o.out)
	}
	ctlTerminal(t, 80, "", srv.URL, "ttl", id).wants(t, exitDone, ", until 20")
	ctl(t, srv.URL, "ttl", id, "--json").wants(t, exitDone, `"ttl_seconds":3`, `"expires_at":"20`)
	client.Persist(t.Context(), "session:"+id)
	ctl(t, srv.URL, "ttl", id).wants(t, exitFailed, "never expires")
}

func TestIDsThatBeginWithADashAreNoFlags(t *testing.T) {
	srv := redistest.Start(t)
	const id = "-Uall-AAAAAAAAAAAAAAAAAAAAAAAAAA"
	for i := range 2 {
		raw, err := (&record.Record{Created: 1, Deadline: time.Now().Unix() + 1000, Idle: 1000}).Encode(ringOf(t), "session:"+id, false)
		if err != nil {
			t.Fatal(err)
		}
		srv.Client().Set(t.Context(), "session:"+id, raw, time.Minute)
		ctl(t, srv.URL, "show", id, "--json").wants(t, exitDone, id)
		ctl(t, srv.URL, "ttl", id).wants(t, exitDone)
		if i == 0 {
			ctl(t, srv.URL, "revoke", "--json", id).wants(t, exitDone, `{"revoked":1}`)
		} else {
			ctl(t, srv.URL, "revoke", "--", id).wants(t, exitDone, "1 session revoked")
		}
	}
}

func TestRevokeAllAsks(t *testing.T) {
	srv := redistest.Start(t)
	for i, tt := range []struct {
		name, input string
		args        []string
		code, left  int
		want        string
	}{
		{"yes ends all", "yes\n", nil, exitDone, 0, "5 sessions revoked"},
		{"no ends nothing", "no\n", nil, exitFailed, 5, "nothing was revoked"},
		{"y is not yes", "y\n", nil, exitFailed, 5, "nothing was revoked"},
		{"the end of input is not yes", "", nil, exitFailed, 5, "nothing was revoked"},
		{"nobody is asked with --yes", "", []string{"--yes"}, exitDone, 0, "5 sessions revoked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := srv.Client()
			client.FlushAll(t.Context())
			fill(t, client, 5)
			client.Set(t.Context(), "other:"+fmt.Sprint(i), "stays", 0)
			o := ctlTerminal(t, 80, tt.input, srv.URL, append([]string{"revoke", "--all"}, tt.args...)...)
			o.wants(t, tt.code, tt.want)
			if asked := strings.Contains(o.errs, "This ends 5 sessions"); asked != (tt.args == nil) {
				t.Errorf("got asked %t: %q", asked, o.errs)
			}
			if n := client.DBSize(t.Context()).Val(); n != int64(tt.left)+1 {
				t.Errorf("got %d keys left, want %d and one of somebody else", n, tt.left)
			}
		})
	}
}

func TestRestrictedUser(t *testing.T) {
	// The rules that redsession's README gives programs.
	srv := redistest.StartACL(t, "app", "secret",
		strings.Fields("~session:* +ping +get +getrange +exists +expire +setex +del +ttl +pttl +eval +evalsha +scan +zadd +zrem +zcard +zscore +zrange")...)
	id, _ := login(t, srv.URL, "alice")
	ctl(t, srv.URL, "ping").wants(t, exitDone, "needs +info")
	ctl(t, srv.URL, "ping", "--json").wants(t, exitDone, `"replicas":null`)
	ctl(t, srv.URL, "count").wants(t, exitDone, "1\n")
	ctlTerminal(t, 100, "", srv.URL, "count").wants(t, exitDone, "1\n")
	ctl(t, srv.URL, "list").wants(t, exitDone, id)
	ctl(t, srv.URL, "show", id).wants(t, exitDone, "alice")
	ctl(t, srv.URL, "top").wants(t, exitFailed, "needs +info")
	ctl(t, srv.URL, "--prefix", "foreign:", "show", id).wants(t, exitFailed, "may not read these keys")
	ctl(t, srv.URL, "doctor").wants(t, exitDone, "needs +info", "needs +slowlog|get", "needs +acl|whoami", "needs +memory|usage", "each has a TTL")
	ctl(t, srv.URL, "revoke", id).wants(t, exitDone, "1 session revoked")
}
