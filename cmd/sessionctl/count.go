package main

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"
)

func countCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "count", Category: "Sessions", Usage: "count the sessions",
		UsageText: "sessionctl count",
		Description: `Counts the sessions under the prefix on every master, by SCAN, which does not
block Redis. Traces of rotated and ended sessions are not counted.

Examples:
   sessionctl count
   sessionctl count --prefix staging:
   sessionctl count --json | jq .sessions

JSON: {"sessions"}`,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			t, err := c.open(ctx, cmd)
			if err != nil {
				return err
			}
			defer t.close()
			n, err := c.count(ctx, t)
			switch {
			case err != nil:
				return err
			case cmd.Bool("json"):
				return c.printJSON(map[string]int{"sessions": n})
			case c.width > 0:
				_, err = fmt.Fprintln(c.out, humanize.Comma(int64(n)))
			default:
				_, err = fmt.Fprintln(c.out, n)
			}
			return err
		},
	}
}

// count counts the sessions, with a sign of life.
func (c *console) count(ctx context.Context, t *target) (int, error) {
	p := c.scanProgress(ctx, t, "counting")
	defer p.clear()
	return t.admin.Count(ctx)
}

// scanProgress shows how many of all keys t's next scan has visited.
func (c *console) scanProgress(ctx context.Context, t *target, what string) *progress {
	p := c.newProgress(what, c.howMany(ctx, t, 0))
	t.scanned = p.add
	return p
}

// howMany is how many keys a scan is going to visit, at most limit if that is
// not 0, and -1 if nobody knows.
func (c *console) howMany(ctx context.Context, t *target, limit int) int64 {
	if !c.progress {
		return -1
	}
	n, err := t.client.DBSize(ctx).Result()
	switch {
	case err != nil || n == 0:
		return -1
	case limit > 0:
		return min(n, int64(limit))
	}
	return n
}
