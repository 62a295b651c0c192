package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
	"github.com/redsession/redsession/importer"
	"github.com/redsession/redsession/internal/redisurl"
)

// kind is one of the sources that import knows.
type kind struct {
	name   string
	prefix string   // of the keys, unless --source-prefix says otherwise; "" for a folder
	flags  []string // that not every source takes
	open   func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error)
}

var kinds = []kind{
	{"odoo", "", []string{"lifetime", "owner"}, func(_ *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.Odoo(o.place)
		return s, &s.Common, nil
	}},
	{"gorilla-files", "", []string{"lifetime", "owner", "user-from", "name", "key-file", "browser-session"}, openGorilla},
	{"express-files", "", []string{"lifetime", "owner", "user-from", "extension"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.ExpressFiles(o.place)
		if s.Extension = cmd.String("extension"); cmd.IsSet("extension") && s.Extension == "" {
			s.Extension = importer.None
		}
		return s, &s.Common, nil
	}},
	{"php-files", "", []string{"lifetime", "owner", "user-from", "persistent"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.PHPFiles(o.place)
		s.Persistent = cmd.Bool("persistent")
		return s, &s.Common, nil
	}},
	{"scs", "scs:session:", []string{"source-prefix", "user-from", "hashed-tokens", "browser-session"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.SCS(o.old.client, o.prefix)
		s.HashedTokens, s.BrowserSession = cmd.Bool("hashed-tokens"), cmd.Bool("browser-session")
		return s, &s.Common, nil
	}},
	{"redistore", "session_", []string{"lifetime", "source-prefix", "user-from", "browser-session"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.Redistore(o.old.client, o.prefix)
		s.BrowserSession = cmd.Bool("browser-session")
		return s, &s.Common, nil
	}},
	{"connect-redis", "sess:", []string{"lifetime", "source-prefix", "user-from"}, func(_ *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.ConnectRedis(o.old.client, o.prefix)
		return s, &s.Common, nil
	}},
	{"rbcervilla", "session:", []string{"lifetime", "source-prefix", "user-from", "browser-session"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.Rbcervilla(o.old.client, o.prefix)
		s.BrowserSession = cmd.Bool("browser-session")
		return s, &s.Common, nil
	}},
	{"php-redis", "PHPREDIS_SESSION:", []string{"lifetime", "source-prefix", "user-from", "persistent"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.PHPRedis(o.old.client, o.prefix)
		s.Persistent = cmd.Bool("persistent")
		return s, &s.Common, nil
	}},
	{"odoo-redis", "session:", []string{"lifetime", "source-prefix"}, func(_ *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.OdooRedis(o.old.client, o.prefix)
		return s, &s.Common, nil
	}},
	{"flask-redis", "session:", []string{"lifetime", "source-prefix", "user-from"}, func(_ *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.FlaskRedis(o.old.client, o.prefix)
		return s, &s.Common, nil
	}},
	{"django-redis", ":1:django.contrib.sessions.cache", []string{"lifetime", "source-prefix", "user-from", "browser-session"}, func(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
		s := importer.DjangoRedis(o.old.client, o.prefix)
		s.BrowserSession = cmd.Bool("browser-session")
		return s, &s.Common, nil
	}},
}

// knowsUsers tells of a source that names the user by itself.
func (k kind) knowsUsers() bool {
	return k.name == "odoo" || k.name == "odoo-redis" || k.name == "django-redis"
}

func openGorilla(cmd *cli.Command, o *origin) (importer.Source, *importer.Common, error) {
	name, file := cmd.String("name"), cmd.String("key-file")
	switch {
	case name == "":
		return nil, nil, usagef("gorilla-files needs --name, the session's name in store.Get(r, name)")
	case file == "":
		return nil, nil, usagef("gorilla-files needs --key-file, a file with the key pairs of NewFilesystemStore: `sessionctl import --help` shows its form")
	}
	pairs, err := readKeyPairs(file)
	if err != nil {
		return nil, nil, usagef("--key-file: %w", err)
	}
	s := importer.GorillaFiles(o.place, name, pairs...)
	s.BrowserSession = cmd.Bool("browser-session")
	return s, &s.Common, nil
}

// origin is where sessions are imported from.
type origin struct {
	kind    kind
	place   string  // the folder, or the old Redis without its password
	old     *target // nil for a folder
	prefix  string  // of the keys in it, as importer takes it
	source  importer.Source
	user    string      // --user-from
	anybody atomic.Bool // some session names a user
}

func (o *origin) close() {
	if o.old != nil {
		o.old.close()
	}
}

