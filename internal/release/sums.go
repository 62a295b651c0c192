package main

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// sum is a line of go.sum.
type sum struct {
	version module.Version // of a whole module, or with /go.mod behind it
	hash    string
}

// sums returns what go.sum says of the module as it lies in the working tree.
func (m ourModule) sums(ctx context.Context, root, version string) ([]sum, error) {
	files, err := m.files(ctx, root)
	if err != nil {
		return nil, err
	}
	checked, err := zip.CheckFiles(files)
	if err != nil {
		return nil, err
	}
	open := map[string]zip.File{}
	for _, f := range files {
		open[f.Path()] = f
	}
	prefix := m.path() + "@" + version + "/"
	var names []string
	for _, name := range checked.Valid {
		names = append(names, prefix+name)
	}
	whole, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		return open[strings.TrimPrefix(name, prefix)].Open()
	})
	if err != nil {
		return nil, err
	}
	mod, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return open["go.mod"].Open() })
	if err != nil {
		return nil, err
	}
	return []sum{
		{module.Version{Path: m.path(), Version: version}, whole},
		{module.Version{Path: m.path(), Version: version + "/go.mod"}, mod},
	}, nil
}

// files returns what git tracks below the module's folder. zip.CheckFiles leaves
// out those of other modules. The repository's license is every module's.
func (m ourModule) files(ctx context.Context, root string) ([]zip.File, error) {
	out, err := command{dir: root}.output(ctx, "git", "ls-files", "-z", "--", m.dir)
	if err != nil {
		return nil, err
	}
	var list []zip.File
	licensed := false
	for name := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		f := tracked{name: strings.TrimPrefix(name, m.dir+"/"), path: filepath.Join(root, filepath.FromSlash(name))}
		licensed = licensed || f.name == "LICENSE"
		list = append(list, f)
	}
	if !licensed {
		list = append(list, tracked{"LICENSE", filepath.Join(root, "LICENSE")})
	}
	return list, nil
}

// tracked is a file of the working tree, as zip.CheckFiles wants it.
type tracked struct {
	name string // from the module's folder, by slashes
	path string
}

func (f tracked) Path() string                 { return path.Clean(f.name) }
func (f tracked) Lstat() (fs.FileInfo, error)  { return os.Lstat(f.path) }
func (f tracked) Open() (io.ReadCloser, error) { return os.Open(f.path) }

// addSums makes sums the lines of a go.sum about our modules, and leaves the
// others, in the order of go mod tidy.
func addSums(file string, sums []sum) error {
	if len(sums) == 0 {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := map[module.Version]string{}
	for line := range strings.Lines(string(content)) {
		if f := strings.Fields(line); len(f) == 3 && !ours(f[0]) {
			lines[module.Version{Path: f[0], Version: f[1]}] = f[2]
		}
	}
	for _, s := range sums {
		lines[s.version] = s.hash
	}
	var order []module.Version
	for v := range lines {
		order = append(order, v)
	}
	module.Sort(order)
	var merged strings.Builder
	for _, v := range order {
		merged.WriteString(v.Path + " " + v.Version + " " + lines[v] + "\n")
	}
	return os.WriteFile(file, []byte(merged.String()), 0o644)
}
