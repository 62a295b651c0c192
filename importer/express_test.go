package importer_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// TestWhatExpressWrote reads what express-session 1.19 with connect-redis 9 and
// session-file-store 1.5 made of one request (testdata/express.js).
func TestWhatExpressWrote(t *testing.T) {
	data, err := os.ReadFile("testdata/express.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples map[string]struct {
		Cookie, Key, Value string
		TTL                int
		Files              map[string]string
	}
	if err := json.Unmarshal(data, &samples); err != nil {
		t.Fatal(err)
	}
	for name, sample := range samples {
		dir := t.TempDir()
		_, client := startRedis(t)
		legacy := importer.AdoptConnectRedis(client, "", "keyboard cat")
		lifetime := time.Duration(sample.TTL) * time.Second
		if sample.Files != nil {
			legacy, lifetime = importer.AdoptExpressFiles(dir, "keyboard cat"), time.Hour
		} else {
			client.Set(t.Context(), sample.Key, sample.Value, lifetime)
		}
		for file, body := range sample.Files {
			put(t, dir, file, refresh(body), 0)
		}
		id, err := legacy.Verify(sample.Cookie)
		if err != nil {
			t.Errorf("%s: got error %v for the cookie, want none", name, err)
			continue
		}
		rec, err := legacy.Load(t.Context(), id)
		if strings.HasSuffix(name, " encrypted") {
			if rec != nil || err != nil {
				t.Errorf("%s: got a session and error %v, want neither", name, err)
			}
			report := run(t, newSink(), importer.ExpressFiles(dir), importer.Options{})
			if report.Skipped[importer.Encrypted] != 1 {
				t.Errorf("%s: got %v, want one %q", name, report.Skipped, importer.Encrypted)
			}
			continue
		}
		adas(t, name, rec, err)
		if rec != nil {
			checkExpress(t, name, *rec, lifetime)
			if want := !strings.HasSuffix(name, " without maxAge"); rec.Persistent != want {
				t.Errorf("%s: got persistent %t, want %t", name, rec.Persistent, want)
			}
		}
	}
	if len(samples) != 5 {
		t.Errorf("got %d samples, want 5", len(samples))
	}
}

func checkExpress(t *testing.T, name string, rec redsession.LegacyRecord, lifetime time.Duration) {
	t.Helper()
	about(t, name, rec.ExpiresAt, time.Now().Add(lifetime))
	if got, _ := json.Marshal(rec.Values); string(got) != `{"cart":[{"n":2,"sku":"é1"}],"name":"ada","user_id":42}` {
		t.Errorf("%s: got other values than were written", name)
	}
}

// refresh moves the time of the last use to now.
func refresh(body string) string {
	head, _, found := strings.Cut(body, `"__lastAccess":`)
	if !found {
		return body
	}
	return head + `"__lastAccess":` + millis(time.Now()) + "}"
}
