package main

import (
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/redistest"
)

// TestImportAsTheDocsSay runs each command of docs/migrating.md, with places that exist here.
func TestImportAsTheDocsSay(t *testing.T) {
	page, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	old, dir := redistest.Start(t), t.TempDir()
	keys := place(t, t.TempDir(), "keys", "base64:"+base64.StdEncoding.EncodeToString([]byte(signingText))+"\n")
	t.Setenv("REDSESSION_SOURCE_URL", old.URL)
	commands := regexp.MustCompile(`(?m)^(?:\w+=\S+ )?sessionctl import ([^#\n]*)`).FindAllStringSubmatch(string(page), -1)
	if len(commands) < 12 {
		t.Errorf("got %d commands, want 12 at least", len(commands))
	}
	for _, c := range commands {
		t.Run(c[1], func(t *testing.T) {
			args := strings.Fields(c[1])
			for i, arg := range args {
				switch {
				case strings.HasPrefix(arg, "redis://old"):
					args[i] = old.URL
				case arg == "keys":
					args[i] = keys
				case strings.Contains(arg, "/") || arg == "sessions":
					args[i] = dir
				}
			}
			srv := redistest.Start(t)
			r, o := importing(t, srv.URL, args...)
			if o.wants(t, exitDone); r.Found != 0 {
				t.Errorf("got %+v, want nothing found", r)
			}
		})
	}
}
