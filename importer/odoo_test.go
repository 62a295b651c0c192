package importer_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
	"github.com/redsession/redsession/importer/internal/odoogen"
)

const (
	sid84 = "tKz6" + "abcdefghijklmnopqrstuvwxyz0123456789_-ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdef"
	sid40 = "ce11018348ef785923a205eeb055f14079328d83"

	odooJSON = `{"context": {"lang": "en_US", "tz": "Europe/Brussels", "uid": 2}, "create_time": 1763755943.123456, "db": "prod", "debug": "", "login": "ada", "uid": 2, ` +
		`"session_token": "3f3f", "_trace": [{"platform": "linux", "browser": "chrome", "ip_address": "203.0.113.7", "first_activity": 1763755943, "last_activity": 1763755943}]}`
)

func TestOdooJSON(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	put(t, dir, "tK/"+sid84, odooJSON, 24*time.Hour)
	run(t, s, importer.Odoo(dir), importer.Options{})
	rec := s.only(t)
	if rec.Source != "odoo" || rec.ID != sid84 || rec.UserID != "2" {
		t.Errorf("got source %q, user %q, want odoo, 2, and the file's name as id", rec.Source, rec.UserID)
	}
	about(t, "end", rec.ExpiresAt, time.Now().Add(6*24*time.Hour))
	about(t, "creation", rec.CreatedAt, time.Unix(1763755943, 0))
	got, err := json.Marshal(rec.Values)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(odooJSON), &want); err != nil {
		t.Fatal(err)
	}
	if sorted, _ := json.Marshal(want); string(got) != string(sorted) {
		t.Errorf("got %s, want %s", got, sorted)
	}
}

func TestOdooPickle(t *testing.T) {
	pickled, err := os.ReadFile("internal/pickle/testdata/odoo5.pickle")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, file string }{
		{"Odoo 16 and 17, in a folder of the first two characters", "ce/" + sid40},
		{"Odoo 15 and before, all in one folder", "werkzeug_" + sid40 + ".sess"},
	} {
		dir, s := t.TempDir(), newSink()
		put(t, dir, row.file, string(pickled), 0)
		run(t, s, importer.Odoo(dir), importer.Options{})
		if rec := s.only(t); rec.ID != sid40 || rec.UserID != "2" || rec.Values["login"] != "ada" {
			t.Errorf("%s: got user %q and login %v, want 2 and ada", row.name, rec.UserID, rec.Values["login"])
		}
	}
}

func TestOdooSkipsByReason(t *testing.T) {
	other := func(end string) string { return sid84[:len(sid84)-len(end)] + end }
	evil, err := os.ReadFile("internal/pickle/testdata/evil5.pickle")
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, new string) string { return strings.Replace(odooJSON, old, new, 1) }
	for _, row := range []struct {
		name, file, body string
		want             importer.Reason
	}{
		{"a file of a writer that crashed", "tmpab12.__wz_sess", odooJSON, importer.Temporary},
		{"the same of Odoo 19.1", "tmpab12.__tx_sess__", odooJSON, importer.Temporary},
		{"something else", "README.txt", "hello", importer.Foreign},
		{"an upload that lies there", "tmpx.file", "hello", importer.Foreign},
		{"a session in the wrong folder", "xx/" + sid84, odooJSON, importer.Foreign},
		{"an id that is too short", "tK/tKz6", odooJSON, importer.BadID},
		{"an id with a dot", "tK/" + other("."), odooJSON, importer.BadID},
		{"an old name with an id that is none", "werkzeug_..%2f..%2fetc%2fpasswd.sess", odooJSON, importer.BadID},
		{"cut off", "tK/" + sid84, odooJSON[:100], importer.Corrupt},
		{"empty", "tK/" + sid84, "", importer.Corrupt},
		{"zeros after a power failure", "tK/" + sid84, strings.Repeat("\x00", 400), importer.Corrupt},
		{"a word that is none of JSON's", "tK/" + sid84, changed(`"uid": 2`, `"uid": Nan`), importer.Corrupt},
		{"a pickle that runs code", "tK/" + sid84, string(evil), importer.Unsafe},
		{"second factor missing", "tK/" + sid84, changed(`"debug"`, `"pre_uid": 2, "debug"`), importer.HalfOpen},
		{"rotated away", "tK/" + sid84, changed(`"debug"`, `"next_sid": "x", "debug"`), importer.Predecessor},
		{"rotated away, about to be deleted", "tK/" + sid84, changed(`"debug"`, `"deletion_time": 1763755943.1, "debug"`), importer.Predecessor},
		{"too large", "tK/" + sid84, changed(`"debug": ""`, `"debug": "`+strings.Repeat("x", 1<<20)+`"`), importer.Oversized},
	} {
		dir, s := t.TempDir(), newSink()
		put(t, dir, row.file, row.body, 0)
		report := run(t, s, importer.Odoo(dir), importer.Options{})
		if report.Found != 1 || report.Skipped[row.want] != 1 || len(s.records) != 0 {
			t.Errorf("%s: got %v, want one %q", row.name, report.Skipped, row.want)
		}
		if text := report.String(); strings.Contains(text, sid84[4:]) || strings.Contains(text, "ada") || strings.Contains(text, dir) {
			t.Errorf("%s: got a report that shows the session:\n%s", row.name, text)
		}
	}
}

