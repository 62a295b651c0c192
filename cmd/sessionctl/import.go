package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

const importHelp = `Copies sessions to where the servers look for them, and changes nothing where
they come from. REDSESSION_SECRETS must be the servers'. Nobody's browser notices
before the servers have Config.Adopt: docs/migrating.md has the whole way.

What is there already stays as it is, so it may run again at any time. What was
logged out or revoked here stays so, even with --force.

SOURCE and PLACE are one of:
   odoo DIR            Odoo's sessions, most often ~/.local/share/Odoo/sessions
   gorilla-files DIR   gorilla/sessions, FilesystemStore
   express-files DIR   express-session, session-file-store
   php-files DIR       PHP's session.save_path
   scs URL             alexedwards/scs in Redis
   redistore URL       gorilla, gin and echo in Redis
   connect-redis URL   express-session in Redis
   rbcervilla URL      gorilla with rbcervilla/redisstore
   php-redis URL       PHP with the extension phpredis
   odoo-redis URL      Odoo with camptocamp's session_redis
   flask-redis URL     Flask-Session in Redis
   django-redis URL    Django in a cache in Redis
Sessions inside cookies, and scs in SQL, are taken over by your program alone.
URL is the old Redis. REDSESSION_SOURCE_URL in its place keeps a password out of
the list of processes.

The file of --key-file has a key pair a line, newest first: the authentication
key and, behind a space, the encryption key if there is one. Each is written as
text:the-key-itself, hex:6b65... or base64:a2V5...; lines that begin with # are
left out.

Types that your program registers with gob.Register are not known here. The notes
name them; call importer.Run from your program then.

Examples:
   sessionctl import odoo /var/lib/odoo/sessions --dry-run
   sessionctl import odoo /var/lib/odoo/sessions
   sessionctl import php-files /var/lib/php/sessions --owner www-data --user-from user_id
   sessionctl import connect-redis redis://old:6379/0 --user-from passport.user
   sessionctl import gorilla-files /var/app --name sid --key-file keys --user-from user_id

Exit code 1 also if sessions failed that should have been copied.

JSON: {"found","imported","existing","ended","expired","skipped":{REASON:N},
"failed","notes":{TEXT:N},"dry_run","elapsed_ns"}; otherwise what, number and
meaning.`

func importCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "import", Category: "Sessions", Usage: "copy the sessions of another package or framework",
		UsageText:   "sessionctl import SOURCE PLACE [--force] [--dry-run] [options]",
		Description: importHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "overwrite what was imported before"},
			&cli.BoolFlag{Name: "dry-run", Usage: "read and count everything, write nothing"},
			&cli.IntFlag{Name: "rate", Usage: "read at most `N` sessions a second (0: no limit; without it Redis has half of its time for others)"},
			&cli.StringFlag{Name: "user-from", Usage: "which value names the user, as user_id or passport.user; without it nobody counts as logged in (odoo, odoo-redis and django-redis know it)"},
			&cli.StringFlag{Name: "label", Usage: "the Label of the source in the servers' Config.Adopt, if it has one"},
			&cli.BoolFlag{Name: "encrypt", Usage: "if the servers have Config.Encrypt"},
			&cli.IntFlag{Name: "max-bytes", Usage: "Config.MaxBytes, if the servers have one"},
			&cli.DurationFlag{Name: "lifetime", Usage: "life after the last use, where it is not stored (not scs)"},
			&cli.StringFlag{Name: "owner", Usage: "folders: read only files of this `USER` and root"},
			&cli.StringFlag{Name: "source-prefix", Usage: "Redis: how the old keys begin, if not as usual (scs:session:, session_, sess:, …); it may be empty"},
			&cli.StringFlag{Name: "extension", Usage: "express-files: the store's fileExtension, if it is not .json; it may be empty"},
			&cli.StringFlag{Name: "name", Usage: "gorilla-files: the session's name"},
			&cli.StringFlag{Name: "key-file", Usage: "gorilla-files: the store's key pairs, in a `FILE`"},
			&cli.BoolFlag{Name: "hashed-tokens", Usage: "scs: with HashTokenInStore"},
			&cli.BoolFlag{Name: "browser-session", Usage: "gorilla-files, redistore, rbcervilla, scs, django-redis: the old cookies end with the browser"},
			&cli.BoolFlag{Name: "persistent", Usage: "php-files, php-redis: the old cookies survive the browser"},
		},
		Action: c.importSessions,
	}
}

