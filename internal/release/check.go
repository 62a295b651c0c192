package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shop is a program that uses what is released.
//
//go:embed testdata/shop
var shop embed.FS

// rehearsal is a release in a folder that is thrown away.
type rehearsal struct {
	version  string
	dir      string
	released []ourModule
	env      []string // of the go command
	folders  string   // those of env's GOPROXY that need no network
	began    time.Time
}

// check makes a release of the last commit, without showing it to anybody: it
// prepares, commits and tags a clone, packs the modules as a module proxy does,
// and has a program outside the workspace require them.
func check(ctx context.Context, root, version string) (err error) {
	dir, err := os.MkdirTemp("", "redsession-release")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &rehearsal{version: version, dir: dir, began: time.Now()}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.tag(ctx, root) },
		r.publish, r.setUp, r.build, r.require, r.use, r.install,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	r.say("%s can be released", version)
	return nil
}

func (r *rehearsal) say(format string, args ...any) {
	fmt.Printf("[%4.1f s] %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *rehearsal) path(name string) string { return filepath.Join(r.dir, name) }

// tag does in a clone what docs/releasing.md says.
func (r *rehearsal) tag(ctx context.Context, root string) error {
	if _, err := (command{dir: r.dir}).output(ctx, "git", "clone", "--quiet", root, "repository"); err != nil {
		return err
	}
	repository := r.path("repository")
	if err := prepare(ctx, repository, r.version); err != nil {
		return err
	}
	modules, err := findModules(ctx, repository)
	if err != nil {
		return err
	}
	git := command{dir: repository}
	if _, err := git.output(ctx, "git", "-c", "user.name=rehearsal", "-c", "user.email=rehearsal@localhost",
		"commit", "--quiet", "--all", "--message", "Release "+r.version); err != nil {
		return err
	}
	for _, m := range modules {
		if !m.released() {
			continue
		}
		r.released = append(r.released, m)
		if _, err := git.output(ctx, "git", "tag", m.tag(r.version)); err != nil {
			return err
		}
	}
	return nil
}

// publish packs what is tagged.
func (r *rehearsal) publish(ctx context.Context) error {
	for _, m := range r.released {
		size, err := m.publish(ctx, r.path("repository"), r.version, r.path("proxy"))
		if err != nil {
			return fmt.Errorf("packing %s: %w", m.path(), err)
		}
		r.say("packed %s, %d kB", m.tag(r.version), size>>10)
	}
	return nil
}

// setUp takes our modules from the packed ones alone, those of others from where
// they were taken before, and keeps none of them in the user's module cache: the
// real version of the same number would be taken for a forgery.
func (r *rehearsal) setUp(ctx context.Context) error {
	out, err := command{dir: r.dir}.output(ctx, "go", "env", "GOMODCACHE", "GOPROXY", "GOFLAGS")
	if err != nil {
		return err
	}
	before := strings.Split(out, "\n")
	r.folders = fmt.Sprintf("file://%s,file://%s/cache/download,file://%s/cache/download", filepath.ToSlash(r.path("proxy")),
		filepath.ToSlash(r.path("modules")), filepath.ToSlash(before[0]))
	r.env = []string{
		"GOWORK=off", "GOMODCACHE=" + r.path("modules"), "GOPROXY=" + r.folders + "," + before[1],
		"GOPRIVATE=", "GONOPROXY=", "GOSUMDB=off", // what go.sum of the repository says is checked
		"GOFLAGS=" + strings.TrimSpace(before[2]+" -modcacherw -trimpath"), // -trimpath: the build cache serves any folder
		"GOBIN=" + r.path("bin"),
	}
	return nil
}

// build builds what is tagged, where it was tagged.
func (r *rehearsal) build(ctx context.Context) error {
	for _, m := range r.released {
		c := command{dir: m.file(r.path("repository"), "."), env: r.env}
		if _, err := c.output(ctx, "go", "build", "./..."); err != nil {
			return err
		}
		r.say("built %s", m.tag(r.version))
	}
	return nil
}

// require writes the shop's go.mod.
func (r *rehearsal) require(ctx context.Context) error {
	if err := r.copyShop(); err != nil {
		return err
	}
	sums := ""
	for _, m := range r.released {
		content, err := os.ReadFile(m.file(r.path("repository"), "go.sum"))
		if err != nil {
			return err
		}
		sums += string(content)
	}
	if err := os.WriteFile(r.path("shop/go.sum"), []byte(sums), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mod", "init", "shop.example/shop"},
		{
			"mod", "edit", "-require=" + repository + "@" + r.version,
			"-require=" + repository + "/adapters/gin@" + r.version,
			"-require=" + repository + "/cmd/sessionctl@" + r.version,
			"-tool=" + repository + "/cmd/sessionctl",
		},
		{"mod", "tidy"},
	} {
		if _, err := r.shop().output(ctx, "go", args...); err != nil {
			return err
		}
	}
	return r.checkVersions(ctx)
}

func (r *rehearsal) copyShop() error {
	files, err := fs.Sub(shop, "testdata/shop")
	if err != nil {
		return err
	}
	return os.CopyFS(r.path("shop"), files)
}

func (r *rehearsal) shop() command { return command{dir: r.path("shop"), env: r.env} }

// checkVersions sees that what the shop is built from is what was packed.
func (r *rehearsal) checkVersions(ctx context.Context) error {
	out, err := r.shop().output(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}} {{.Replace}}", "all")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if f[0] == "shop.example/shop" || !ours(f[0]) {
			continue
		}
		if f[1] != r.version || f[2] != "<nil>" {
			return fmt.Errorf("the shop is built from %s, want %s", strings.TrimSpace(line), r.version)
		}
		r.say("the shop requires %s %s", f[0], f[1])
	}
	return nil
}

// use tests and runs the shop, and the tool that its go.mod names.
func (r *rehearsal) use(ctx context.Context) error {
	for _, args := range [][]string{{"test", "./..."}, {"run", "."}, {"install", "tool"}} {
		out, err := r.shop().output(ctx, "go", args...)
		if err != nil {
			return err
		}
		r.say("the shop: go %s\n%s", strings.Join(args, " "), out)
	}
	return r.checkTool(ctx)
}

// install installs every program as somebody does who has no module at all. The go
// command asks which other modules might hold the program, so only folders answer.
func (r *rehearsal) install(ctx context.Context) error {
	env := append(slices.Clone(r.env), "GOPROXY="+r.folders)
	if err := os.RemoveAll(r.path("bin")); err != nil {
		return err
	}
	for _, m := range r.released {
		if path.Dir(m.dir) != "cmd" {
			continue
		}
		if _, err := (command{dir: r.dir, env: env}).output(ctx, "go", "install", m.path()+"@"+r.version); err != nil {
			return err
		}
		r.say("go install %s@%s", m.path(), r.version)
	}
	return r.checkTool(ctx)
}

// checkTool sees that the sessionctl that was installed knows its version.
func (r *rehearsal) checkTool(ctx context.Context) error {
	out, err := command{dir: r.dir}.output(ctx, r.path("bin/sessionctl"), "--version")
	if err != nil {
		return err
	}
	out = strings.TrimSpace(out)
	if want := "sessionctl version " + r.version; out != want {
		return fmt.Errorf("sessionctl --version: got %q, want %q", out, want)
	}
	r.say("sessionctl --version: %s", out)
	return nil
}
