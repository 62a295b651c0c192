package importer_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// samples reads a file that the script of the same name in testdata made.
func samples[T any](t *testing.T, file string) map[string]T {
	t.Helper()
	data, err := os.ReadFile(file)
	var found map[string]T
	if err == nil {
		err = json.Unmarshal(data, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// found fails the test unless a session is found live by its cookie, and by a walk, and is the one that all scripts write.
func found(t *testing.T, legacy redsession.Legacy, source importer.Source, cookie string, ttl time.Duration) redsession.LegacyRecord {
	t.Helper()
	id, err := legacy.Verify(cookie)
	if err != nil {
		t.Fatalf("got error %v for the cookie, want none", err)
	}
	rec, err := legacy.Load(t.Context(), id)
	if adas(t, "live", rec, err); rec == nil {
		t.FailNow()
	}
	about(t, "live", rec.ExpiresAt, time.Now().Add(ttl))
	if cart, _ := json.Marshal(rec.Values["cart"]); string(cart) != `[{"n":2,"sku":"é1"}]` {
		t.Errorf("got the cart %s, want what was written", cart)
	}
	s := newSink()
	run(t, s, source, importer.Options{})
	walked := s.only(t)
	if adas(t, "at once", &walked, nil); walked.ID != id || walked.UserID != rec.UserID {
		t.Errorf("at once: got another id or user than live")
	}
	if err := legacy.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
	if rec, err := legacy.Load(t.Context(), id); rec != nil || err != nil {
		t.Errorf("after the deletion: got a session and error %v, want neither", err)
	}
	return walked
}

// TestWhatPythonWrote reads what Flask-Session 0.3.2 and Django 3.2 with django-redis 5.2 of Debian 12 made of one request
// (testdata/python.py).
func TestWhatPythonWrote(t *testing.T) {
	for name, sample := range samples[struct {
		Cookie, Key, Value string
		TTL                int
	}](t, "testdata/python.json") {
		t.Run(name, func(t *testing.T) {
			_, client := startRedis(t)
			value, err := base64.StdEncoding.DecodeString(sample.Value)
			if err != nil {
				t.Fatal(err)
			}
			ttl := time.Duration(sample.TTL) * time.Second
			client.Set(t.Context(), sample.Key, value, ttl)
			if strings.HasPrefix(name, "django") {
				source := importer.DjangoRedis(client, "")
				if rec := found(t, source.Adopt(""), source, sample.Cookie, ttl); rec.UserID != "7" || !rec.Persistent {
					t.Errorf("got user %q and persistent %t, want 7 and true", rec.UserID, rec.Persistent)
				}
				return
			}
			source := importer.FlaskRedis(client, "")
			legacy := source.Adopt("")
			if name == "flask signed" {
				legacy = source.Adopt("", "a newer key", "keyboard cat")
				for _, forged := range []string{sample.Cookie[:36], sample.Cookie[:len(sample.Cookie)-1] + "A", "x" + sample.Cookie[1:]} {
					if _, err := legacy.Verify(forged); err == nil {
						t.Errorf("a forged cookie is accepted")
					}
				}
			}
			rec := found(t, legacy, source, sample.Cookie, ttl)
			if _, there := rec.Values["_permanent"]; there || !rec.Persistent {
				t.Errorf("got _permanent %t and persistent %t, want it left out, and true", there, rec.Persistent)
			}
		})
	}
}

// TestWhatConnectRedisWrote reads what connect-redis 6.1, 7.1 and 9.0 with express-session 1.19 made (testdata/connect-redis.js).
func TestWhatConnectRedisWrote(t *testing.T) {
	list := samples[struct {
		Cookie, Prefix, Key, Value string
		TTL                        int
	}](t, "testdata/connect-redis.json")
	if len(list) != 6 {
		t.Errorf("got %d samples, want 6", len(list))
	}
	for name, sample := range list {
		t.Run(name, func(t *testing.T) {
			_, client := startRedis(t)
			ttl := time.Duration(sample.TTL) * time.Second
			client.Set(t.Context(), sample.Key, sample.Value, ttl)
			prefix := sample.Prefix
			if prefix == "" {
				prefix = importer.None
			}
			source := importer.ConnectRedis(client, prefix)
			found(t, source.Adopt("", "keyboard cat"), source, sample.Cookie, ttl)
		})
	}
}

// The values are Odoo's, as internal/odoogen writes them; the keys and the types are built from the code of session_redis of
// camptocamp/odoo-cloud-platform at addd6a2 (json_encoding.py) and 00f95aa (session.py).
func TestOdooInRedis(t *testing.T) {
	for _, row := range []struct{ name, prefix, id string }{
		{"the usual prefix", "", sid84},
		{"the usual prefix, an id of Odoo 17", "", sid40},
		{"a prefix of its own", "session::prod:", sid84},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, client := startRedis(t)
			prefix := row.prefix
			if prefix == "" {
				prefix = "session:"
			}
			tagged := strings.Replace(odooJSON, `"debug"`, `"since": {"_type": "datetime_isoformat", "value": "2026-01-02T03:04:05.678901"}, `+
				`"days": [{"_type": "date_isoformat", "value": "2026-01-02"}], "zone": {"_type": "datetime_isoformat", "value": "2026-01-02T03:04:05+01:00"}, "debug"`, 1)
			client.Set(t.Context(), prefix+row.id, tagged, time.Hour)
			source := importer.OdooRedis(client, row.prefix)
			legacy := source.Adopt()
			id, err := legacy.Verify(row.id)
			if err != nil {
				t.Fatal(err)
			}
			rec, err := legacy.Load(t.Context(), id)
			if err != nil || rec == nil || rec.UserID != "2" {
				t.Fatalf("got %v and error %v, want the session of 2", rec, err)
			}
			about(t, row.name, rec.ExpiresAt, time.Now().Add(time.Hour))
			got, _ := json.Marshal([]any{rec.Values["since"], rec.Values["days"], rec.Values["zone"]})
			if want := `["2026-01-02T03:04:05.678901Z",["2026-01-02"],"2026-01-02T03:04:05+01:00"]`; string(got) != want {
				t.Errorf("got the times %s, want %s", got, want)
			}
			for reason, body := range map[importer.Reason]string{
				importer.Predecessor: strings.Replace(odooJSON, `"debug"`, `"next_sid": "x", "debug"`, 1),
				importer.HalfOpen:    strings.Replace(odooJSON, `"debug"`, `"pre_uid": 2, "debug"`, 1),
				importer.Corrupt:     odooJSON[:50],
			} {
				client.Set(t.Context(), prefix+row.id, body, time.Hour)
				if report := run(t, newSink(), source, importer.Options{}); report.Skipped[reason] != 1 {
					t.Errorf("got %v, want one %q", report.Skipped, reason)
				}
				if rec, err := legacy.Load(t.Context(), id); rec != nil || err != nil {
					t.Errorf("%s, live: got a session and error %v, want neither", reason, err)
				}
			}
		})
	}
}

// Sources share prefixes with each other and with redsession: none takes another's for its own.
func TestSourcesLeaveWhatIsNotTheirs(t *testing.T) {
	_, client := startRedis(t)
	m, err := redsession.New(redsession.Config{Client: client, Secrets: [][]byte{gorillaKey}, Prefix: "session:", RedisTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	lr := redsession.LegacyRecord{Source: "x", ID: "one", UserID: "ada", Values: map[string]any{"n": 1}, ExpiresAt: time.Now().Add(time.Hour)}
	if _, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false); err != nil {
		t.Fatal(err)
	}
	for _, source := range []importer.Source{
		importer.FlaskRedis(client, ""), importer.OdooRedis(client, ""), importer.Rbcervilla(client, ""),
		importer.ConnectRedis(client, importer.None), importer.FlaskRedis(client, importer.None), importer.DjangoRedis(client, importer.None),
		importer.PHPRedis(client, importer.None),
	} {
		if report := run(t, newSink(), source, importer.Options{}); report.Imported != 0 || report.Found == 0 {
			t.Errorf("%s: got %d of %d taken, want none", source.Name(), report.Imported, report.Found)
		}
	}
}

func TestDjangoValuesThatAreHostile(t *testing.T) {
	for _, row := range []struct {
		name, value string
		want        importer.Reason
	}{
		{"a zlib that is broken", "\x78\x9c\xff\xff", importer.Corrupt},
		{"a megabyte of zeros in a kilobyte", deflated(2 << 20), importer.Unsupported},
		{"signed, and no base64", "!!!:x:y", importer.Corrupt},
		{"base64 of nothing", "OnsK", importer.Corrupt},
		{"a text in JSON", `"{}"`, importer.Corrupt},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, client := startRedis(t)
			client.Set(t.Context(), ":1:django.contrib.sessions.cache"+strings.Repeat("a", 32), row.value, time.Hour)
			if report := run(t, newSink(), importer.DjangoRedis(client, ""), importer.Options{}); report.Skipped[row.want] != 1 {
				t.Errorf("got %v, want one %q", report.Skipped, row.want)
			}
		})
	}
}

// deflated compresses so many zeros.
func deflated(n int) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return b.String()
}
