package main

import (
	"context"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// info is what a module proxy tells of a version.
type info struct {
	Version string
	Time    time.Time
}

// publish packs the module, as its tag has it, into a folder that can be used as
// GOPROXY, and returns the size of the zip file.
func (m ourModule) publish(ctx context.Context, root, version, proxy string) (int64, error) {
	tag := m.tag(version)
	committed, err := command{dir: root}.output(ctx, "git", "log", "-1", "--format=%cI", tag)
	if err != nil {
		return 0, err
	}
	when, err := time.Parse(time.RFC3339, strings.TrimSpace(committed))
	if err != nil {
		return 0, err
	}
	about, err := json.Marshal(info{version, when.UTC()})
	if err != nil {
		return 0, err
	}
	mod, err := command{dir: root}.output(ctx, "git", "cat-file", "blob", tag+":"+path.Join(m.dir, "go.mod"))
	if err != nil {
		return 0, err
	}
	escaped, err := module.EscapePath(m.path())
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	for name, content := range map[string]string{
		"list": version + "\n", version + ".info": string(about), version + ".mod": mod,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return 0, err
		}
	}
	return m.pack(root, version, filepath.Join(dir, version+".zip"))
}

func (m ourModule) pack(root, version, file string) (size int64, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	subdir := m.dir
	if subdir == "." {
		subdir = ""
	}
	v := module.Version{Path: m.path(), Version: version}
	if err := zip.CreateFromVCS(f, v, root, m.tag(version), subdir); err != nil {
		return 0, err
	}
	stat, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return stat.Size(), f.Close()
}
