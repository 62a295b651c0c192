package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"
)

func ttlCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "ttl", Category: "Sessions", Usage: "say how long a session lives if no request comes",
		UsageText: "sessionctl ttl ID",
		Description: `Prints the seconds until a session expires if no request comes; on a terminal
also in words. Every request starts the idle timeout again, up to the absolute one.

Examples:
   sessionctl ttl 5Dk3Zc0mV9y1rJq7wXoT2bLhNfGaEsUp
   [ "$(sessionctl ttl "$id")" -gt 60 ] && echo "still there"

JSON: {"id","ttl_seconds","expires_at"}`,
		Action: func(ctx context.Context, cmd *cli.Command) error { return c.ttl(ctx, cmd) },
	}
}

func (c *console) ttl(ctx context.Context, cmd *cli.Command) error {
	id, t, err := c.openID(ctx, cmd)
	if err != nil {
		return err
	}
	defer t.close()
	found, err := t.fetch(ctx, id)
	if err != nil {
		return err
	}
	if found.ttl < 0 {
		return fmt.Errorf("session %s has no TTL and never expires, which redsession does not do: `sessionctl revoke` ends it", id)
	}
	seconds, until := int64(found.ttl/time.Second), time.Now().Add(found.ttl)
	switch {
	case cmd.Bool("json"):
		return c.printJSON(struct {
			ID        string `json:"id"`
			Seconds   int64  `json:"ttl_seconds"`
			ExpiresAt string `json:"expires_at"`
		}{id, seconds, stamp(until)})
	case c.width > 0:
		_, err = fmt.Fprintf(c.out, "%d  (%s, until %s)\n", seconds, span(found.ttl), stamp(until))
	default:
		_, err = fmt.Fprintln(c.out, seconds)
	}
	return err
}
