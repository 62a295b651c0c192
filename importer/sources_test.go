package importer_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gorilla/securecookie"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

const (
	gorillaID  = "AUENRLCQKMA2L7F5BPYWPPKLVQ4I3AHV4WUY3XABNY2MO4IT5NEQ"
	expressID  = "-2x1RsueYtcZ_JBiFD8mmvZXgyKZNYuF"
	scsToken   = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE"
	phpID      = "2b1a613cc4a163dc5caa1319bbd7905d"
	gorillaGob = "\x0d\x7f\x04\x01\x02\xff\x80\x00\x01\x10\x01\x10\x00\x00\x3b\xff\x80\x00\x02\x06string\x0c\x09\x00\x07user_id\x03int\x04\x02\x00\x54\x06string\x0c\x06\x00\x04name\x06string\x0c\x05\x00\x03ada"
	expressRaw = `{"cookie":{"originalMaxAge":3600000,"expires":"2026-11-21T21:16:47.241Z","httpOnly":true,"path":"/","sameSite":"lax"},"user_id":42,"name":"ada"}`
)

var gorillaKey = []byte("0123456789abcdef0123456789abcdef")

// byUserID is what an application says about its own sessions.
func byUserID(rec redsession.LegacyRecord) string {
	if n, ok := rec.Values["user_id"].(int64); ok && n == 42 {
		return "ada"
	}
	return ""
}

func startRedis(t *testing.T) (*miniredis.Miniredis, redis.UniversalClient) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