func TestOdooUsers(t *testing.T) {
	for _, row := range []struct{ name, old, new, want string }{
		{"logged in", "", "", "2"},
		{"without a token", `"3f3f"`, `null`, ""},
		{"without a user", `"uid": 2, "session_token"`, `"uid": null, "session_token"`, ""},
		{"a user that is no number", `"uid": 2, "session_token"`, `"uid": "2\n", "session_token"`, ""},
		{"a user whom nobody has", `"uid": 2, "session_token"`, `"uid": -1, "session_token"`, ""},
	} {
		dir, s := t.TempDir(), newSink()
		put(t, dir, "tK/"+sid84, strings.Replace(odooJSON, row.old, row.new, 1), 0)
		run(t, s, importer.Odoo(dir), importer.Options{})
		if got := s.only(t).UserID; got != row.want {
			t.Errorf("%s: got user %q, want %q", row.name, got, row.want)
		}
	}
	dir, s := t.TempDir(), newSink()
	put(t, dir, "tK/"+sid84, odooJSON, 0)
	byLogin := func(rec redsession.LegacyRecord) string { return rec.Values["login"].(string) }
	run(t, s, importer.Odoo(dir), importer.Options{UserID: byLogin})
	if got := s.only(t).UserID; got != "ada" {
		t.Errorf("with Options.UserID: got user %q, want ada", got)
	}
}

