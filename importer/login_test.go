package importer_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// browser keeps the cookies of one site.
type browser map[string]*http.Cookie

// get returns who h thinks it talks to.
func (b browser) get(t *testing.T, h http.Handler) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, c := range b {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b[c.Name] = c; c.MaxAge < 0 {
			delete(b, c.Name)
		}
	}
	return w.Body.String()
}

// TestTheOldCookieIsStillLoggedIn is for the sources whose original packages are
// not in Go; those that are, are in the module originals.
func TestTheOldCookieIsStillLoggedIn(t *testing.T) {
	phpBody, err := os.ReadFile("internal/php/testdata/php.sess")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	odoo, php, express := importer.Odoo(dir), importer.PHPFiles(dir), importer.ExpressFiles(dir)
	php.UserID, express.UserID = byUserID, byUserID
	expressBody := `{"cookie":{},"user_id":42,"name":"ada","__lastAccess":` + millis(time.Now()) + `}`
	for _, row := range []struct {
		name, file, body, cookie, want string
		source                         importer.Source
		legacy                         redsession.Legacy
	}{
		{"Odoo 18", "tK/" + sid84, odooJSON, sid84, "2", odoo, odoo.Adopt()},
		{"Odoo 15", "werkzeug_" + sid40 + ".sess", odooJSON, sid40, "2", odoo, odoo.Adopt()},
		{"PHP", "sess_" + phpID, string(phpBody), phpID, "ada", php, php.Adopt("")},
		{"express", expressID + ".json", expressBody, expressCookie("keyboard cat", expressID), "ada", express, express.Adopt("", "keyboard cat")},
	} {
		for _, ahead := range []bool{false, true} {
			put(t, dir, row.file, row.body, 0)
			name := fmt.Sprintf("%s, imported ahead %t", row.name, ahead)
			comeBack(t, name, row.source, row.legacy, ahead, row.cookie, row.want)
			if _, err := os.Stat(filepath.Join(dir, row.file)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: got error %v for the old file, want it deleted", name, err)
			}
		}
	}
}

// comeBack sends the old cookie, and then the new one, and fails the test unless
// both are of the user want.
func comeBack(t *testing.T, name string, source importer.Source, legacy redsession.Legacy, ahead bool, cookie, want string) {
	t.Helper()
	_, client := startRedis(t)
	if ahead {
		legacy.Load = nil
	}
	m, err := redsession.New(redsession.Config{
		Client: client, Secrets: [][]byte{gorillaKey}, RedisTimeout: time.Minute, Adopt: []redsession.Legacy{legacy},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(redsession.FromContext(r.Context()).UserID()))
	}))
	if ahead {
		if _, err := importer.Run(t.Context(), m, source, importer.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	b := browser{legacy.Cookie: {Name: legacy.Cookie, Value: cookie}}
	for _, when := range []string{"with the old cookie", "with the new cookie"} {
		if got := b.get(t, h); got != want {
			t.Errorf("%s, %s: got user %q, want %q", name, when, got, want)
		}
	}
	if len(b) != 1 || b[legacy.Cookie] != nil {
		t.Errorf("%s: got %d cookies, want ours alone", name, len(b))
	}
	devices, err := m.Sessions(t.Context(), want)
	if err != nil || len(devices) != 1 {
		t.Errorf("%s: got %d devices and error %v, want 1", name, len(devices), err)
	}
}