func encodeGob(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// secure encodes as gorilla's stores do.
func secure(t *testing.T, name string, v any, keyPairs ...[]byte) string {
	t.Helper()
	text, err := securecookie.EncodeMulti(name, v, securecookie.CodecsFromPairs(keyPairs...)...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// adas fails the test unless rec is the session that all sources here have.
func adas(t *testing.T, what string, rec *redsession.LegacyRecord, err error) {
	t.Helper()
	if err != nil || rec == nil {
		t.Errorf("%s: got no session and error %v, want ada's", what, err)
		return
	}
	if rec.Values["user_id"] != int64(42) || rec.Values["name"] != "ada" {
		t.Errorf("%s: got %d values, want ada's", what, len(rec.Values))
	}
}

func TestSourcesInFolders(t *testing.T) {
	phpBody, err := os.ReadFile("internal/php/testdata/php.sess")
	if err != nil {
		t.Fatal(err)
	}
	values := map[any]any{"user_id": 42, "name": "ada"}
	blockKey := []byte("fedcba9876543210")
	now := time.Now()
	for _, row := range []struct {
		name, file, body, id string
		source               func(dir string) importer.Source
		ends                 time.Time
	}{
		{
			"gorilla files", "session_" + gorillaID, secure(t, "sid", values, gorillaKey), gorillaID,
			func(dir string) importer.Source { return importer.GorillaFiles(dir, "sid", gorillaKey) }, now.Add(30 * 24 * time.Hour),
		},
		{
			"gorilla files, encrypted, after a change of keys", "session_" + gorillaID, secure(t, "sid", values, gorillaKey, blockKey), gorillaID,
			func(dir string) importer.Source {
				return importer.GorillaFiles(dir, "sid", []byte("a newer key"), nil, gorillaKey, blockKey)
			}, now.Add(30 * 24 * time.Hour),
		},
		{
			"express files", expressID + ".json", strings.Replace(expressRaw, `"name"`, `"__lastAccess":`+millis(now.Add(-time.Minute))+`,"name"`, 1), expressID,
			func(dir string) importer.Source { return importer.ExpressFiles(dir) }, now.Add(59 * time.Minute),
		},
		{
			"express files without a maxAge", expressID + ".json", `{"cookie":{"originalMaxAge":null,"expires":null},"user_id":42,"name":"ada","__lastAccess":` + millis(now) + `}`, expressID,
			func(dir string) importer.Source { return importer.ExpressFiles(dir) }, now.Add(time.Hour),
		},
		{
			"PHP files", "sess_" + phpID, string(phpBody), phpID,
			func(dir string) importer.Source { return importer.PHPFiles(dir) }, now.Add(14 * time.Minute),
		},
		{
			"PHP files in two levels of folders", "2/b/sess_" + phpID, string(phpBody), phpID,
			func(dir string) importer.Source { return importer.PHPFiles(dir) }, now.Add(14 * time.Minute),
		},
	} {
		dir, s := t.TempDir(), newSink()
		put(t, dir, row.file, row.body, 10*time.Minute)
		run(t, s, row.source(dir), importer.Options{UserID: byUserID})
		rec := s.only(t)
		adas(t, row.name, &rec, nil)
		if rec.ID != row.id || rec.UserID != "ada" {
			t.Errorf("%s: got user %q, want ada, and the id of the file", row.name, rec.UserID)
		}
		for _, key := range []string{"cookie", "__lastAccess"} {
			if _, ok := rec.Values[key]; ok {
				t.Errorf("%s: got the key %s, want it left out", row.name, key)
			}
		}
		about(t, row.name, rec.ExpiresAt, row.ends)
	}
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// expressCookie signs an id as express-session does.
func expressCookie(secret, id string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id))
	return url.QueryEscape("s:" + id + "." + base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))
}

func TestFoldersSkipByReason(t *testing.T) {
	gorilla := func(dir string) importer.Source { return importer.GorillaFiles(dir, "sid", gorillaKey) }
	express := func(dir string) importer.Source { return importer.ExpressFiles(dir) }
	phpFiles := func(dir string) importer.Source { return importer.PHPFiles(dir) }
	values := map[any]any{"user_id": 42}
	for _, row := range []struct {
		name       string
		source     func(string) importer.Source
		file, body string
		want       importer.Reason
	}{
		{"gorilla: a file of another session name", gorilla, "session_" + gorillaID, secure(t, "other", values, gorillaKey), importer.Unverified},
		{"gorilla: a file of another key", gorilla, "session_" + gorillaID, secure(t, "sid", values, []byte("another")), importer.Unverified},
		{"gorilla: something else", gorilla, "x", "x", importer.Foreign},
		{"gorilla: an id that is none", gorilla, "session_x", "x", importer.BadID},
		{"gorilla: signed, and no gob of a session", gorilla, "session_" + gorillaID, secure(t, "sid", "text", gorillaKey), importer.Corrupt},
		{"gorilla: a key that is no text", gorilla, "session_" + gorillaID, secure(t, "sid", map[any]any{1.5: 1}, gorillaKey), importer.Empty},
		{"gorilla: nothing in it", gorilla, "session_" + gorillaID, secure(t, "sid", map[any]any{}, gorillaKey), importer.Empty},
		{"express: a file of a writer that crashed", express, expressID + ".json.1110807423", expressRaw, importer.Temporary},
		{"express: encrypted", express, expressID + ".json", "7b226861736822", importer.Encrypted},
		{"express: encrypted, as JSON", express, expressID + ".json", `{"hmac":"x","ct":"y","at":"z"}`, importer.Encrypted},
		{"express: no id", express, ".json", expressRaw, importer.BadID},
		{"express: something else that is JSON", express, "package.json", `{"name":"shop"}`, importer.Foreign},
		{"express: something else", express, "notes.txt", "x", importer.Foreign},
		{"PHP: an object", phpFiles, "sess_" + phpID, `user|O:4:"User":1:{s:1:"a";i:1;}`, importer.Unsafe},
		{"PHP: a number that JSON does not have", phpFiles, "sess_" + phpID, `a|d:NAN;`, importer.Empty},
		{"PHP: a session that nothing was written to", phpFiles, "sess_" + phpID, "", importer.Empty},
		{"PHP: an id that is none", phpFiles, "sess_abc", "x", importer.BadID},
		{"PHP: in the wrong folder", phpFiles, "z/sess_" + phpID, "a|i:1;", importer.Foreign},
		{"PHP: something else", phpFiles, "phpABC123", "x", importer.Foreign},
	} {
		dir, s := t.TempDir(), newSink()
		put(t, dir, row.file, row.body, 0)
		report := run(t, s, row.source(dir), importer.Options{})
		if report.Skipped[row.want] != 1 || len(s.records) != 0 {
			t.Errorf("%s: got %v, want one %q", row.name, report.Skipped, row.want)
		}
	}
}

func TestSourcesInRedis(t *testing.T) {
	type scsData struct {
		Deadline time.Time
		Values   map[string]any
	}
	now := time.Now()
	scsBody := func(d time.Duration) string {
		return encodeGob(t, scsData{now.Add(d), map[string]any{"user_id": 42, "name": "ada"}})
	}
	scs := func(c redis.UniversalClient) importer.Source { return importer.SCS(c, "") }
	redistore := func(c redis.UniversalClient) importer.Source { return importer.Redistore(c, "") }
	connect := func(c redis.UniversalClient) importer.Source { return importer.ConnectRedis(c, "") }
	for _, row := range []struct {
		name, key, body string
		ttl             time.Duration // 0 is none
		source          func(redis.UniversalClient) importer.Source
		ends            time.Duration
	}{
		{"scs", "scs:session:" + scsToken, scsBody(2 * time.Hour), 2 * time.Hour, scs, 2 * time.Hour},
		{"scs with an idle timeout", "scs:session:" + scsToken, scsBody(2 * time.Hour), time.Hour, scs, time.Hour},
		{"scs without a TTL", "scs:session:" + scsToken, scsBody(2 * time.Hour), 0, scs, 2 * time.Hour},
		{"redistore", "session_" + gorillaID, gorillaGob, time.Hour, redistore, time.Hour},
		{"redistore without a TTL", "session_" + gorillaID, gorillaGob, 0, redistore, 30 * 24 * time.Hour},
		{"redistore with JSON", "session_" + gorillaID, `{"user_id":42,"name":"ada"}`, time.Hour, redistore, time.Hour},
		{"connect-redis", "sess:" + expressID, expressRaw, time.Hour, connect, time.Hour},
		{"connect-redis without a TTL and a maxAge", "sess:" + expressID, `{"cookie":{},"user_id":42,"name":"ada"}`, 0, connect, 24 * time.Hour},
	} {
		server, client := startRedis(t)
		if err := client.Set(t.Context(), row.key, row.body, row.ttl).Err(); err != nil {
			t.Fatal(err)
		}
		// Neither is one of the source's.
		_ = server.Set("other:"+row.key, "x")
		_, _ = server.SAdd(row.key[:len(row.key)-1]+"Z", "a set")
		s := newSink()
		report := run(t, s, row.source(client), importer.Options{UserID: byUserID})
		rec := s.only(t)
		adas(t, row.name, &rec, nil)
		if rec.UserID != "ada" || row.key[len(row.key)-len(rec.ID):] != rec.ID {
			t.Errorf("%s: got user %q, want ada, and the id of the key", row.name, rec.UserID)
		}
		if report.Found != 2 || report.Skipped[importer.Foreign] != 1 {
			t.Errorf("%s: got %d found and %v, want 2 and one %q", row.name, report.Found, report.Skipped, importer.Foreign)
		}
		about(t, row.name, rec.ExpiresAt, now.Add(row.ends))
	}
}

// A genid of the application's may return anything, and fileExtension and prefix may be empty.
func TestExpressIDsAndNamesAsTheApplicationChoseThem(t *testing.T) {
	for _, row := range []struct{ name, id, extension string }{
		{"the usual id and extension", expressID, ""},
		{"an id with dots", "a.b.json.c", ""},
		{"an id that ends in a number", "user.42", ""},
		{"an id with the other characters of base64", "a+b=:c", ""},
		{"an id with slashes", "ab/cd/e", ""},
		{"another extension", expressID, ".sess"},
		{"no extension", expressID, importer.None},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, s := t.TempDir(), newSink()
			source := importer.ExpressFiles(dir)
			source.Extension = row.extension
			file := row.id + map[string]string{"": ".json", importer.None: ""}[row.extension]
			if row.extension == ".sess" {
				file += ".sess"
			}
			put(t, dir, file, expressRaw, 0)
			put(t, dir, file+".1110807423", expressRaw, 0)
			report := run(t, s, source, importer.Options{UserID: byUserID})
			if rec := s.only(t); rec.ID != row.id || report.Skipped[importer.Temporary] != 1 {
				t.Errorf("by a walk: got another id, and %v, want one %q", report.Skipped, importer.Temporary)
			}
			legacy := source.Adopt("", "keyboard cat")
			id, err := legacy.Verify(expressCookie("keyboard cat", row.id))
			if id != row.id || err != nil {
				t.Fatalf("got id %q and error %v", id, err)
			}
			rec, err := legacy.Load(t.Context(), id)
			adas(t, "live", rec, err)
			if err := legacy.Delete(t.Context(), id); err != nil {
				t.Error(err)
			}
			if rec, err := legacy.Load(t.Context(), id); rec != nil || err != nil {
				t.Errorf("after the deletion: got a session and error %v, want neither", err)
			}
		})
	}
	_, client := startRedis(t)
	client.Set(t.Context(), "u:1/a+b.c", expressRaw, time.Hour)
	s := newSink()
	run(t, s, importer.ConnectRedis(client, importer.None), importer.Options{UserID: byUserID})
	rec := s.only(t)
	adas(t, "without a prefix", &rec, nil)
	for _, path := range []string{"../x", "/etc/passwd", "a/../../x"} {
		if rec, err := importer.AdoptExpressFiles(t.TempDir()).Load(t.Context(), path); rec != nil || err != nil {
			t.Errorf("%s: got a session and error %v, want neither", path, err)
		}
	}
}