// importRate is the Rate of the import: 0 is said by leaving it out.
func importRate(cmd *cli.Command) int {
	if n := cmd.Int("rate"); n != 0 || !cmd.IsSet("rate") {
		return n
	}
	return -1
}

// importTimeout is for one batch. A tool may wait longer than a request.
const importTimeout = 10 * time.Second

func (c *console) importSessions(ctx context.Context, cmd *cli.Command) (err error) {
	t, err := c.prepare(cmd)
	if err != nil {
		return err
	}
	defer t.close()
	from, err := originOf(cmd)
	if err != nil {
		return err
	}
	defer from.close()
	cfg, err := importConfig(cmd, t)
	if err != nil {
		return err
	}
	if err = t.checkKind(ctx); err != nil {
		return err
	}
	if err = from.reach(ctx, t); err != nil {
		c.place = from.place
		return err
	}
	m, err := redsession.New(cfg)
	if err != nil {
		return usagef("%s", strings.TrimPrefix(firstLine(err), "Config."))
	}
	defer m.Close()
	report, err := c.runImport(ctx, m, from, importer.Options{Force: cmd.Bool("force"), DryRun: cmd.Bool("dry-run"), Rate: importRate(cmd)})
	if printErr := c.printReport(report, cmd.Bool("json")); printErr != nil {
		return printErr
	}
	return c.concludeImport(ctx, from, report, err)
}

// importConfig is that of the servers, as far as an import needs it.
func importConfig(cmd *cli.Command, t *target) (redsession.Config, error) {
	env := t.env
	switch {
	case len(env.Secrets) == 0:
		return env, usagef("set REDSESSION_SECRETS to the secrets of the servers: they refuse records that another has signed")
	case cmd.Int("rate") < 0:
		return env, usagef("--rate is %d, want sessions a second, or 0 for no limit", cmd.Int("rate"))
	case cmd.IsSet("max-bytes") && cmd.Int("max-bytes") <= 0:
		return env, usagef("--max-bytes is %d, want at least 1", cmd.Int("max-bytes"))
	}
	return redsession.Config{
		Client: t.client, Prefix: t.prefix, Secrets: env.Secrets, IdleTimeout: env.IdleTimeout, AbsoluteTimeout: env.AbsoluteTimeout,
		Encrypt: cmd.Bool("encrypt"), MaxBytes: cmd.Int("max-bytes"),
		RedisTimeout: max(importTimeout, cmd.Duration("timeout")), Logger: slog.New(slog.DiscardHandler),
	}, nil
}

// runImport imports, and shows on a terminal how far it is.
func (c *console) runImport(ctx context.Context, m *redsession.Manager, from *origin, o importer.Options) (importer.Report, error) {
	if !c.progress {
		return importer.Run(ctx, m, from.source, o)
	}
	total, err := c.estimate(ctx, from)
	if err != nil {
		return importer.Report{DryRun: o.DryRun}, err
	}
	what := "importing"
	if o.DryRun {
		what = "reading"
	}
	p := c.newProgress(what, int64(total))
	defer p.clear()
	seen := 0
	o.Progress = func(r importer.Report) {
		p.add(r.Found - seen)
		seen = r.Found
	}
	return importer.Run(ctx, m, from.source, o)
}

// estimate counts what lies there, which for a large folder takes a while. It is
// -1 if Redis does not tell.
func (c *console) estimate(ctx context.Context, from *origin) (int, error) {
	if from.old != nil {
		n, err := importer.Estimate(ctx, from.source)
		if err != nil || n == 0 { // DBSIZE may be forbidden, and SCAN allowed
			return -1, ctx.Err()
		}
		return n, nil
	}
	p := c.newProgress("looking", -1)
	defer p.clear()
	return importer.Estimate(ctx, watched{from.source, p})
}

// watched shows how many sessions of a source have been found.
type watched struct {
	importer.Source
	p *progress
}

func (w watched) Sessions(ctx context.Context) iter.Seq2[importer.Read, error] {
	return func(yield func(importer.Read, error) bool) {
		for read, err := range w.Source.Sessions(ctx) {
			w.p.add(1)
			if !yield(read, err) {
				return
			}
		}
	}
}

