package importer_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

func TestLive(t *testing.T) {
	t.Parallel()
	phpBody, err := os.ReadFile("internal/php/testdata/php.sess")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server, client := startRedis(t)
	values := map[any]any{"user_id": 42, "name": "ada"}
	odoo := `{"user_id": 42, "name": "ada", "uid": 2, "session_token": "3f"}`
	levels := importer.PHPFiles(dir)
	levels.Levels = 2
	put(t, dir, "tK/"+sid84, odoo, 0)
	put(t, dir, "werkzeug_"+sid40+".sess", odoo, 0)
	put(t, dir, "session_"+gorillaID, secure(t, "sid", values, gorillaKey), 0)
	put(t, dir, expressID+".json", `{"cookie":{},"user_id":42,"name":"ada","__lastAccess":`+millis(time.Now())+`}`, 0)
	put(t, dir, "sess_"+phpID, string(phpBody), 0)
	put(t, dir, "3/b/sess_3b"+phpID[2:], string(phpBody), 0)
	type scsData struct {
		Deadline time.Time
		Values   map[string]any
	}
	for key, body := range map[string]string{
		"scs:session:" + scsToken: encodeGob(t, scsData{time.Now().Add(time.Hour), map[string]any{"user_id": 42, "name": "ada"}}),
		"session_" + gorillaID:    gorillaGob,
		"sess:" + expressID:       expressRaw,
	} {
		client.Set(t.Context(), key, body, time.Hour)
	}
	for _, row := range []struct {
		name, id, cookie string
		legacy           redsession.Legacy
	}{
		{"odoo", sid84, "session_id", importer.AdoptOdoo(dir)},
		{"odoo", sid40, "session_id", importer.AdoptOdoo(dir)},
		{"gorilla", gorillaID, "sid", importer.AdoptGorillaFiles(dir, "sid", gorillaKey)},
		{"express-files", expressID, "connect.sid", importer.AdoptExpressFiles(dir, "secret")},
		{"php", phpID, "PHPSESSID", importer.AdoptPHPFiles(dir)},
		{"php", "3b" + phpID[2:], "PHPSESSID", levels.Adopt("")},
		{"scs", scsToken, "session", importer.AdoptSCS(client, "", "")},
		{"redistore", gorillaID, "sid", importer.AdoptRedistore(client, "", "sid", gorillaKey)},
		{"connect-redis", expressID, "connect.sid", importer.AdoptConnectRedis(client, "", "secret")},
	} {
		t.Run(row.name+" as "+row.cookie, func(t *testing.T) {
			if row.legacy.Source != row.name || row.legacy.Cookie != row.cookie {
				t.Errorf("got source %q and cookie %q, want %q and %q", row.legacy.Source, row.legacy.Cookie, row.name, row.cookie)
			}
			loadAndDelete(t, row.name, row.legacy, row.id)
		})
	}
	server.Close()
	if _, err := importer.AdoptConnectRedis(client, "", "secret").Load(t.Context(), expressID); err == nil {
		t.Error("Redis away: got no error, want one")
	}
}

func TestLiveTakesNothingThatTheOldPackageWouldNot(t *testing.T) {
	dir := t.TempDir()
	load := func(body string, age time.Duration) (*redsession.LegacyRecord, error) {
		put(t, dir, "tK/"+sid84, body, age)
		return importer.AdoptOdoo(dir).Load(context.Background(), sid84)
	}
	for _, row := range []struct {
		name, body string
		age        time.Duration
	}{
		{"expired", odooJSON, 8 * 24 * time.Hour},
		{"half-open", `{"pre_uid": 2, "pre_login": "ada"}`, 0},
		{"rotated away", `{"next_sid": "x", "uid": 2}`, 0},
		{"corrupt", `{"uid": `, 0},
	} {
		if rec, err := load(row.body, row.age); rec != nil || err != nil {
			t.Errorf("%s: got a session and error %v, want neither", row.name, err)
		}
	}
}

// loadAndDelete fails the test unless legacy has ada's session under id and no
// other, until it is deleted.
func loadAndDelete(t *testing.T, name string, legacy redsession.Legacy, id string) {
	t.Helper()
	rec, err := legacy.Load(t.Context(), id)
	adas(t, name, rec, err)
	if rec != nil && (rec.ID != id || rec.Source != name) {
		t.Errorf("%s: got another id or the source %q, want those of the cookie", name, rec.Source)
	}
	for _, unknown := range []string{"../" + id, "", "x", id[1:] + "A"} {
		if rec, err := legacy.Load(t.Context(), unknown); rec != nil || err != nil {
			t.Errorf("%s: an unknown id: got a session and error %v, want neither", name, err)
		}
		if err := legacy.Delete(t.Context(), unknown); err != nil {
			t.Errorf("%s: deleting an unknown id: got error %v, want none", name, err)
		}
	}
	for range 2 { // what is gone may be deleted again
		if err := legacy.Delete(t.Context(), id); err != nil {
			t.Errorf("%s: deleting: got error %v, want none", name, err)
		}
	}
	if rec, err := legacy.Load(t.Context(), id); rec != nil || err != nil {
		t.Errorf("%s: after deleting: got a session and error %v, want neither", name, err)
	}
}
