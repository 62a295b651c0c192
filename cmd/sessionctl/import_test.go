package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/redisurl"
)

const (
	odooSID     = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
	odooBody    = `{"db": "prod", "login": "ada", "uid": 42, "session_token": "3f3f", "create_time": 1763755943.5}`
	gorillaSID  = "AUENRLCQKMA2L7F5BPYWPPKLVQ4I3AHV4WUY3XABNY2MO4IT5NEQ"
	expressSID  = "-2x1RsueYtcZ_JBiFD8mmvZXgyKZNYuF"
	expressBody = `{"cookie":{"originalMaxAge":3600000},"user_id":42,"name":"` + hiddenValue + `","passport":{"user":"ada"}}`
	scsSID      = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE"
	phpSID      = "2b1a613cc4a163dc5caa1319bbd7905d"
	signingText = "a-key-that-nobody-may-see-0123456789"
)

var sealingKey = []byte("fedcba9876543210")

// place puts a file into dir, with its folders.
func place(t *testing.T, dir, name, body string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// odooFolder has n sessions of ada, and one file that is none.
func odooFolder(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		sid := fmt.Sprintf("%08x", i) + odooSID[8:]
		place(t, dir, sid[:2]+"/"+sid, odooBody)
	}
	place(t, dir, "tmpab.__wz_sess", "{")
	return dir
}

