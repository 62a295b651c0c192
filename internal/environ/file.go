package environ

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// FileSuffix makes of a variable's name that of one which names a file, as platforms mount
// secrets.
const FileSuffix = "_FILE"

// maxFile is more than any secrets take: a larger file was named by mistake.
const maxFile = 64 << 10

// textOrFile returns what a variable says, or the file that its neighbour with _FILE names, and
// what errors are to call it.
func textOrFile(name string) (text, source string, err error) {
	text, path := Text(name), Text(name+FileSuffix)
	switch {
	case path == "":
		return text, name, nil
	case text != "":
		return "", "", fmt.Errorf("%s and %s are both set: set one of them", name, name+FileSuffix)
	}
	text, err = readFile(path)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name+FileSuffix, err)
	}
	return text, name + FileSuffix + " (" + path + ")", nil
}

// readFile returns the text of a file without white space around it. Its errors name the file,
// unless the path may be a secret that was put in its place.
func readFile(path string) (string, error) {
	info, err := os.Stat(path) // a pipe that nobody writes to would hold up the program
	switch {
	case err != nil && !filepath.IsAbs(path):
		return "", errors.New("there is no such file; its path, which is not absolute, is not shown, as it may be what belongs into the file")
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxFile:
		return "", fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxFile:
		return "", fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(b), "\ufeff")) // some editors write a byte order mark
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}
