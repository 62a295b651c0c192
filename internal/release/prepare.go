package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/mod/modfile"
)

// prepare changes go.mod and go.sum of every module below root for a release as
// version. The modules require each other as version. Those that are released
// lose their replace directives: in a dependency they would be ignored, and go
// install refuses a program that has some. In their place go.sum says what the
// others will be, once the commit is tagged. That is known before: no file of a
// module lies in another.
func prepare(ctx context.Context, root, version string) error {
	changed, err := command{dir: root}.output(ctx, "git", "status", "--porcelain")
	switch {
	case err != nil:
		return err
	case changed != "":
		return errors.New("there are changes that are not committed:\n" + changed)
	}
	modules, err := findModules(ctx, root)
	if err != nil {
		return err
	}
	if modules, err = requiredFirst(modules); err != nil {
		return err
	}
	sums := map[string][]sum{} // of those released, by their paths
	for _, m := range modules {
		if err := m.prepare(root, version, sums); err != nil {
			return fmt.Errorf("preparing %s: %w", m.dir, err)
		}
		if !m.released() {
			continue
		}
		if sums[m.path()], err = m.sums(ctx, root, version); err != nil {
			return fmt.Errorf("reading %s: %w", m.dir, err)
		}
	}
	return nil
}

// requiredFirst orders the modules: each stands behind those that it requires.
func requiredFirst(modules []ourModule) ([]ourModule, error) {
	var ordered []ourModule
	placed := map[string]bool{}
	for len(ordered) < len(modules) {
		before := len(ordered)
		for _, m := range modules {
			waits := slices.ContainsFunc(m.mod.Require, func(r *modfile.Require) bool {
				return ours(r.Mod.Path) && !placed[r.Mod.Path]
			})
			if !placed[m.path()] && !waits {
				placed[m.path()] = true
				ordered = append(ordered, m)
			}
		}
		if len(ordered) == before {
			return nil, errors.New("modules require each other in a circle, or one that does not exist")
		}
	}
	return ordered, nil
}

func (m ourModule) prepare(root, version string, sums map[string][]sum) error {
	var required []sum
	for _, r := range slices.Clone(m.mod.Require) {
		if !ours(r.Mod.Path) {
			continue
		}
		if sums[r.Mod.Path] == nil {
			return fmt.Errorf("it requires %s, which is not released", r.Mod.Path)
		}
		required = append(required, sums[r.Mod.Path]...)
		if err := m.mod.AddRequire(r.Mod.Path, version); err != nil {
			return err
		}
	}
	if m.released() {
		if err := m.replaceNothing(); err != nil {
			return err
		}
		if err := addSums(m.file(root, "go.sum"), required); err != nil {
			return err
		}
	}
	m.mod.Cleanup()
	content, err := m.mod.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(m.file(root, "go.mod"), content, 0o644)
}

func (m ourModule) replaceNothing() error {
	for _, r := range slices.Clone(m.mod.Replace) {
		if !ours(r.Old.Path) {
			return fmt.Errorf("it replaces %s, which nobody does who requires it", r.Old.Path)
		}
		if err := m.mod.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	return nil
}
