package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/dirhash"
)

const (
	core    = "module github.com/redsession/redsession\n\ngo 1.26.0\n"
	adapter = "module github.com/redsession/redsession/adapters/web\n\ngo 1.26.0\n\n" +
		"require github.com/redsession/redsession v0.0.0\n\nreplace github.com/redsession/redsession => ../..\n"
	examples = "module github.com/redsession/redsession/examples\n\ngo 1.26.0\n\n" +
		"require (\n\tgithub.com/redsession/redsession v0.0.0\n\tgithub.com/redsession/redsession/adapters/web v0.0.0\n)\n\n" +
		"replace (\n\tgithub.com/redsession/redsession => ..\n\tgithub.com/redsession/redsession/adapters/web => ../adapters/web\n)\n"
	foreign = "example.com/other v1.2.0 h1:bm90IGEgaGFzaCBvZiBhbnl0aGluZyBhdCBhbGwhISE=\n"
)

// repositoryOf returns the root of a repository in which files, by their names,
// are committed.
func repositoryOf(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, root, "init", "--quiet")
	commit(t, root)
	return root
}

func commit(t *testing.T, root string) {
	t.Helper()
	git(t, root, "add", "--all")
	git(t, root, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "all")
}

func git(t *testing.T, root string, args ...string) {
	t.Helper()
	if _, err := (command{dir: root}).output(t.Context(), "git", args...); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func modules() map[string]string {
	return map[string]string{
		"LICENSE": "free\n", "core.go": "package redsession\n", "go.mod": core,
		"adapters/web/go.mod": adapter, "adapters/web/go.sum": foreign, "adapters/web/web.go": "package web\n",
		"examples/go.mod": examples, "examples/main.go": "package main\n",
	}
}

func TestPreparedModulesRequireTheVersionAndReleasedOnesReplaceNothing(t *testing.T) {
	t.Parallel()
	root := repositoryOf(t, modules())
	if err := prepare(t.Context(), root, "v0.3.0"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, file, want string }{
		{"the core stays as it is", "go.mod", core},
		{
			"an adapter requires the core of the same version", "adapters/web/go.mod",
			strings.ReplaceAll(strings.Split(adapter, "\n\nreplace")[0], "v0.0.0", "v0.3.0") + "\n",
		},
		{"what is not released replaces as before", "examples/go.mod", strings.ReplaceAll(examples, "v0.0.0", "v0.3.0")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := read(t, root, tc.file); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// Otherwise go.sum at the tag would be wrong, and nobody could build there.
func TestGoSumSaysBeforeTheTagWhatIsPackedAfterIt(t *testing.T) {
	t.Parallel()
	root := repositoryOf(t, modules())
	if err := prepare(t.Context(), root, "v0.3.0"); err != nil {
		t.Fatal(err)
	}
	commit(t, root)
	list, err := findModules(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	proxy := t.TempDir()
	for _, m := range list[:2] { // the core and the adapter
		predicted, err := m.sums(t.Context(), root, "v0.3.0")
		if err != nil {
			t.Fatal(err)
		}
		git(t, root, "tag", m.tag("v0.3.0"))
		if _, err := m.publish(t.Context(), root, "v0.3.0", proxy); err != nil {
			t.Fatal(err)
		}
		packed, err := dirhash.HashZip(filepath.Join(proxy, m.path(), "@v/v0.3.0.zip"), dirhash.Hash1)
		if err != nil {
			t.Fatal(err)
		}
		if packed != predicted[0].hash {
			t.Errorf("%s: packed as %s, predicted as %s", m.dir, packed, predicted[0].hash)
		}
		if m.dir == "." && !strings.Contains(read(t, root, "adapters/web/go.sum"), m.path()+" v0.3.0 "+packed+"\n") {
			t.Errorf("the adapter's go.sum lacks %s", packed)
		}
	}
	if got := read(t, root, "adapters/web/go.sum"); !strings.HasPrefix(got, foreign) || strings.Count(got, "\n") != 3 {
		t.Errorf("go.sum: got\n%s\nwant the line of another module, and two of the core", got)
	}
}

func TestWhatCannotBeReleasedIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, file, content, want string }{
		{"a released module requires one that is not", "adapters/web/go.mod", adapter + "\nrequire github.com/redsession/redsession/internal/tool v0.0.0\n", "internal/tool, which is not released"},
		{"a released module replaces somebody else's", "adapters/web/go.mod", adapter + "\nreplace example.com/other => ../other\n", "it replaces example.com/other"},
		{"two modules require each other", "go.mod", core + "\nrequire github.com/redsession/redsession/adapters/web v0.0.0\n", "in a circle"},
		{"a module of another name", "adapters/web/go.mod", "module example.com/web\n", "want github.com/redsession/redsession/adapters/web"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			files := modules()
			files["internal/tool/go.mod"] = "module github.com/redsession/redsession/internal/tool\n"
			files[tc.file] = tc.content
			err := prepare(t.Context(), repositoryOf(t, files), "v0.3.0")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got the error %v, want one that says %q", err, tc.want)
			}
		})
	}
	t.Run("a change that is not committed", func(t *testing.T) {
		t.Parallel()
		root := repositoryOf(t, modules())
		if err := os.WriteFile(filepath.Join(root, "core.go"), []byte("package changed\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := prepare(t.Context(), root, "v0.3.0")
		if err == nil || !strings.Contains(err.Error(), "core.go") {
			t.Errorf("got the error %v, want one that names the file", err)
		}
	})
}

func TestOnlyWholeVersionsAreReleased(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"check", "0.1.0"}, {"check", "v0.1"}, {"prepare"}, {"publish", "v0.1.0"}, {"check", "v0.1.0", "more"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("release %s: got no error", strings.Join(args, " "))
		}
	}
}

func TestWhichModulesAreReleased(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]bool{
		".": true, "adapters/gin": true, "cmd/sessionctl": true,
		"examples": false, "cmd/demo/browsertest": false, "internal/release": false, "importer/originals": false,
	} {
		if got := (ourModule{dir: dir}).released(); got != want {
			t.Errorf("%s: got %t, want %t", dir, got, want)
		}
	}
}
