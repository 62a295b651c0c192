package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/redistest"
)

const someID = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func TestWrongUseIsExplained(t *testing.T) {
	const url = "redis://127.0.0.1:1"
	for _, tt := range []struct {
		name, args, want string
	}{
		{"no command at all", "", "which command?"},
		{"an unknown command", "lsit", `"lsit" is no command (did you mean list?)`},
		{"an unknown command with flags", "tpo --interval 3s", `"tpo" is no command`},
		{"an unknown flag", "list --limmit 3", "no flag --limmit (did you mean --limit?)"},
		{"an unknown flag before the command", "--jsno list", "no flag --jsno"},
		{"a flag without its value", "list --limit", "flag needs an argument: --limit"},
		{"a number that is none", "list --limit many", "many"},
		{"a negative limit", "list --limit -1", "--limit is -1"},
		{"an empty user", "list --user=", "--user is empty"},
		{"a timeout of nothing", "--timeout 0s ping", "--timeout is 0s"},
		{"a timeout that is none", "--timeout soon ping", "soon"},
		{"an argument too many", "count everything", "count takes no argument"},
		{"show without an id", "show", "which session?"},
		{"ttl with two ids", "ttl " + someID + " " + someID, "ttl takes one id"},
		{"an id that is too short", "show abc", "this is no session id"},
		{"an id with other characters", "ttl " + strings.Repeat("!", 32), "this is no session id"},
		{"revoke of nothing", "revoke", "end which sessions?"},
		{"revoke of an id and a user", "revoke --user alice " + someID, "exclude each other"},
		{"revoke of a user and all", "revoke --user alice --all --yes", "exclude each other"},
		{"revoke of an empty user", "revoke --user=", "--user is empty"},
		{"yes without all", "revoke --yes " + someID, "--yes goes with --all"},
		{"all without a terminal", "revoke --all", "add --yes if that is meant"},
		{"a sample below nothing", "doctor --sample -5", "--sample is -5"},
		{"an interval of nothing", "top --interval 1ms", "--interval is 1ms"},
		{"a count below nothing", "top --count -1", "--count is -1"},
		{"an empty prefix", "--prefix= count", "--prefix is empty"},
		{"a prefix with a space", "--prefix a\u00a0\tb count", "--prefix has a space"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := ctl(t, url, strings.FieldsFunc(tt.args, func(r rune) bool { return r == ' ' })...)
			o.wants(t, exitUsage)
			if !strings.Contains(o.errs, tt.want) || o.out != "" {
				t.Errorf("got %q on stderr and %q on stdout, want %q on stderr alone", o.errs, o.out, tt.want)
			}
		})
	}
}

func TestWrongURLIsExplainedWithoutItsPassword(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"no URL", "", "set REDSESSION_URL"},
		{"another scheme", "http://alice:hunter2@host", `scheme "http" is unknown`},
		{"a password that is not encoded", "redis://alice:hun/ter2@host:6379", "percent-encode"},
		{"a port that is none", "redis://alice:hunter2@host:port/0", "want for example"},
		{"a database that is none", "redis://alice:hunter2@host/zero", "number of the database"},
		{"an unknown option", "redis://alice:hunter2@host/0?colour=red", "want for example"},
		{"several hosts", "redis://alice:hunter2@h1,h2/0", "several hosts"},
		{"a certificate that is not there", "rediss://alice:hunter2@host?ca=nowhere.pem", "nowhere.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := ctl(t, tt.url, "ping")
			o.wants(t, exitUsage, tt.want)
			if strings.Contains(o.out+o.errs, "hunter2") || strings.Contains(o.out+o.errs, "ter2@") {
				t.Errorf("got %q, want no password in it", o.errs)
			}
		})
	}
}

func TestEnvironmentNamesFiles(t *testing.T) {
	srv := redistest.Start(t)
	login(t, srv.URL, "alice")
	path := filepath.Join(t.TempDir(), "url")
	for text, want := range map[string]string{srv.URL + "\n": "1\n", "nonsense": "REDSESSION_URL_FILE scheme"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("REDSESSION_URL_FILE", path)
		code := exitDone
		if text == "nonsense" {
			code = exitUsage
		}
		ctl(t, "", "count").wants(t, code, want)
	}
	t.Setenv("REDSESSION_URL", srv.URL)
	ctl(t, "", "count").wants(t, exitUsage, "REDSESSION_URL and REDSESSION_URL_FILE are both set")
	t.Setenv("REDSESSION_URL_FILE", "")
	t.Setenv("REDSESSION_SECRETS_FILE", path+"-none")
	ctl(t, "", "count").wants(t, exitUsage, "REDSESSION_SECRETS_FILE: ")
}

