package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

// cancelOn returns a context that a command's first use of name ends, as Ctrl-C
// would then.
func cancelOn(t *testing.T, proxy *redistest.Proxy, name string) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	proxy.CutRequest(func(args []string) bool {
		if args[0] == name {
			cancel()
		}
		return ctx.Err() != nil // else the answer may be quicker
	})
	return ctx
}

func TestCtrlCStopsEveryCommand(t *testing.T) {
	srv := redistest.Start(t)
	fill(t, srv.Client(), 3000)
	for _, tt := range []struct {
		name, at string
		args     []string
	}{
		{"ping", "PING", []string{"ping"}},
		{"count", "SCAN", []string{"count"}},
		{"list", "SCAN", []string{"list", "--json"}},
		{"show", "GET", []string{"show", numberedID(1)}},
		{"doctor", "SLOWLOG", []string{"doctor"}},
		{"top", "INFO", []string{"top"}},
		{"revoke", "EVALSHA", []string{"revoke", "--all", "--yes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := redistest.NewProxy(t, srv.Addr)
			o := ctlContext(t, cancelOn(t, proxy, tt.at), proxy.URL, tt.args...)
			o.wants(t, exitStopped, "sessionctl: stopped")
		})
	}
}

func TestCtrlCLeavesWholeRows(t *testing.T) {
	srv := redistest.Start(t)
	fill(t, srv.Client(), 3000)
	for _, args := range [][]string{{"list"}, {"list", "--json"}} {
		proxy := redistest.NewProxy(t, srv.Addr)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		scans := 0
		proxy.CutRequest(func(args []string) bool {
			if args[0] == "SCAN" {
				if scans++; scans == 3 {
					cancel()
				}
			}
			return false
		})
		o := ctlContext(t, ctx, proxy.URL, args...)
		o.wants(t, exitStopped, "the list is not complete", "sessionctl: stopped")
		lines := strings.Split(o.out, "\n")
		if len(lines) < 100 || lines[len(lines)-1] != "" {
			t.Errorf("got %d lines, the last %q, want whole ones", len(lines), lines[len(lines)-1])
		}
		for _, line := range lines[:len(lines)-1] {
			if ok := json.Valid([]byte(line)) || strings.Count(line, "\t") == 10; !ok {
				t.Errorf("got half a row: %q", line)
			}
		}
	}
}

func TestCtrlCAtTheQuestionEndsNothing(t *testing.T) {
	srv := redistest.Start(t)
	fill(t, srv.Client(), 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs := &terminal{width: 80, wrote: func(all string) {
		if strings.Contains(all, "Type yes") {
			cancel()
		}
	}}
	in := &terminal{width: 80, in: blocked{t.Context()}}
	code := run(ctx, []string{"--url", srv.URL, "revoke", "--all"}, in, &terminal{width: 80}, errs)
	if code != exitStopped || !strings.Contains(errs.String(), "nothing was revoked") {
		t.Errorf("got exit code %d and %q", code, errs.String())
	}
	if n := srv.Client().DBSize(t.Context()).Val(); n != 3 {
		t.Errorf("got %d sessions left, want 3", n)
	}
}

// blocked is an input on which nobody types.
type blocked struct{ ctx context.Context }

func (b blocked) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func TestTopRestoresTheTerminal(t *testing.T) {
	srv := redistest.Start(t)
	fill(t, srv.Client(), 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &terminal{width: 80, wrote: func(all string) {
		if strings.Contains(all, "10, of at most 0 users") {
			cancel()
		}
	}}
	code := run(ctx, []string{"--url", srv.URL, "top", "--interval", "100ms"}, strings.NewReader(""), out, &terminal{width: 80})
	if code != exitStopped {
		t.Errorf("got exit code %d, want 130", code)
	}
	_, after, ok := strings.Cut(out.String(), leaveScreen)
	if !strings.HasPrefix(out.String(), enterScreen) || !ok || !strings.Contains(after, "hits/s") {
		t.Errorf("got %q, want the terminal as it was, and a summary", out.String())
	}
}

func TestTopInAPipe(t *testing.T) {
	srv := redistest.Start(t)
	login(t, srv.URL, "alice")
	o := ctl(t, srv.URL, "top", "--interval", "100ms", "--count", "3")
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	if o.code != exitDone || len(lines) != 6 || lines[0] != lineHead || !strings.HasPrefix(lines[4], "mean\t") || !strings.HasPrefix(lines[5], "peak\t") {
		t.Errorf("got exit code %d and %q, want a heading, 3 lines, mean and peak", o.code, o.out)
	}
	for _, line := range lines {
		if strings.Count(line, "\t") != strings.Count(lineHead, "\t") {
			t.Errorf("got %q, want as many columns as %q", line, lineHead)
		}
	}
	o = ctl(t, srv.URL, "top", "--interval", "100ms", "--count", "2", "--json")
	if strings.Count(o.out, "\n") != 2 || !strings.Contains(o.out, `"hits_per_second":`) {
		t.Errorf("got %q, want 2 lines of JSON", o.out)
	}
}

func TestTopCountsWhatHappens(t *testing.T) {
	srv := redistest.Start(t)
	client := srv.Client()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			client.Expire(ctx, "session:x", time.Hour)
			client.Do(ctx, "setex", "session:y", 60, "v")
			client.ZAdd(ctx, "session:z", redis.Z{Member: "m"})
			client.Do(ctx, "no-such-command")
		}
	}()
	o := ctl(t, srv.URL, "top", "--interval", "200ms", "--count", "1", "--json")
	cancel()
	<-done
	var l look
	if err := json.Unmarshal([]byte(o.out), &l); err != nil {
		t.Fatal(err)
	}
	if l.Hits == 0 || l.Writes == 0 || l.Logins == 0 || l.Errors == 0 || l.Commands < l.Hits+l.Writes+l.Logins || l.Memory == 0 {
		t.Errorf("got %+v, want all of it counted", l)
	}
}

func TestTopOutlivesAnOutage(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	infos := 0
	proxy.Reply(func(args []string) (string, bool) {
		if args[0] == "INFO" {
			infos++
		}
		return "-LOADING Redis is loading the dataset in memory\r\n", args[0] == "INFO" && infos >= 3 && infos <= 8
	})
	o := ctl(t, proxy.URL, "top", "--interval", "100ms", "--count", "30")
	o.wants(t, exitDone, "reading its data from disk", "mean\t")
}
