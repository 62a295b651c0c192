package main

import (
	"bufio"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession"
)

// sessionLine is one session in JSON.
type sessionLine struct {
	ID         string `json:"id"`
	User       string `json:"user"`
	RemoteAddr string `json:"remote_addr"`
	UserAgent  string `json:"user_agent"`
	CreatedAt  string `json:"created_at"`
	AuthTime   string `json:"auth_time,omitempty"`
	LastSeen   string `json:"last_seen"`
	ExpiresAt  string `json:"expires_at"`
	TTLSeconds int64  `json:"ttl_seconds"`
	Bytes      int    `json:"bytes"`
	Bound      bool   `json:"device_bound,omitempty"`
	Label      string `json:"label,omitempty"`
	Level      int    `json:"level,omitempty"`
	Actor      string `json:"actor,omitempty"`
}

func lineOf(i redsession.Info) sessionLine {
	return sessionLine{
		ID: i.ID, User: i.UserID, RemoteAddr: i.RemoteAddr, UserAgent: i.UserAgent,
		CreatedAt: stamp(i.CreatedAt), AuthTime: stamp(i.AuthTime), LastSeen: stamp(i.LastSeen), ExpiresAt: stamp(i.ExpiresAt),
		TTLSeconds: int64(i.TTL / time.Second), Bytes: i.Bytes,
		Bound: i.DeviceBound, Label: i.Label, Level: i.Level, Actor: i.ActorID,
	}
}

func listCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "list", Category: "Sessions", Usage: "list sessions, all or one user's",
		UsageText: "sessionctl list [--user U] [--limit N]",
		Description: `Lists the sessions under the prefix, by SCAN, on every master and in no order;
with --user that user's logins, the latest first. It prints as it finds, and
stops reading at the limit. ID names a session for show, ttl and revoke; nobody
can use it as a cookie. USER is empty where nobody has logged in, and ACTOR where
nobody acts as the user. On a terminal, columns that do not fit are left out.

Examples:
   sessionctl list --limit 20
   sessionctl list --user alice
   sessionctl list | cut -f2 | sort | uniq -c | sort -rn | head
   sessionctl list --json | jq -r 'select(.bytes > 10000) | .id'

Elsewhere than on a terminal, one session a line, tab-separated: id, user, last
seen, created, expires, remote address, bytes, user agent, label, level, actor.

JSON, one object a line: {"id","user","remote_addr","user_agent","created_at",
"auth_time","last_seen","expires_at","ttl_seconds","bytes","device_bound",
"label","level","actor"}`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "only the sessions of this user"},
			&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Usage: "stop after so many sessions (0: all)"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error { return c.list(ctx, cmd) },
	}
}

func (c *console) list(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	limit, user := cmd.Int("limit"), cmd.String("user")
	if limit < 0 {
		return usagef("--limit is %d, want 0 for all sessions, or more", limit)
	}
	if cmd.IsSet("user") && user == "" {
		return usagef("--user is empty: whose sessions? Leave it out to list all")
	}
	t, err := c.open(ctx, cmd)
	if err != nil {
		return err
	}
	defer t.close()
	l := newLister(c, cmd.Bool("json"), limit)
	if user != "" {
		err = l.ofUser(ctx, t, user)
	} else {
		err = l.all(ctx, t)
	}
	l.flush()
	switch {
	case ctx.Err() != nil:
		c.note("the list is not complete: %s shown", plural(l.n, "session"))
	case err == nil && l.n == 0 && c.width > 0 && !l.json:
		c.note("no sessions%s under the prefix %q", ofUser(user), t.prefix)
	case err == nil && l.full() && c.width > 0:
		c.note("stopped at the limit: there may be more")
	}
	return errors.Join(err, l.err)
}

func ofUser(user string) string {
	if user == "" {
		return ""
	}
	return " of " + clean(user)
}

// Rows are written so many at once, and at the latest after so long.
const (
	listPage = 200
	listWait = time.Second
)

// lister prints sessions page by page.
type lister struct {
	c     *console
	json  bool
	limit int // 0 is none
	grid  grid
	rows  [][]string
	out   *bufio.Writer // of JSON
	n     int
	now   time.Time
	wrote time.Time
	err   error // of writing
}

func newLister(c *console, json bool, limit int) *lister {
	now := time.Now()
	return &lister{c: c, json: json, limit: limit, now: now, wrote: now, out: bufio.NewWriterSize(c.out, 64<<10), grid: grid{c: c, columns: []column{
		{head: "ID"},
		{head: "USER", least: 8},
		{head: "LAST SEEN"},
		{head: "CREATED", rank: 2},
		{head: "EXPIRES IN", rank: 1},
		{head: "REMOTE", rank: 4, least: 9},
		{head: "BYTES", rank: 3, right: true},
		{head: "AGENT", rank: 5, least: 12},
		{head: "LABEL", rank: 6, least: 8},
		{head: "LEVEL", rank: 8, right: true},
		{head: "ACTOR", rank: 7, least: 8},
	}}}
}

func (l *lister) ofUser(ctx context.Context, t *target, user string) error {
	infos, err := t.admin.Sessions(ctx, user)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if !l.add(i) {
			break
		}
	}
	return nil
}

func (l *lister) all(ctx context.Context, t *target) error {
	if l.c.width == 0 { // a bar would stand among the rows
		p := l.c.scanProgress(ctx, t, "listing")
		defer p.clear()
	}
	for i, err := range t.admin.All(ctx) {
		if err != nil {
			return err
		}
		if !l.add(i) {
			break
		}
	}
	return nil
}

// add prints a session and tells whether there may be another.
func (l *lister) add(i redsession.Info) bool {
	l.n++
	if l.json {
		l.err = writeJSON(l.out, lineOf(i))
	} else {
		l.rows = append(l.rows, l.row(i))
	}
	if l.err == nil && (len(l.rows) >= listPage || time.Since(l.wrote) > listWait) {
		l.flush()
	}
	return l.err == nil && !l.full()
}

func (l *lister) full() bool { return l.limit > 0 && l.n == l.limit }

func (l *lister) row(i redsession.Info) []string {
	if l.c.width == 0 {
		return []string{
			i.ID, clean(i.UserID), stamp(i.LastSeen), stamp(i.CreatedAt), stamp(i.ExpiresAt),
			clean(i.RemoteAddr), strconv.Itoa(i.Bytes), clean(i.UserAgent), clean(i.Label), level(i.Level), clean(i.ActorID),
		}
	}
	return []string{
		i.ID, clean(i.UserID), roughly(l.now.Sub(i.LastSeen)) + " ago", roughly(l.now.Sub(i.CreatedAt)) + " ago", roughly(i.TTL),
		clean(i.RemoteAddr), humanize.Comma(int64(i.Bytes)), clean(i.UserAgent), clean(i.Label), level(i.Level), clean(i.ActorID),
	}
}

// level is empty for none.
func level(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// flush writes whole rows.
func (l *lister) flush() {
	if err := errors.Join(l.grid.page(l.rows), l.out.Flush()); l.err == nil {
		l.err = err
	}
	l.rows, l.wrote = nil, time.Now()
}
