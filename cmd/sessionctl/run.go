package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v3"
)

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitStopped = 130 // what a shell reports of a program that Ctrl-C ended
)

// usageError is a command line that cannot be meant, and what to do about it.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSaid is a failure that has been shown already.
var errSaid = errors.New("failed")

// run is the whole program: it obeys args and returns the exit code. When ctx
// ends, it stops as by Ctrl-C.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	redis.SetLogger(silent{}) // what goes wrong is returned as an error, once
	c := newConsole(in, out, errs)
	root := newRoot(c)
	err := root.Run(ctx, append([]string{root.Name}, shieldIDs(args)...))
	return c.finish(ctx, err)
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// finish says what went wrong and returns the exit code.
func (c *console) finish(ctx context.Context, err error) int {
	var usage usageError
	var exit cli.ExitCoder
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(c.errs, "sessionctl: %s\n", usage)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(c.errs, "sessionctl: stopped")
		return exitStopped
	case errors.Is(err, errSaid):
		return exitFailed
	case errors.As(err, &exit):
		fmt.Fprintf(c.errs, "sessionctl: %s\n", err)
		return exit.ExitCode()
	}
	fmt.Fprintf(c.errs, "sessionctl: %s\n", explain(err, c.place))
	return exitFailed
}

const about = `Sees and ends the sessions that redsession keeps in Redis.

The Redis is named by --url, or else by REDSESSION_URL, which keeps a password
out of the list of processes:
   redis://user:password@host:6379/0           one server
   rediss://user:password@host:6380/0?ca=FILE  the same with TLS
   unix:///run/redis.sock?db=0                 by a unix socket
   redis+cluster://h1:6379,h2:6379             a cluster
   redis+sentinel://h1:26379,h2:26379/NAME/0   what sentinels watch

REDSESSION_PREFIX and REDSESSION_SECRETS (base64 or hex, comma-separated) are
read as the program itself reads them; only doctor, show and import use the
secrets. REDSESSION_URL_FILE and REDSESSION_SECRETS_FILE name files instead.

On a terminal, output is for people: it fits the width, and NO_COLOR turns
colours off. Elsewhere, it is for programs: tab-separated and uncut; with --json,
one JSON object a line, whose shape the help of each command gives. What goes
wrong is said on stderr, in words.

Exit code: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C.`

func newRoot(c *console) *cli.Command {
	root := &cli.Command{
		Name:        "sessionctl",
		Version:     version(),
		Usage:       "see, check and end the sessions of a running system",
		UsageText:   "sessionctl [--url URL] [--prefix P] [--json] COMMAND [options]",
		Description: about,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Usage: "the Redis that holds the sessions, instead of REDSESSION_URL"},
			&cli.StringFlag{Name: "prefix", Usage: "how keys begin, instead of REDSESSION_PREFIX (\"session:\" unless set)"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "how long to wait for one answer of Redis"},
		},
		Commands: commands(c),
		Reader:   c.in, Writer: c.out, ErrWriter: c.errs,
		EnableShellCompletion:           true,
		ConfigureShellCompletionCommand: func(cmd *cli.Command) { cmd.Hidden = false },
		Suggest:                         true,
		ExitErrHandler:                  func(context.Context, *cli.Command, error) {}, // finish does it
		Action: func(_ context.Context, cmd *cli.Command) error {
			if name := cmd.Args().First(); name != "" {
				return noCommand(cmd, name)
			}
			cmd.Writer = c.errs
			_ = cli.ShowRootCommandHelp(cmd)
			return usagef("which command?")
		},
	}
	root.OnUsageError = onUsageError
	for _, cmd := range root.Commands {
		cmd.OnUsageError = onUsageError
	}
	return root
}

// version returns the version of this program's module, as go install took it or
// as git names it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func hint(similar string) string {
	if similar == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", similar)
}

func noCommand(root *cli.Command, name string) error {
	return usagef("%q is no command%s: `sessionctl --help` lists them", name, hint(cli.SuggestCommand(root.Commands, name)))
}

// onUsageError says which flag is wrong, and where the right ones are listed.
func onUsageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	name := "sessionctl"
	if cmd.Root() != cmd {
		name += " " + cmd.Name
	} else if first := cmd.Args().First(); first != "" { // whose flags are not known
		return noCommand(cmd, first)
	}
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = fmt.Sprintf("there is no flag --%s%s", flag, hint(cli.SuggestFlag(slices.Concat(cmd.Flags, cmd.Root().Flags), flag, false)))
	}
	return usagef("%s: `%s --help` lists what there is", text, name)
}

// shieldIDs moves ids that begin with a dash behind a "--": one in 64 does, and
// must not be taken for a flag.
func shieldIDs(args []string) []string {
	if slices.Contains(args, "--") {
		return args
	}
	var rest, ids []string
	for i, arg := range args {
		if dashedID.MatchString(arg) && (i == 0 || !takesValue.MatchString(args[i-1])) {
			ids = append(ids, arg)
		} else {
			rest = append(rest, arg)
		}
	}
	if ids == nil {
		return args
	}
	return append(append(rest, "--"), ids...)
}

var (
	dashedID   = regexp.MustCompile(`^-[\w-]{31}$`)
	takesValue = regexp.MustCompile(`^--?(url|prefix|user|u)$`)
)
