//go:build unix

package environ_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redsession/redsession/internal/environ"
)

// content is in every file of these tests, and in no error.
const content = "hunter2"

func TestLineOfAFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file("target", content), link); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, variable, path string
		want                 string
		says                 []string // of an error
	}{
		{"nothing", "", "", "", nil},
		{"a variable alone", content, "", content, nil},
		{"a file", "", file("plain", content), content, nil},
		{"a file with a newline", "", file("newline", content+"\n"), content, nil},
		{"a file of Windows", "", file("windows", "\ufeff"+content+"\r\n"), content, nil},
		{"a link, as Kubernetes mounts it", "", link, content, nil},
		{"white space around the path", "", " " + link + "\n", content, nil},
		{"both", content, link, "", []string{"ENVIRON_TEST and ENVIRON_TEST_FILE are both set"}},
		{"both, though the file is not there", content, filepath.Join(dir, "none"), "", []string{"both set"}},
		{"no such file", "", filepath.Join(dir, "none"), "", []string{"ENVIRON_TEST_FILE", filepath.Join(dir, "none")}},
		{"the content in the place of the path", "", "redis://:" + content + "@host", "", []string{"ENVIRON_TEST_FILE", "not shown"}},
		{"a folder", "", dir, "", []string{"ENVIRON_TEST_FILE", dir, "no regular file"}},
		{"a pipe that nobody writes to", "", pipe, "", []string{"ENVIRON_TEST_FILE", pipe, "no regular file"}},
		{"a file that cannot be read", "", "/proc/self/mem", "", []string{"ENVIRON_TEST_FILE", "/proc/self/mem"}},
		{"a device", "", "/dev/zero", "", []string{"ENVIRON_TEST_FILE", "/dev/zero", "no regular file"}},
		{"an empty file", "", file("empty", ""), "", []string{"ENVIRON_TEST_FILE", filepath.Join(dir, "empty"), "is empty"}},
		{"a file of white space", "", file("white", " \n\n"), "", []string{"is empty"}},
		{"several lines", "", file("lines", content+"\n"+content), "", []string{"ENVIRON_TEST_FILE", filepath.Join(dir, "lines"), "several lines"}},
		{"a huge file", "", file("huge", strings.Repeat(content, 10_000)), "", []string{"ENVIRON_TEST_FILE", filepath.Join(dir, "huge"), "more than 65536 bytes"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("ENVIRON_TEST", row.variable)
			t.Setenv("ENVIRON_TEST_FILE", row.path)
			got, err := environ.Line("ENVIRON_TEST")
			if got != row.want || (err != nil) != (row.says != nil) {
				t.Errorf("got %q and %v, want %q", got, err, row.want)
			}
			for _, text := range row.says {
				if err != nil && (!strings.Contains(err.Error(), text) || strings.Contains(err.Error(), content)) {
					t.Errorf("got %v, want an error that says %q and not the content", err, text)
				}
			}
		})
	}
}

func TestSecretsOfAFile(t *testing.T) {
	one, two := strings.Repeat("01", 32), strings.Repeat("ab", 32)
	for _, row := range []struct {
		name, text string
		want       int // 0 for an error
	}{
		{"one", one, 1},
		{"one with a newline", one + "\n", 1},
		{"two with a comma", one + "," + two + "\n", 2},
		{"two lines", one + "\n" + two + "\n", 2},
		{"two lines of Windows", one + "\r\n" + two + "\r\n", 2},
		{"empty lines between them", one + "\n\n" + two, 2},
		{"white space around the lines", "  " + one + " \n\t" + two, 2},
		{"a comma at the end of a line", one + ",\n" + two, 0},
		{"a bad one behind a good one", one + "\n" + content, 0},
		{"nothing but a comma", ",", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secrets")
			if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("ENVIRON_TEST_FILE", path)
			got, err := environ.Secrets("ENVIRON_TEST")
			if len(got) != row.want || (err != nil) != (row.want == 0) || len(got) > 0 && got[0][0] != 1 {
				t.Errorf("got %d and %v, want %d, the first one first", len(got), err, row.want)
			}
			if err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "ENVIRON_TEST_FILE") || strings.Contains(err.Error(), content) || strings.Contains(err.Error(), one)) {
				t.Errorf("got %v, want an error that names variable and file and no secret", err)
			}
		})
	}
}
