package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/redsession/redsession"
)

// layout is how a source names its files and what is in them.
type layout interface {
	// enter tells whether sessions may lie in this folder below the first one.
	enter(dir string) bool
	// id returns the id of the session that lies in a file, or why none does.
	id(file string) (string, Reason)
	// files returns where a session may lie, and nothing for what is no id.
	files(id string) []string
	// decode returns the session in a file that was last written at that time.
	decode(id string, data []byte, written time.Time) (redsession.LegacyRecord, []string, error)
	maxBytes() int
	owner() int
}

// chunk is how many names of a folder are read at a time: millions may lie in one.
const chunk = 256

// files walks over dir. No link is followed, and no name leads out of dir.
func files(ctx context.Context, dir string, l layout) iter.Seq2[Read, error] {
	return func(yield func(Read, error) bool) {
		// The reads outlive the walk. The garbage collector closes root after the last
		// of them.
		root, err := os.OpenRoot(dir)
		if err != nil {
			yield(nil, fmt.Errorf("opening the session folder: %w", err))
			return
		}
		w := walk{ctx: ctx, root: root, layout: l, yield: yield}
		if err := w.folder("."); err != nil {
			yield(nil, fmt.Errorf("reading the session folder: %w", err))
		}
	}
}

type walk struct {
	ctx     context.Context
	root    *os.Root
	layout  layout
	yield   func(Read, error) bool
	stopped bool
}

// folder walks over one folder. Only the first one must be readable.
func (w *walk) folder(dir string) error {
	f, err := w.root.Open(dir)
	if err != nil {
		return w.denied(dir, err)
	}
	defer f.Close()
	for !w.stopped {
		entries, err := f.ReadDir(chunk)
		for _, e := range entries {
			if w.ctx.Err() != nil || w.stopped {
				return nil
			}
			if err := w.entry(path.Join(dir, e.Name()), e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return w.denied(dir, err)
		}
	}
	return nil
}

func (w *walk) denied(dir string, err error) error {
	if dir == "." {
		return err
	}
	w.found(skipping(reasonOf(err)))
	return nil
}

func (w *walk) entry(file string, e fs.DirEntry) error {
	switch {
	case e.IsDir() && w.layout.enter(file):
		return w.folder(file)
	case e.Type()&fs.ModeSymlink != 0:
		w.found(skipping(Symlink))
	case !e.Type().IsRegular():
		w.found(skipping(Foreign))
	default:
		w.found(reading(w.root, w.layout, file))
	}
	return nil
}

func (w *walk) found(r Read) {
	if !w.stopped {
		w.stopped = !w.yield(r, nil)
	}
}

func skipping(r Reason) Read {
	return func() (redsession.LegacyRecord, []string, error) { return redsession.LegacyRecord{}, nil, skip(r) }
}

// reading reads one file of the folder.
func reading(root *os.Root, l layout, file string) Read {
	return func() (rec redsession.LegacyRecord, notes []string, err error) {
		id, reason := l.id(file)
		if reason != "" {
			return rec, nil, skip(reason)
		}
		data, written, err := readFile(root, file, l)
		if err != nil {
			return rec, nil, err
		}
		return l.decode(id, data, written)
	}
}

// readFile reads a regular file within the limits of l.
func readFile(root *os.Root, file string, l layout) (data []byte, written time.Time, err error) {
	info, err := root.Lstat(file)
	switch {
	case err != nil:
		return nil, written, unreadable(err)
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, written, skip(Symlink)
	case !info.Mode().IsRegular():
		return nil, written, skip(Foreign)
	}
	// A pipe that was put in the file's place meanwhile must not hold us up.
	f, err := root.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, written, unreadable(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, written, unreadable(err)
	}
	if uid, known := ownerOf(info); known && l.owner() != 0 && uid != l.owner() && uid != 0 {
		return nil, written, skip(NotOwned)
	}
	if info.Size() > int64(l.maxBytes()) {
		return nil, written, skip(Oversized)
	}
	data = make([]byte, info.Size())
	n, err := io.ReadFull(f, data) // what a writer adds meanwhile is not read
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, written, unreadable(err)
	}
	return data[:n], info.ModTime(), nil
}

func unreadable(err error) error {
	skipped := &Skipped{Reason: reasonOf(err)}
	var pathErr *fs.PathError
	if skipped.Reason == Unreadable && errors.As(err, &pathErr) {
		skipped.Err = pathErr.Err // without the path, which is the id of a session
	}
	return skipped
}

func reasonOf(err error) Reason {
	if errors.Is(err, fs.ErrNotExist) {
		return Vanished
	}
	return Unreadable
}

// adoptFiles completes legacy, whose sessions lie in dir.
func adoptFiles(dir string, l layout, legacy redsession.Legacy) redsession.Legacy {
	legacy.Load = func(_ context.Context, id string) (*redsession.LegacyRecord, error) { return loadFile(dir, l, id) }
	legacy.Delete = func(_ context.Context, id string) error { return deleteFile(dir, l, id) }
	return legacy
}

// loadFile reads the session id from the first of its files that exists.
func loadFile(dir string, l layout, id string) (*redsession.LegacyRecord, error) {
	candidates := l.files(id)
	if candidates == nil {
		return nil, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the session folder: %w", withoutPath(err))
	}
	defer root.Close()
	for _, file := range candidates {
		rec, _, err := reading(root, l, file)()
		if reason(err) == Vanished {
			continue
		}
		if err == nil && rec.ID != id {
			return nil, nil
		}
		return live(rec, err)
	}
	return nil, nil
}

// deleteFile removes what loadFile reads.
func deleteFile(dir string, l layout, id string) error {
	candidates := l.files(id)
	if candidates == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the session folder: %w", withoutPath(err))
	}
	defer root.Close()
	for _, file := range candidates {
		if err := root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a session file: %w", withoutPath(err))
		}
	}
	return nil
}

func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
