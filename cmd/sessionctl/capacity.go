package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession/cmd/sessionctl/internal/capacity"
)

const capacityHelp = `Fills a Redis as fast as it takes it, with the records that the library writes,
and measures its memory at each step. Says how linear the growth is, what more
sessions will need, and what the same sessions would take as files.

Without --url it starts a redis-server of its own, which keeps nothing on disk and
is gone afterwards. REDSESSION_URL is not read: the system's own Redis is filled
only when --url names it, and when it is empty or --yes is given. Only what was
written is deleted again.

Each session is a login of another user, with an entry in that user's index.
Ctrl-C stops and shows what was measured so far. The result is the same on a
terminal and elsewhere; programs read --json or --csv.

Examples:
   sessionctl capacity
   sessionctl capacity --sessions 100k,500k,1m,2m,4m,8m --out capacity.svg --csv capacity.csv
   sessionctl capacity --sessions 1m --value-bytes 4000 --forecast 5m,20m
   sessionctl --url redis://test:6379/0 capacity --sessions 1m

JSON: {"redis_version", "value_bytes", "record_bytes", "anonymous",
"index", "used_memory_before", "used_memory_rss_before", "steps": [{"sessions",
"used_memory", "used_memory_rss", "bytes_per_session", "seconds",
"sessions_per_second", "file_bytes"}], "line": {"base_bytes", "bytes_per_session",
"r_squared", "largest_deviation_percent", "deviates_at_sessions"}, "forecast":
[{"sessions", "used_memory", "used_memory_rss", "file_bytes"}],
"file_bytes_per_session", "inode_bytes_per_session", "total_fill_seconds"}`

func capacityCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "capacity", Category: "Redis", Usage: "measure how much memory how many sessions take",
		UsageText:   "sessionctl capacity [--sessions 100k,1m,8m] [--value-bytes N] [--out FILE.svg] [options]",
		Description: capacityHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sessions", Value: "100k,200k,500k,1m", Usage: "numbers of sessions to measure at"},
			&cli.StringFlag{Name: "forecast", Value: "2m,4m,8m,16m,32m", Usage: "numbers of sessions to say the memory for; those that were measured are left out"},
			&cli.IntFlag{Name: "value-bytes", Value: 300, Usage: "JSON data in each session"},
			&cli.BoolFlag{Name: "index", Value: true, Usage: "with the entries in the users' index"},
			&cli.BoolFlag{Name: "anonymous", Usage: "sessions that nobody has logged in to"},
			&cli.StringFlag{Name: "out", Usage: "draw a chart into `FILE`.svg or .png"},
			&cli.StringFlag{Name: "csv", Usage: "write the table into `FILE` too"},
			&cli.BoolFlag{Name: "yes", Usage: "fill a Redis that is not empty, or more than seems to fit"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the sessions in the Redis of --url"},
		},
		Action: c.capacity,
	}
}

func (c *console) capacity(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	o := capacity.Options{
		Prefix: defaultPrefix, ValueBytes: cmd.Int("value-bytes"), NoIndex: !cmd.Bool("index"), Anonymous: cmd.Bool("anonymous"),
		Out: cmd.String("out"), CSV: cmd.String("csv"), JSON: cmd.Bool("json"), Yes: cmd.Bool("yes"), Keep: cmd.Bool("keep"),
		Stdout: c.out, Stderr: c.errs, Terminal: c.progress,
	}
	c.place = "temporary Redis"
	if cmd.IsSet("url") {
		o.URL = cmd.String("url")
		c.place = placeOf(o.URL)
	}
	if cmd.IsSet("prefix") {
		if o.Prefix = cmd.String("prefix"); o.Prefix == "" {
			return usagef("--prefix is empty: leave it out for %q", defaultPrefix)
		}
	}
	var err error
	if o.Steps, err = capacity.ParseCounts(cmd.String("sessions")); err != nil {
		return usagef("--sessions: %w", err)
	}
	if text := cmd.String("forecast"); text != "" {
		if o.Forecast, err = capacity.ParseCounts(text); err != nil {
			return usagef("--forecast: %w", err)
		}
	}
	if err = capacity.Run(ctx, o); errors.Is(err, capacity.ErrUsage) {
		return usagef("%w", err)
	}
	return err
}