func TestEnvironmentIsReadBehindFlags(t *testing.T) {
	srv := redistest.Start(t)
	login(t, srv.URL, "alice")
	t.Setenv("REDSESSION_URL", srv.URL)
	ctl(t, "", "count").wants(t, exitDone, "1\n")
	t.Setenv("REDSESSION_PREFIX", "other:")
	ctl(t, "", "count").wants(t, exitDone, "0\n")
	ctl(t, "", "--prefix", "session:", "count").wants(t, exitDone, "1\n")
	t.Setenv("REDSESSION_URL", "redis://127.0.0.1:1")
	ctl(t, srv.URL, "count", "--prefix", "session:").wants(t, exitDone, "1\n")
	t.Setenv("REDSESSION_URL", "nonsense")
	ctl(t, "", "count").wants(t, exitUsage, "REDSESSION_URL scheme")
	t.Setenv("REDSESSION_SECRETS", "too-short-a-secret")
	o := ctl(t, srv.URL, "count")
	o.wants(t, exitUsage, "REDSESSION_SECRETS: entry 1")
	if strings.Contains(o.errs, "too-short-a-secret") {
		t.Errorf("got %q, want no secret in it", o.errs)
	}
}

func TestUnreachableRedisIsExplained(t *testing.T) {
	plain := redistest.Start(t)
	secured := redistest.StartTLS(t)
	locked := redistest.StartACL(t, "ops", "right")
	passworded := redistest.Start(t, "--requirepass", "hunter2")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tt := range []struct {
		name, url, want string
		code            int
	}{
		{"nobody listens", "redis://127.0.0.1:1", "connection refused", exitFailed},
		{"nobody listens for the cluster", "redis+cluster://127.0.0.1:1,127.0.0.1:2", "connection refused", exitFailed},
		{"no sentinel listens", "redis+sentinel://127.0.0.1:1/mymaster", "connection refused", exitFailed},
		{"nobody answers", "redis://" + silent.Addr().String(), "does not answer in time", exitFailed},
		{"there is no socket", "unix://" + filepath.Join(t.TempDir(), "no.sock"), "no such socket", exitFailed},
		{"a wrong password", "redis://ops:wr0ng@" + locked.Addr, "refuses this user or password", exitFailed},
		{"a wrong user", "redis://nobody:wr0ng@" + locked.Addr, "refuses this user or password", exitFailed},
		{"no password", "redis://" + passworded.Addr, "wants a password", exitFailed},
		{"TLS on a plain port", "rediss://" + plain.Addr, "does this port speak TLS?", exitFailed},
		{"plain on a TLS port", "redis://" + secured.Addr, "rediss://", exitFailed},
		{"an unknown authority", secured.URL, "?ca=FILE", exitFailed},
		{"a database that is not there", plain.URL + "/99", "no database of this number", exitFailed},
		{"a cluster that is none", "redis+cluster://" + plain.Addr, "this is no cluster", exitFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, command := range []string{"ping", "count"} {
				o := ctl(t, "", "--url", tt.url, "--timeout", "700ms", command)
				o.wants(t, tt.code, tt.want)
				if strings.Contains(o.errs, "wr0ng") || strings.Count(o.errs, "\n") != 1 || o.out != "" {
					t.Errorf("got %q and %q, want one line on stderr, without the password", o.out, o.errs)
				}
			}
		})
	}
}

func TestWhatHoldsNotAllSessionsIsRefused(t *testing.T) {
	cluster := redistest.StartCluster(t)
	ctl(t, "redis://"+cluster.Addrs[0], "count").wants(t, exitUsage, "redis+cluster://")
	sentinel := redistest.StartSentinel(t)
	ctl(t, "redis://"+sentinel.Addrs[0], "count").wants(t, exitUsage, "redis+sentinel://")
	ctl(t, strings.Replace(sentinel.URL, redistest.MasterName, "nobody", 1), "count").wants(t, exitFailed, "the sentinels name no master")
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	o := ctl(t, "", "--help")
	o.wants(t, exitDone)
	for _, name := range []string{"ping", "doctor", "top", "count", "list", "show", "ttl", "revoke", "import", "capacity"} {
		if !strings.Contains(o.out, "     "+name+" ") {
			t.Errorf("the help does not list %s", name)
		}
		help := ctl(t, "", name, "--help")
		help.wants(t, exitDone, "Examples:", "sessionctl "+name, "JSON", "--url")
		for line := range strings.Lines(help.out) {
			if len(line) > 100 && !strings.Contains(line, "--") {
				t.Errorf("%s: got a line of %d characters: %s", name, len(line), line)
			}
		}
	}
}

func TestShellsCompleteCommands(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "pwsh"} {
		o := ctl(t, "", "completion", shell)
		o.wants(t, exitDone)
		if len(o.out) < 100 {
			t.Errorf("%s: got a script of %d bytes", shell, len(o.out))
		}
	}
	ctl(t, "", "list", "--l", "--generate-shell-completion").wants(t, exitDone, "--limit")
}
