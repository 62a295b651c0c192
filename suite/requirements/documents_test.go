package requirements_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// repository is where this one begins, as seen from here.
const repository = "../.."

// section returns a section of a document of this repository.
func section(t *testing.T, file, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", file, heading)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

func TestDocumentsSayWhatIsTested(t *testing.T) {
	t.Parallel()
	configuration := section(t, "README.md", "Configuration")
	for field := range reflect.TypeFor[redsession.Config]().Fields() {
		if !strings.Contains(configuration, "`"+field.Name+"`") {
			t.Errorf("README.md's table of the configuration has no Config.%s", field.Name)
		}
	}
	for _, row := range []struct{ what, file, heading, want string }{
		{"the smallest ACL", "README.md", "Every Redis", "\n" + stage.SmallestACL + "\n"},
		{"the idle timeouts, as TestConfigDefaults sees them", "README.md", "Configuration", "| `IdleTimeout`, `AnonymousTimeout` | 7 days, 3 hours |"},
		{"the absolute timeout", "README.md", "Configuration", "| `AbsoluteTimeout` | 30 days |"},
		{"the rotation", "README.md", "Configuration", "| `RotateEvery`, `RotateGrace` | 3 hours, 60 s |"},
		{"the limit on concurrent sessions", "README.md", "Configuration", "`MaxPerUser` | none |"},
		{"NIST's AAL2", "docs/operations.md", "Choosing timeouts", "| AAL2 | 24 hours | 1 hour | no `RememberFor` |"},
		{"NIST's AAL3", "docs/operations.md", "Choosing timeouts", "| AAL3 | 12 hours | 15 minutes |"},
	} {
		if !strings.Contains(section(t, row.file, row.heading), row.want) {
			t.Errorf("%s does not state %s: want %q under %q", row.file, row.what, row.want, row.heading)
		}
	}
}

var (
	testNames = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	testFuncs = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
)

// testsOfTheRepository returns the names of all test functions, those of nested
// modules included.
func testsOfTheRepository(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFuncs.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEveryRequirementHasATestThatExists(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(repository, "attack", "go.mod")); err != nil {
		t.Skip("the nested modules are not here, whose tests the table names too")
	}
	table, exist := section(t, "SECURITY.md", "Requirements"), testsOfTheRepository(t)
	for _, name := range testNames.FindAllString(table, -1) {
		if !exist[name] {
			t.Errorf("SECURITY.md names %s, which is no test of this repository", name)
		}
	}
	rows := make(map[string]int)
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| SR-") {
			continue
		}
		cells := strings.Split(line, "|") // and what is before and behind
		id := strings.TrimSpace(cells[1])
		if rows[id]++; len(cells) != 5+2 {
			t.Errorf("%s: got %d cells, want 5", id, len(cells)-2)
			continue
		}
		shown, why := testNames.MatchString(cells[4]), strings.TrimSpace(cells[5]) != ""
		switch status := strings.TrimSpace(cells[3]); status {
		case "met":
			if !shown {
				t.Errorf("%s is met, but no test is named that shows it", id)
			}
		case "not met", "not ours":
			if shown || !why {
				t.Errorf("%s is %s: want a reason, and no test", id, status)
			}
		default:
			t.Errorf("%s: got status %q, want met, not met or not ours", id, status)
		}
	}
	for i := range 72 {
		id := fmt.Sprintf("SR-%02d", i+1)
		if rows[id] != 1 {
			t.Errorf("%s has %d rows in SECURITY.md, want one", id, rows[id])
		}
		delete(rows, id)
	}
	if len(rows) > 0 {
		t.Errorf("got rows %v that are no requirements", rows)
	}
}