func gobOf(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gorillaFile(t *testing.T, keyPairs ...[]byte) string {
	t.Helper()
	values := map[any]any{"user_id": 42, "notes": []any{hiddenValue}, "seen": time.Now()}
	text, err := securecookie.EncodeMulti("sid", values, securecookie.CodecsFromPairs(keyPairs...)...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// importing runs import with the servers' secrets, and returns its report.
func importing(t *testing.T, url string, args ...string) (importer.Report, outcome) {
	t.Helper()
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	o := ctl(t, url, append([]string{"--json", "import"}, args...)...)
	var r importer.Report
	if err := json.Unmarshal([]byte(o.out), &r); err != nil && o.code != exitUsage {
		t.Errorf("got %q and %q, want a report as JSON", o.out, o.errs)
	}
	if strings.Contains(o.out+o.errs, hiddenValue) || strings.Contains(o.out+o.errs, signingText) {
		t.Errorf("got %q and %q, want neither values nor keys in it", o.out, o.errs)
	}
	return r, o
}

// whoIs says who is logged in, to a server that adopts, with an old cookie.
func whoIs(t *testing.T, url string, legacy redsession.Legacy, cookie string) string {
	t.Helper()
	legacy.Load, legacy.Delete = nil, nil // what was imported must do
	m, err := redsession.New(redsession.Config{
		URL: url, Secrets: [][]byte{secret}, RedisTimeout: 30 * time.Second, Adopt: []redsession.Legacy{legacy},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	name := ""
	req := httptest.NewRequestWithContext(t.Context(), "GET", "https://example.org/", nil)
	req.AddCookie(&http.Cookie{Name: legacy.Cookie, Value: cookie})
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		name = redsession.FromContext(r.Context()).UserID()
	})).ServeHTTP(httptest.NewRecorder(), req)
	return name
}

func TestImportFromEveryFolder(t *testing.T) {
	phpBody, err := os.ReadFile("../../importer/internal/php/testdata/php.sess")
	if err != nil {
		t.Fatal(err)
	}
	pickle, err := os.ReadFile("../../importer/internal/pickle/testdata/odoo5.pickle")
	if err != nil {
		t.Fatal(err)
	}
	signing, sealed := []byte(signingText), []byte("a-key-of-encrypted-sessions")
	for _, tt := range []struct {
		name, file, body, args string
		want                   string // the user's list shows it
	}{
		{"Odoo", odooSID[:2] + "/" + odooSID, odooBody, "odoo DIR", "42"},
		{"Odoo with pickles", "2b/2b1a613cc4a163dc5caa1319bbd7905d2b1a613c", string(pickle), "odoo DIR", ""},
		{"gorilla", "session_" + gorillaSID, gorillaFile(t, signing), "gorilla-files DIR --name sid --key-file KEYS --user-from user_id", "42"},
		{"gorilla, encrypted", "session_" + gorillaSID, gorillaFile(t, sealed, sealingKey), "gorilla-files DIR --name sid --key-file KEYS --user-from user_id", "42"},
		{"express", expressSID + ".json", expressBody, "express-files DIR --user-from passport.user", "ada"},
		{"express, with another extension", "u.7.sess", expressBody, "express-files DIR --extension .sess --user-from passport.user", "ada"},
		{"express, without an extension", expressSID, expressBody, "express-files DIR --extension= --user-from passport.user", "ada"},
		{"PHP", "sess_" + phpSID, string(phpBody), "php-files DIR --user-from name --persistent", "ada"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, dir := redistest.Start(t), t.TempDir()
			place(t, dir, tt.file, tt.body)
			keys := place(t, t.TempDir(), "keys", "# newest first\n\ntext:another-key\nbase64:"+base64.StdEncoding.EncodeToString(sealed)+
				" hex:"+hex.EncodeToString(sealingKey)+"\r\ntext:"+signingText+"\n")
			r, o := importing(t, srv.URL, strings.Fields(strings.NewReplacer("DIR", dir, "KEYS", keys).Replace(tt.args))...)
			o.wants(t, exitDone)
			if r.Found != 1 || r.Imported != 1 {
				t.Fatalf("got %+v, want one imported", r)
			}
			if tt.want != "" {
				ctl(t, srv.URL, "list", "--user", tt.want).wants(t, exitDone, tt.want+"\t")
			}
		})
	}
}

func TestImportFromEveryRedis(t *testing.T) {
	type scsData struct {
		Deadline time.Time
		Values   map[string]any
	}
	scsBody := gobOf(t, scsData{time.Now().Add(time.Hour), map[string]any{"user_id": 42, "at": time.Now(), "list": []any{"x"}}})
	redistoreBody := gobOf(t, map[any]any{"user_id": 42, "notes": []any{hiddenValue}})
	for _, tt := range []struct{ name, key, body, args, want string }{
		{"scs", "scs:session:" + scsSID, scsBody, "scs URL --user-from user_id", "42"},
		{"scs with hashed tokens", "mine:" + scsSID, scsBody, "scs URL --hashed-tokens --source-prefix mine: --user-from user_id", "42"},
		{"redistore", "session_" + gorillaSID, redistoreBody, "redistore URL --user-from user_id --browser-session", "42"},
		{"connect-redis", "sess:" + expressSID, expressBody, "connect-redis URL --user-from passport.user", "ada"},
		{"connect-redis, without a prefix", "u:1/a", expressBody, "connect-redis URL --source-prefix= --user-from passport.user", "ada"},
		{"rbcervilla", "session:" + strings.Repeat("A", 103), redistoreBody, "rbcervilla URL --user-from user_id", "42"},
		{"PHP in Redis", "PHPREDIS_SESSION:" + phpSID, "user_id|i:42;", "php-redis URL --user-from user_id", "42"},
		{"Odoo in Redis", "session::prod:" + odooSID, odooBody, "odoo-redis URL --source-prefix session::prod:", "42"},
		{"Flask in Redis", "session:51769844-3d2c-4bba-af22-8d8bec5821bc", `{"_permanent": true, "user_id": 42}`, "flask-redis URL --user-from user_id", "42"},
		{"Django in Redis", ":1:django.contrib.sessions.cache" + phpSID, `{"_auth_user_id": "42"}`, "django-redis URL", "42"},
		{"connect-redis, a number for the user", "sess:" + expressSID, expressBody, "connect-redis URL --user-from user_id", "42"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, old := redistest.Start(t), redistest.Start(t, "--requirepass", "hunter2")
			oldURL := "redis://:hunter2@" + old.Addr + "/0"
			if err := dial(t, oldURL).Set(t.Context(), tt.key, tt.body, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			r, o := importing(t, srv.URL, strings.Fields(strings.Replace(tt.args, "URL", oldURL, 1))...)
			o.wants(t, exitDone)
			if strings.Contains(o.out+o.errs, "hunter2") || r.Imported != 1 {
				t.Fatalf("got %+v and %q, want one imported and no password", r, o.errs)
			}
			ctl(t, srv.URL, "list", "--user", tt.want).wants(t, exitDone, tt.want+"\t")
			t.Setenv("REDSESSION_SOURCE_URL", oldURL)
			r, _ = importing(t, srv.URL, strings.Fields(strings.Replace(tt.args, "URL", "", 1))...)
			if r.Existing != 1 {
				t.Errorf("got %+v with REDSESSION_SOURCE_URL, want one existing", r)
			}
		})
	}
}

func TestImportedSessionsAnswerToTheOldCookie(t *testing.T) {
	srv, dir := redistest.Start(t), t.TempDir()
	place(t, dir, odooSID[:2]+"/"+odooSID, odooBody)
	importing(t, srv.URL, "odoo", dir)
	if got := whoIs(t, srv.URL, importer.Odoo(dir).Adopt(), odooSID); got != "42" {
		t.Errorf("got user %q with the old cookie, want 42", got)
	}
	// The session went on under an id of ours. It must not come back.
	for _, args := range [][]string{{"odoo", dir}, {"odoo", dir, "--force"}} {
		if r, o := importing(t, srv.URL, args...); r.Ended != 1 || o.code != exitDone {
			t.Errorf("%v: got %+v, want one ended", args, r)
		}
	}
}

func TestImportAgainForcedAndDry(t *testing.T) {
	srv, dir := redistest.Start(t), odooFolder(t, 20)
	keys := func() int64 { return srv.Client().DBSize(t.Context()).Val() }
	r, _ := importing(t, srv.URL, "odoo", dir, "--dry-run")
	if r.Found != 21 || r.Imported != 20 || !r.DryRun || keys() != 0 {
		t.Errorf("got %+v and %d keys, want 20 to import and no key", r, keys())
	}
	importing(t, srv.URL, "odoo", dir)
	after := keys()
	if r, _ = importing(t, srv.URL, "odoo", dir); r.Existing != 20 || r.Imported != 0 || keys() != after {
		t.Errorf("got %+v and %d keys, want 20 existing and %d", r, keys(), after)
	}
	if r, _ = importing(t, srv.URL, "--force", "odoo", dir); r.Imported != 20 || keys() != after {
		t.Errorf("got %+v and %d keys, want 20 imported and %d", r, keys(), after)
	}
	if n := srv.Client().Exists(t.Context(), "session:import:odoo").Val(); n != 0 {
		t.Error("got a state of importer.Once, want none")
	}
}

func TestImportReportForPeopleAndPrograms(t *testing.T) {
	srv, dir := redistest.Start(t), odooFolder(t, 3)
	place(t, dir, "ab/"+"ab"+odooSID[2:], "{")
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	o := ctl(t, srv.URL, "import", "odoo", dir)
	o.wants(t, exitDone, "imported\t3\t\n", "temporary\t1\tleft over by a writer that crashed\n", "corrupt\t1\t", "note\t1\t")
	for line := range strings.Lines(o.out) {
		if strings.Count(line, "\t") != 2 {
			t.Errorf("got %q, want three columns", line)
		}
	}
	seen := ctlTerminal(t, 60, "", srv.URL, "import", "odoo", dir, "--rate", "6")
	seen.wants(t, exitDone, "MEANING", "  temporary", "note: 1 × ", "importing")
	for line := range strings.Lines(seen.out) {
		if shownWidth(strings.TrimSpace(line)) > 60 && !strings.HasPrefix(line, "note") {
			t.Errorf("got %q, wider than the terminal", line)
		}
	}
}

func TestImportSaysWhatIsMissing(t *testing.T) {
	srv, dir := redistest.Start(t), t.TempDir()
	_, o := importing(t, srv.URL, "odoo", dir)
	o.wants(t, exitDone, "no session to import was found in "+dir)
	place(t, dir, expressSID+".json", expressBody)
	_, o = importing(t, srv.URL, "express-files", dir)
	o.wants(t, exitDone, "nobody counts as logged in: --user-from")
	_, o = importing(t, srv.URL, "express-files", dir, "--user-from", "passport.id")
	o.wants(t, exitDone, "no session names a user in --user-from passport.id")
	_, o = importing(t, srv.URL, "express-files", dir, "--force", "--max-bytes", "50")
	o.wants(t, exitFailed, "1 session failed", "Config.MaxBytes allows 50")
	type cart struct{ N int }
	gob.RegisterName("main.CartOfTheApplication", cart{})
	body := strings.ReplaceAll(gobOf(t, map[any]any{"cart": cart{1}}), "CartOfTheApplication", "CartOfTheApplicatiox")
	if err := srv.Client().Set(t.Context(), "session_"+gorillaSID, body, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	_, o = importing(t, srv.URL, "redistore", srv.URL)
	o.wants(t, exitDone, "main.CartOfTheApplicatiox, which is not registered", "call importer.Run from it")
}

func TestImportWrongUse(t *testing.T) {
	dir := t.TempDir()
	file := place(t, dir, "file", "x")
	bare := place(t, dir, "bare", signingText)
	short := place(t, dir, "short", "text:"+signingText+" text:"+signingText)
	empty := place(t, dir, "empty", "# none\n")
	const old = "redis://:hunter2@127.0.0.1:1"
	for _, tt := range []struct{ name, args, want string }{
		{"no source", "", "import what?"},
		{"an unknown source", "laravel " + dir, `"laravel" is no source`},
		{"a source that is nearly right", "php " + dir, "did you mean php-files?"},
		{"the place first", old + " scs", "the first argument is no source"},
		{"no folder", "odoo", "import odoo DIR"},
		{"no URL", "scs", "REDSESSION_SOURCE_URL"},
		{"two places", "odoo " + dir + " " + dir, "one place at a time"},
		{"a folder that is not there", "odoo " + dir + "/none", "there is no folder"},
		{"a file", "odoo " + file, "is no folder"},
		{"a URL for a folder", "odoo " + old, "takes a folder, not a URL"},
		{"a folder for a URL", "scs " + dir, "the URL of the old Redis: scheme"},
		{"a URL that is none", "scs http://:hunter2@host", "the URL of the old Redis: scheme"},
		{"a flag of another source", "odoo " + dir + " --hashed-tokens", "--hashed-tokens is not for odoo"},
		{"a lifetime that is stored", "scs " + old + " --lifetime 1h", "--lifetime is not for scs"},
		{"an owner in Redis", "scs " + old + " --owner 33", "--owner is not for scs"},
		{"root as the owner", "php-files " + dir + " --owner 0", "other than root"},
		{"an owner who is nobody", "php-files " + dir + " --owner no-such-user", "the name or the number of a user"},
		{"a lifetime of nothing", "odoo " + dir + " --lifetime 0s", "--lifetime is 0s"},
		{"a negative rate", "odoo " + dir + " --rate -1", "--rate is -1"},
		{"no bytes", "odoo " + dir + " --max-bytes 0", "--max-bytes is 0"},
		{"a label that is none", "odoo " + dir + " --label A_b", "--label: want"},
		{"an empty value for the user", "scs " + old + " --user-from=", "--user-from is empty"},
		{"gorilla without a name", "gorilla-files " + dir, "needs --name"},
		{"gorilla without keys", "gorilla-files " + dir + " --name sid", "needs --key-file"},
		{"a key file that is not there", "gorilla-files " + dir + " --name sid --key-file " + dir + "/none", "no such file"},
		{"a key of no known form", "gorilla-files " + dir + " --name sid --key-file " + bare, "line 1, key 1: want text:, hex: or base64:"},
		{"an encryption key of a wrong length", "gorilla-files " + dir + " --name sid --key-file " + short, "want 16, 24 or 32"},
		{"a file without keys", "gorilla-files " + dir + " --name sid --key-file " + empty, "there is no key in the file"},
		{"the new sessions in the place of the old ones", "connect-redis redis://127.0.0.1:1/0 --source-prefix session:", "both lie under"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := "redis://127.0.0.1:1"
			if strings.Contains(tt.want, "both lie") {
				url = redistest.Start(t).URL
				tt.args = strings.Replace(tt.args, "redis://127.0.0.1:1/0", url+"/0", 1)
			}
			_, o := importing(t, url, strings.Fields(tt.args)...)
			o.wants(t, exitUsage, tt.want)
			if strings.Contains(o.errs, "hunter2") || o.out != "" {
				t.Errorf("got %q and %q, want the mistake on stderr alone, without the password", o.out, o.errs)
			}
		})
	}
	t.Setenv("REDSESSION_SECRETS", "")
	ctl(t, "redis://127.0.0.1:1", "import", "odoo", dir).wants(t, exitUsage, "set REDSESSION_SECRETS")
}

func TestImportWithoutAReachableRedis(t *testing.T) {
	srv, dir := redistest.Start(t), odooFolder(t, 5)
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	ctl(t, "redis://:hunter2@127.0.0.1:1", "import", "odoo", dir).wants(t, exitFailed, "cannot reach redis://127.0.0.1:1 ")
	ctl(t, srv.URL, "import", "scs", "redis://:hunter2@127.0.0.1:2").wants(t, exitFailed, "cannot reach redis://127.0.0.1:2 ")
	cluster := redistest.StartCluster(t)
	ctl(t, srv.URL, "import", "scs", "redis://"+cluster.Addrs[0]).wants(t, exitUsage, "redis+cluster://")
	proxy := redistest.NewProxy(t, srv.Addr) // goes away in the middle
	proxy.CutRequest(func(args []string) bool { return args[0] == "EVALSHA" || args[0] == "EVAL" })
	o := ctl(t, proxy.URL, "import", "odoo", dir)
	o.wants(t, exitFailed, "found\t6\t", "imported\t0\t", "sessionctl: redis://", "run it again; what is imported stays")
	if strings.Contains(o.errs, "hunter2") {
		t.Errorf("got %q, want no password in it", o.errs)
	}
}

func TestCtrlCStopsAnImport(t *testing.T) {
	srv, dir := redistest.Start(t), odooFolder(t, 500)
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	proxy := redistest.NewProxy(t, srv.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	proxy.CutRequest(func(args []string) bool {
		if args[0] == "EVALSHA" {
			cancel()
		}
		return args[0] == "EVALSHA"
	})
	o := ctlContext(t, ctx, proxy.URL, "--json", "import", "odoo", dir)
	o.wants(t, exitStopped, `"found":`, "run it again; what is imported stays", "sessionctl: stopped")
	if r, _ := importing(t, srv.URL, "odoo", dir); r.Imported+r.Existing != 500 {
		t.Errorf("got %+v afterwards, want 500 in all", r)
	}
}

func dial(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisurl.Client(url, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
