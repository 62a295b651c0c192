package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// repository is the path of the core module, below which all others lie.
const repository = "github.com/redsession/redsession"

// ourModule is one of the repository's modules.
type ourModule struct {
	dir string // from the root, "." for the core
	mod *modfile.File
}

// findModules returns the modules whose go.mod git tracks, the core first.
func findModules(ctx context.Context, root string) ([]ourModule, error) {
	files, err := command{dir: root}.output(ctx, "git", "ls-files", ":(glob)**/go.mod")
	if err != nil {
		return nil, err
	}
	var list []ourModule
	for _, file := range strings.Fields(files) {
		m, err := readModule(root, path.Dir(file))
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b ourModule) int { return strings.Compare(a.path(), b.path()) })
	if len(list) == 0 || list[0].dir != "." {
		return nil, fmt.Errorf("%s has no go.mod in its root", root)
	}
	return list, nil
}

func readModule(root, dir string) (ourModule, error) {
	m := ourModule{dir: dir}
	file := m.file(root, "go.mod")
	content, err := os.ReadFile(file)
	if err != nil {
		return m, err
	}
	if m.mod, err = modfile.Parse(file, content, nil); err != nil {
		return m, err
	}
	if want := path.Join(repository, dir); m.path() != want {
		return m, fmt.Errorf("%s is of the module %s, want %s", file, m.path(), want)
	}
	return m, nil
}

func (m ourModule) path() string { return m.mod.Module.Mod.Path }

func (m ourModule) file(root, name string) string {
	return filepath.Join(root, filepath.FromSlash(m.dir), name)
}

// tag returns what a version of the module is called in git.
func (m ourModule) tag(version string) string { return path.Join(m.dir, version) }

// released tells whether others can require the module, or install its program.
// The rest is for those who have the repository: examples, measurements, tests.
func (m ourModule) released() bool {
	parent := path.Dir(m.dir)
	return m.dir == "." || parent == "adapters" || parent == "cmd"
}

func ours(modulePath string) bool {
	return modulePath == repository || strings.HasPrefix(modulePath, repository+"/")
}