// originOf understands SOURCE, PLACE and the flags that are about them. It reads
// and connects nothing but the key file.
func originOf(cmd *cli.Command) (*origin, error) {
	o := &origin{user: cmd.String("user-from")}
	place, err := o.arguments(cmd)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		for _, flag := range k.flags {
			if cmd.IsSet(flag) && !slices.Contains(o.kind.flags, flag) {
				return nil, usagef("--%s is not for %s", flag, o.kind.name)
			}
		}
	}
	if cmd.IsSet("user-from") && o.user == "" {
		return nil, usagef("--user-from is empty: which value names the user?")
	}
	if err = o.locate(cmd, place); err != nil {
		return nil, err
	}
	source, common, err := o.kind.open(cmd, o)
	if err == nil {
		o.source, err = source, o.describe(cmd, common)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *origin) arguments(cmd *cli.Command) (place string, err error) {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	list := strings.Join(names, ", ")
	name, place := cmd.Args().Get(0), cmd.Args().Get(1)
	i := slices.Index(names, name)
	switch {
	case name == "":
		return "", usagef("import what? sessionctl import SOURCE PLACE, with a SOURCE of %s", list)
	case i < 0 && sourceName.MatchString(name):
		return "", usagef("%q is no source%s: there are %s", name, hint(nearest(name, names)), list)
	case i < 0: // perhaps a URL with a password: it is not shown
		return "", usagef("the first argument is no source: write import SOURCE PLACE, with a SOURCE of %s", list)
	case cmd.Args().Len() > 2:
		return "", usagef("import takes one place at a time: quote it if it has spaces")
	}
	o.kind = kinds[i]
	if place == "" && o.kind.prefix != "" {
		place = os.Getenv("REDSESSION_SOURCE_URL")
	}
	switch {
	case place == "" && o.kind.prefix == "":
		return "", usagef("from where? sessionctl import %s DIR", name)
	case place == "":
		return "", usagef("from where? sessionctl import %s URL, or set REDSESSION_SOURCE_URL, for example to redis://old:6379/0", name)
	}
	return place, nil
}

var sourceName = regexp.MustCompile(`^[\w-]{1,30}$`)

// nearest returns the source that was perhaps meant, such as php for php-files.
func nearest(name string, names []string) string {
	for _, known := range names {
		if strings.HasPrefix(known, name) || strings.HasPrefix(name, known) {
			return known
		}
	}
	return ""
}

// locate finds the folder, or makes the client for the old Redis.
func (o *origin) locate(cmd *cli.Command, place string) error {
	if o.kind.prefix == "" {
		if strings.Contains(place, "://") {
			return usagef("%s takes a folder, not a URL", o.kind.name)
		}
		o.place = place
		info, err := os.Stat(place)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return usagef("there is no folder %s", clean(place))
		case err == nil && !info.IsDir():
			return usagef("%s is no folder", clean(place))
		}
		return nil
	}
	prefix := cmd.String("source-prefix")
	switch {
	case !cmd.IsSet("source-prefix"):
		prefix = o.kind.prefix
		o.prefix = prefix
	case prefix == "":
		o.prefix = importer.None
	default:
		o.prefix = prefix
	}
	client, err := redisurl.Client(place, cmd.Duration("timeout"))
	if err != nil {
		return usagef("the URL of the old Redis: %w", err)
	}
	o.old, o.place = &target{url: place, client: client, prefix: prefix}, placeOf(place)
	return nil
}

// describe sets what all sources have.
func (o *origin) describe(cmd *cli.Command, common *importer.Common) error {
	common.Label, common.Lifetime = cmd.String("label"), cmd.Duration("lifetime")
	common.MaxBytes = max(cmd.Int("max-bytes"), 1<<20)
	switch {
	case cmd.IsSet("label") && !labelForm.MatchString(common.Label):
		return usagef("--label: want lower-case letters, digits and hyphens")
	case cmd.IsSet("lifetime") && common.Lifetime <= 0:
		return usagef("--lifetime is %s, want for example 168h", common.Lifetime)
	}
	if o.user != "" {
		common.UserID = o.userID
	}
	if !cmd.IsSet("owner") {
		return nil
	}
	owner := cmd.String("owner")
	if account, err := user.Lookup(owner); err == nil {
		owner = account.Uid
	}
	n, err := strconv.Atoi(owner)
	if err != nil || n <= 0 { // root's files are read in any case, and 0 would read everybody's
		return usagef("--owner %s: want the name or the number of a user other than root", clean(owner))
	}
	common.Owner = n
	return nil
}

var labelForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// userID finds the value of --user-from: under that name, or else under its
// parts between the dots, one inside the other.
func (o *origin) userID(rec redsession.LegacyRecord) string {
	v, ok := rec.Values[o.user]
	if !ok {
		v = rec.Values
		for part := range strings.SplitSeq(o.user, ".") {
			m, _ := v.(map[string]any)
			v = m[part]
		}
	}
	id := ""
	switch v := v.(type) {
	case string:
		id = v
	case int64:
		id = strconv.FormatInt(v, 10)
	case json.Number:
		id = v.String()
	}
	if id != "" {
		o.anybody.Store(true)
	}
	return id
}

// reach looks whether the old Redis is of the kind that its URL says, and whether
// it is the new one.
func (o *origin) reach(ctx context.Context, t *target) error {
	if o.old == nil {
		return nil
	}
	if o.old.prefix == t.prefix && sameRedis(o.old, t) {
		return usagef("the old sessions and the new ones would both lie under %q in %s: set another --prefix, and REDSESSION_PREFIX for the servers", t.prefix, o.place)
	}
	return o.old.checkKind(ctx)
}

// sameRedis tells whether two URLs name the same database, as far as they show.
func sameRedis(a, b *target) bool {
	first, ok1 := a.client.(server.Client)
	second, ok2 := b.client.(server.Client)
	if !ok1 || !ok2 {
		return placeOf(a.url) == placeOf(b.url)
	}
	return first.Options().Addr == second.Options().Addr && first.Options().DB == second.Options().DB
}
