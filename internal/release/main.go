// Command release prepares a release of all modules of the repository, and
// rehearses one. docs/releasing.md tells the rest.
//
//	go run ./internal/release prepare v0.1.0
//	go run ./internal/release check
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/mod/semver"
)

const usage = `usage: release prepare VERSION   change go.mod and go.sum of every module for a release
       release check [VERSION]   rehearse it from the last commit, in a folder of its own`

// rehearsed is the version that is rehearsed if none is named.
const rehearsed = "v0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	version := rehearsed
	if len(args) == 2 {
		version = args[1]
	}
	switch {
	case len(args) == 0 || len(args) > 2:
		return errors.New(usage)
	case semver.Canonical(version) != version:
		return fmt.Errorf("%q is no version: it has the form v0.1.0", version)
	}
	out, err := command{dir: "."}.output(ctx, "git", "rev-parse", "--show-toplevel")
	root := strings.TrimSpace(out)
	switch {
	case err != nil:
		return err
	case args[0] == "check":
		return check(ctx, root, version)
	case args[0] == "prepare" && len(args) == 2:
		return prepare(ctx, root, version)
	}
	return errors.New(usage)
}
