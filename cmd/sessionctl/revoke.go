package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession"
)

func revokeCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "revoke", Category: "Sessions", Usage: "end one session, one user's, or all",
		UsageText: "sessionctl revoke ID | --user U | --all [--yes]",
		Description: `Ends sessions at once and prints how many. Whoever had one is logged out with
the next request. A session that is just rotating does not escape. That there was
nothing to end is no error.

--all asks before it ends every session under the prefix; --yes answers for
scripts, without which it refuses where nobody can be asked.

Examples:
   sessionctl revoke 5Dk3Zc0mV9y1rJq7wXoT2bLhNfGaEsUp
   sessionctl revoke --user alice
   sessionctl revoke --all --prefix staging:
   sessionctl list --json | jq -r 'select(.remote_addr == "203.0.113.7") | .id' |
      xargs -n1 sessionctl revoke --

JSON: {"revoked"}`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "end every session of this user"},
			&cli.BoolFlag{Name: "all", Usage: "end every session of everybody"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error { return c.revoke(ctx, cmd) },
	}
}

func (c *console) revoke(ctx context.Context, cmd *cli.Command) error {
	id, err := c.checkRevoke(cmd)
	if err != nil {
		return err
	}
	t, err := c.open(ctx, cmd)
	if err != nil {
		return err
	}
	defer t.close()
	n := 0
	t.ended = func(redsession.Event) { n++ }
	switch {
	case cmd.Bool("all"):
		err = c.revokeAll(ctx, t, cmd.Bool("yes"), &n)
	case cmd.IsSet("user"):
		_, err = t.admin.RevokeUser(ctx, cmd.String("user"))
	default:
		err = t.admin.Revoke(ctx, id)
	}
	if errors.Is(err, errNo) {
		c.note("nothing was revoked")
		return errSaid
	}
	if err != nil {
		if n > 0 {
			c.note("%s revoked before this; the others live on", plural(n, "session"))
		}
		return err
	}
	if cmd.Bool("json") {
		return c.printJSON(map[string]int{"revoked": n})
	}
	if _, err = fmt.Fprintln(c.out, plural(n, "session")+" revoked"); n == 0 {
		c.note("nothing was there under the prefix %q: it had ended already, or the prefix is another", t.prefix)
	}
	return err
}

// checkRevoke returns the id, if one was given, and refuses anything from which
// it is not clear what to end.
func (c *console) checkRevoke(cmd *cli.Command) (id string, err error) {
	ways := 0
	for _, given := range []bool{cmd.Args().Present(), cmd.IsSet("user"), cmd.Bool("all")} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return "", usagef("end which sessions? sessionctl revoke ID, revoke --user U, or revoke --all")
	case ways > 1:
		return "", usagef("ID, --user and --all exclude each other: give one of them")
	case cmd.IsSet("user") && cmd.String("user") == "":
		return "", usagef("--user is empty: whose sessions?")
	case cmd.Bool("yes") && !cmd.Bool("all"):
		return "", usagef("--yes goes with --all: nothing else asks")
	case cmd.Bool("all") && !cmd.Bool("yes") && !c.asks:
		return "", usagef("--all ends every session, and there is no terminal to ask on: add --yes if that is meant")
	case cmd.Args().Present():
		return idArgument(cmd)
	}
	return "", nil
}

// errNo is that somebody was asked and did not say yes.
var errNo = errors.New("not confirmed")

func (c *console) revokeAll(ctx context.Context, t *target, yes bool, n *int) error {
	total := int64(-1)
	if !yes {
		sessions, err := c.count(ctx, t)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "This ends %s under the prefix %q at %s.\nEverybody is logged out. Type yes to go on: ", plural(sessions, "session"), t.prefix, c.place)
		if answer, err := c.readLine(ctx); err != nil || answer != "yes" {
			return errors.Join(errNo, err)
		}
		total = int64(sessions)
	}
	p := c.newProgress("revoking", total)
	defer p.clear()
	t.scanned = nil
	t.ended = func(redsession.Event) { *n++; p.add(1) }
	_, err := t.admin.RevokeAll(ctx)
	return err
}

// readLine waits for a line of in, or for the end of ctx.
func (c *console) readLine(ctx context.Context) (string, error) {
	answer := make(chan string, 1)
	go func() { // ends with the program, if nobody answers
		line, _ := bufio.NewReader(c.in).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case line := <-answer:
		return line, nil
	case <-ctx.Done():
		fmt.Fprintln(c.errs)
		return "", ctx.Err()
	}
}