// A session folder may be writable by others than Odoo: a link in it must not
// make the importer read what they cannot.
func TestLinksAndPipesAreNotRead(t *testing.T) {
	outside, dir, s := t.TempDir(), t.TempDir(), newSink()
	put(t, outside, "secret", odooJSON, 0)
	put(t, outside, "tK/"+sid84, odooJSON, 0)
	put(t, dir, "ab/inside", odooJSON, 0)
	for name, to := range map[string]string{
		"tK":                          filepath.Join(outside, "tK"), // a folder outside
		"lo":                          ".",                          // a loop
		"ab/up":                       "..",                         // another loop
		"ab/ab" + sid84[2:]:           filepath.Join(outside, "secret"),
		"ab/ac" + sid84[2:]:           "../../" + filepath.Base(outside) + "/secret",
		"ab/ad" + sid84[2:]:           "inside",
		"werkzeug_" + sid40 + ".sess": "/etc/hostname",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := makePipe(filepath.Join(dir, "ab", "ab"+sid84[2:len(sid84)-1]+"P")); err != nil {
		t.Fatal(err)
	}
	report := run(t, s, importer.Odoo(dir), importer.Options{})
	if len(s.records) != 0 || report.Skipped[importer.Symlink] != 7 || report.Skipped[importer.Foreign] != 2 {
		t.Errorf("got %d sessions and %v, want none, 7 links, a pipe and a file without an id", len(s.records), report.Skipped)
	}
	for _, id := range []string{"ab" + sid84[2:], "ac" + sid84[2:], sid84, sid40} {
		rec, err := importer.AdoptOdoo(dir).Load(t.Context(), id)
		if rec != nil {
			t.Errorf("live: got a session and error %v, want none", err)
		}
	}
}

// Debian's folder for PHP sessions is open to all for writing.
func TestAPlantedFileIsNotRead(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	dir := t.TempDir()
	for id, owner := range map[string]int{"a": 0, "b": 33, "c": 1000} {
		file := "sess_" + strings.Repeat(id, 32)
		put(t, dir, file, "user_id|i:1;", 0)
		if err := os.Chown(filepath.Join(dir, file), owner, owner); err != nil {
			t.Skip(err)
		}
	}
	source := importer.PHPFiles(dir)
	if report := run(t, newSink(), source, importer.Options{}); report.Imported != 3 {
		t.Errorf("got %d imported, want all 3", report.Imported)
	}
	source.Owner = 33
	if report := run(t, newSink(), source, importer.Options{}); report.Imported != 2 || report.Skipped[importer.NotOwned] != 1 {
		t.Errorf("with an owner: got %d imported and %v, want root's and his, and one %q", report.Imported, report.Skipped, importer.NotOwned)
	}
}

func TestAFileOfAGigabyteIsNotRead(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	put(t, dir, "tK/"+sid84, "", 0)
	if err := os.Truncate(filepath.Join(dir, "tK", sid84), 1<<30); err != nil {
		t.Fatal(err)
	}
	if report := run(t, s, importer.Odoo(dir), importer.Options{}); report.Skipped[importer.Oversized] != 1 {
		t.Errorf("got %v, want one %q", report.Skipped, importer.Oversized)
	}
}

func TestWhatMayNotBeReadIsCounted(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir, s := t.TempDir(), newSink()
	put(t, dir, "tK/"+sid84, odooJSON, 0)
	put(t, dir, "ce/"+sid40, odooJSON, 0)
	if err := errors.Join(os.Chmod(filepath.Join(dir, "tK", sid84), 0), os.Chmod(filepath.Join(dir, "ce"), 0)); err != nil {
		t.Fatal(err)
	}
	report := run(t, s, importer.Odoo(dir), importer.Options{})
	_ = os.Chmod(filepath.Join(dir, "ce"), 0o700) // or it could not be removed
	if report.Skipped[importer.Unreadable] != 2 {
		t.Errorf("got %v, want two %q", report.Skipped, importer.Unreadable)
	}
}

func TestAFolderThatIsNotThereIsAnError(t *testing.T) {
	for _, source := range []importer.Source{
		importer.Odoo("does/not/exist"), importer.PHPFiles("does/not/exist"),
		importer.GorillaFiles("does/not/exist", "sid"), importer.ExpressFiles("does/not/exist"),
	} {
		if _, err := importer.RunInto(t.Context(), newSink(), source, importer.Options{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v, want %v", source.Name(), err, os.ErrNotExist)
		}
	}
}

// The folder has IMPORTER_TEST_FILES files, 10,000 unless set.
func TestAWholeOdooFolder(t *testing.T) {
	t.Parallel()
	n := 10_000
	if v := os.Getenv("IMPORTER_TEST_FILES"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	dir, s := t.TempDir(), newSink()
	made, err := odoogen.Generate(dir, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	first := run(t, s, importer.Odoo(dir), importer.Options{})
	t.Logf("first time:\n%s", first)
	if first.Found != n || first.Imported != made.Sessions || first.Expired != made.Expired || first.Failed != 0 ||
		first.Skipped[importer.Temporary] != made.Temporary || first.Skipped[importer.HalfOpen] != made.HalfOpen || first.Skipped[importer.Corrupt] != made.Corrupt {
		t.Errorf("got\n%s\nwant %+v", first, made)
	}
	users := 0
	for _, rec := range s.records {
		if rec.UserID != "" {
			users++
		}
	}
	if users != made.LoggedIn {
		t.Errorf("got %d logged-in sessions, want %d", users, made.LoggedIn)
	}
	for _, sid := range made.SIDs {
		if _, ok := s.records["odoo "+sid]; !ok {
			t.Errorf("got no session for a sid, want one")
		}
	}
	second := run(t, s, importer.Odoo(dir), importer.Options{})
	if second.Existing != made.Sessions || second.Imported != 0 || s.doubled != 0 {
		t.Errorf("second time: got\n%s\nwant %d existing", second, made.Sessions)
	}
}