// A prefix may hold what SCAN takes for a pattern.
func TestAPrefixIsNoPattern(t *testing.T) {
	server, client := startRedis(t)
	for _, prefix := range []string{"a*[b]:", "aX[b]:", "a*b:"} {
		_ = server.Set(prefix+expressID, expressRaw)
	}
	if report := run(t, newSink(), importer.ConnectRedis(client, "a*[b]:"), importer.Options{}); report.Found != 1 {
		t.Errorf("got %d found, want 1", report.Found)
	}
}

func TestALargeValueIsNotFetched(t *testing.T) {
	server, client := startRedis(t)
	_ = server.Set("sess:"+expressID, `{"a":"`+strings.Repeat("x", 1000)+`"}`)
	source := importer.ConnectRedis(client, "")
	source.MaxBytes = 500
	if report := run(t, newSink(), source, importer.Options{}); report.Skipped[importer.Oversized] != 1 {
		t.Errorf("got %v, want one %q", report.Skipped, importer.Oversized)
	}
}

func TestWhatIsOnlyToBeKnownIsNoted(t *testing.T) {
	type key string
	gob.Register(key(""))
	dir := t.TempDir()
	put(t, dir, "session_"+gorillaID, secure(t, "sid", map[any]any{1: "a", key("user"): 7, "s": "caf\xe9"}, gorillaKey), 0)
	s := newSink()
	report := run(t, s, importer.GorillaFiles(dir, "sid", gorillaKey), importer.Options{})
	rec := s.only(t)
	if rec.Values["1"] != "a" || rec.Values["user"] != int64(7) || len(report.Notes) != 2 {
		t.Errorf("got %v and %v, want the keys 1 and user, and two notes", rec.Values, report.Notes)
	}
	_, client := startRedis(t)
	data := strings.Replace(encodeGob(t, map[any]any{"k": key("x")}), "importer_test.key", "importer_test.kei", 1)
	client.Set(t.Context(), "session_"+gorillaID, data, time.Hour)
	report = run(t, newSink(), importer.Redistore(client, ""), importer.Options{})
	if report.Skipped[importer.UnknownType] != 1 || !strings.Contains(report.String(), "importer_test.kei, which is not registered: gob.Register it before importing") {
		t.Errorf("got\n%s\nwant the type by its name", report)
	}
}