// concludeImport says what the report does not, and what to do next.
func (c *console) concludeImport(ctx context.Context, from *origin, r importer.Report, err error) error {
	switch {
	case ctx.Err() != nil:
		c.again(r)
		return ctx.Err()
	case err != nil:
		fmt.Fprintf(c.errs, "sessionctl: %s\n", c.explainImport(from, err))
		c.again(r)
		return errSaid
	case r.Imported+r.Existing+r.Ended+r.Failed == 0:
		c.note("no session to import was found in %s: is it the right place?", clean(from.place))
	case from.user != "" && !from.anybody.Load():
		c.note("no session names a user in --user-from %s: nobody is logged in by them", from.user)
	case from.user == "" && !from.kind.knowsUsers():
		c.note("nobody counts as logged in: --user-from says which value names the user, and --force changes what is imported already")
	}
	if r.Skipped[importer.UnknownType] > 0 {
		c.note("the types in the notes are your program's: call importer.Run from it, after gob.Register")
	}
	if r.Failed > 0 {
		c.note("sessionctl: %s failed; the notes say why", plural(r.Failed, "session"))
		return errSaid
	}
	return nil
}

func (c *console) again(r importer.Report) {
	if !r.DryRun {
		c.note("not complete: run it again; what is imported stays")
	}
}

// explainImport tells on which of the two sides it went wrong.
func (c *console) explainImport(from *origin, err error) string {
	switch {
	case errors.Is(err, redsession.ErrUnavailable):
		return explain(err, c.place)
	case from.old != nil:
		return explain(err, from.place)
	case errors.Is(err, fs.ErrPermission):
		return clean(from.place) + ": this user may not read the folder: run it as one who may, or with a copy made by cp -p"
	}
	return fmt.Sprintf("%s: %s", clean(from.place), firstLine(err))
}

// reportRows are what a report counts, in its order.
func reportRows(r importer.Report, number func(int) string) [][]string {
	imported := "imported"
	if r.DryRun {
		imported = "to import"
	}
	rows := [][]string{
		{"found", number(r.Found), fmt.Sprintf("in %s, %s a second", r.Elapsed.Round(time.Millisecond), number(int(float64(r.Found)/max(r.Elapsed.Seconds(), 1e-3))))},
		{imported, number(r.Imported), map[bool]string{true: "unless they are there already"}[r.DryRun]},
		{"existing", number(r.Existing), "imported before, left as they are"},
		{"ended", number(r.Ended), "logged out or revoked here since, left so"},
		{"expired", number(r.Expired), "over by the time that the old package gave them"},
		{"failed", number(r.Failed), "should have been imported; the notes say why"},
		{"skipped", number(r.SkippedTotal()), "for the reasons below"},
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
		rows = append(rows, []string{string(reason), number(r.Skipped[reason]), reasons[reason]})
	}
	return rows
}

var reasons = map[importer.Reason]string{
	importer.Temporary:   "left over by a writer that crashed",
	importer.Foreign:     "something else in the same place",
	importer.BadID:       "named as a session, with an id that the source never gives out",
	importer.Symlink:     "links are not followed",
	importer.NotOwned:    "files of another user than --owner",
	importer.Unreadable:  "without permission, or on a bad disk",
	importer.Vanished:    "deleted meanwhile",
	importer.Oversized:   "too large to be read",
	importer.Corrupt:     "cut off, or in another format",
	importer.Unsafe:      "with objects: building them could run code",
	importer.UnknownType: "with types of your program",
	importer.Unsupported: "with values that JSON cannot say",
	importer.Encrypted:   "by the old package, with a key that is not known here",
	importer.Unverified:  "signed with none of the keys, or for another --name",
	importer.Predecessor: "rotated away; the successor is imported",
	importer.HalfOpen:    "password given, second factor missing",
	importer.Empty:       "nobody logged in, and no values",
}

// printReport prints the counts, and the notes in full below them.
func (c *console) printReport(r importer.Report, asJSON bool) error {
	if asJSON {
		return c.printJSON(r)
	}
	number := strconv.Itoa
	if c.width > 0 {
		number = func(n int) string { return humanize.Comma(int64(n)) }
	}
	rows := reportRows(r, number)
	if c.width > 0 {
		for _, row := range rows[len(rows)-len(r.Skipped):] {
			row[0] = "  " + row[0]
		}
	}
	g := grid{c: c, columns: []column{{head: "SESSIONS"}, {head: "NUMBER", right: true}, {head: "MEANING", least: 20, rank: 1}}}
	if err := g.page(rows); err != nil {
		return err
	}
	for _, text := range slices.Sorted(maps.Keys(r.Notes)) {
		line := fmt.Sprintf("note\t%d\t%s", r.Notes[text], clean(text))
		if c.width > 0 {
			line = fmt.Sprintf("note: %s × %s", number(r.Notes[text]), clean(text))
		}
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	return nil
}
