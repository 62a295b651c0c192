// Package bed lets a program use what is made for tests: it is the testing.TB under which the real Redis servers and
// proxies of internal/redistest run.
package bed

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// Bed is a testing.TB outside a test. A failure ends the program with status 1, after the cleanups. Methods that it does
// not define panic.
type Bed struct {
	testing.TB // nil: only it may have the interface's unexported method

	mu       sync.Mutex
	cleanups []func()
}

// Helper does nothing.
func (b *Bed) Helper() {}

// Name returns the program's name.
func (b *Bed) Name() string { return "benchmarks" }

// Cleanup has Close call f.
func (b *Bed) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

// Close calls the cleanups, the last one first.
func (b *Bed) Close() {
	b.mu.Lock()
	cleanups := b.cleanups
	b.cleanups = nil
	b.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

// TempDir returns a new folder that Close removes.
func (b *Bed) TempDir() string {
	dir, err := os.MkdirTemp("", "redsession-benchmarks-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Log prints to standard error.
func (b *Bed) Log(args ...any) { fmt.Fprintln(os.Stderr, args...) }

// Logf prints to standard error.
func (b *Bed) Logf(format string, args ...any) { b.Log(fmt.Sprintf(format, args...)) }

// Error prints to standard error and goes on.
func (b *Bed) Error(args ...any) { b.Log(args...) }

// Errorf prints to standard error and goes on.
func (b *Bed) Errorf(format string, args ...any) { b.Logf(format, args...) }

// Fatal prints to standard error and ends the program.
func (b *Bed) Fatal(args ...any) {
	b.Log(args...)
	b.Close()
	os.Exit(1)
}

// Fatalf prints to standard error and ends the program.
func (b *Bed) Fatalf(format string, args ...any) { b.Fatal(fmt.Sprintf(format, args...)) }

// Skipf is Fatalf: without what a test would be skipped for, there is nothing to measure.
func (b *Bed) Skipf(format string, args ...any) { b.Fatalf(format, args...) }