func TestCookies(t *testing.T) {
	// Written by express-session 1.19 with the secret "keyboard cat".
	ours := "s%3A-2x1RsueYtcZ_JBiFD8mmvZXgyKZNYuF.k2JMb3IT%2FojwEZ7tljYBwbkIfMdI3qkPE78r5T4zb4c"
	gorilla := secure(t, "sid", gorillaID, gorillaKey)
	express := importer.AdoptConnectRedis(nil, "", "new secret", "keyboard cat")
	secured := importer.AdoptRedistore(nil, "", "sid", []byte("a newer key"), nil, gorillaKey)
	hashed := importer.SCS(nil, "")
	hashed.HashedTokens = true
	for _, row := range []struct {
		name   string
		legacy redsession.Legacy
		value  string
		want   string // "" if refused
	}{
		{"express", express, ours, expressID},
		{"express, not encoded", express, must(url.PathUnescape(ours)), expressID},
		{"express, with a secret of somebody else", express, expressCookie("secret", expressID), ""},
		{"express, with another id", express, strings.Replace(ours, "-2x1", "-2x2", 1), ""},
		{"express, without a signature", express, "s%3A" + expressID, ""},
		{"express, with an empty signature", express, "s%3A" + expressID + ".", ""},
		{"express, unsigned", express, expressID, ""},
		{"express, broken encoding", express, "s%3", ""},
		{"express, a genid with a dot, a plus, a colon and slashes", express, expressCookie("keyboard cat", "u:1/a+b.c/d=="), "u:1/a+b.c/d=="},
		{"express, a genid with a percent sign", express, expressCookie("keyboard cat", "100%2F"), "100%2F"},
		{"express, a genid with a percent sign, not encoded", express, must(url.PathUnescape(expressCookie("keyboard cat", "100%2F"))), "100%2F"},
		{"express, a genid of one character", express, expressCookie("keyboard cat", "7"), "7"},
		{"gorilla, escaped by a client", secured, url.QueryEscape(gorilla), gorillaID},
		{"PHP, with the comma of 6 bits a character, as PHP writes it", importer.AdoptPHPFiles("x"), "0%2Cabcdefghijklmnopqrstuv-", "0,abcdefghijklmnopqrstuv-"},
		{"PHP, with the comma, as it is", importer.AdoptPHPFiles("x"), "0,abcdefghijklmnopqrstuv-", "0,abcdefghijklmnopqrstuv-"},
		{"PHP, an encoded path", importer.AdoptPHPFiles("x"), "..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd", ""},
		{"Odoo, escaped by a client", importer.AdoptOdoo("x"), "%74" + sid84[1:], sid84},
		{"gorilla", secured, gorilla, gorillaID},
		{"gorilla, changed", secured, gorilla[:len(gorilla)-4] + "AAAA", ""},
		{"gorilla, of another name", secured, secure(t, "other", gorillaID, gorillaKey), ""},
		{"gorilla, of another key", secured, secure(t, "sid", gorillaID, []byte("another")), ""},
		{"gorilla, a path", secured, secure(t, "sid", "../../../../etc/passwd", gorillaKey), ""},
		{"Odoo 18", importer.AdoptOdoo("x"), sid84, sid84},
		{"Odoo 17", importer.AdoptOdoo("x"), sid40, sid40},
		{"Odoo, a path", importer.AdoptOdoo("x"), "../../etc/passwd", ""},
		{"Odoo, empty", importer.AdoptOdoo("x"), "", ""},
		{"PHP", importer.AdoptPHPFiles("x"), phpID, phpID},
		{"PHP, a path", importer.AdoptPHPFiles("x"), "../../../../../../etc/passwd", ""},
		{"scs", importer.AdoptSCS(nil, "", ""), scsToken, scsToken},
		{"scs, of another length", importer.AdoptSCS(nil, "", ""), scsToken + "x", ""},
		{"scs, with hashed tokens", hashed.Adopt(""), scsToken, "MDKeZnLUftaDNbKvEsEplWNFxhGIFS6CGMSFvX1sw1Y"},
	} {
		got, err := row.legacy.Verify(row.value)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s: got id %q and error %v, want %q", row.name, got, err, row.want)
		}
		if err != nil && row.value != "" && strings.Contains(err.Error(), row.value) {
			t.Errorf("%s: got an error that shows the cookie", row.name)
		}
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func TestFlashesOfGorillaComeAlong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value any
		want  any
	}{
		{"texts", []any{"Saved."}, []string{"Saved."}},
		{"none", []any{}, []string{}},
		{"something else", []any{1}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			values := map[any]any{"_flash": tt.value, "kept": "yes"}
			text, err := securecookie.EncodeMulti("sid", values, securecookie.CodecsFromPairs(gorillaKey)...)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "session_"+gorillaID), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for read, err := range importer.GorillaFiles(dir, "sid", gorillaKey).Sessions(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				rec, _, err := read()
				if got := rec.Values["_flash"]; err != nil || !reflect.DeepEqual(got, tt.want) || rec.Values["kept"] != "yes" {
					t.Errorf("got %v and error %v, want flashes %v", rec.Values, err, tt.want)
				}
			}
		})
	}
}
