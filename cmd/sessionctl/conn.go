package main

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
	"github.com/redsession/redsession/internal/environ"
	"github.com/redsession/redsession/internal/redisurl"
)

// target is the Redis that the command line and the environment name.
type target struct {
	url     string
	client  redis.UniversalClient
	admin   *redsession.Admin
	prefix  string
	env     redsession.Config      // what the environment says
	mu      sync.Mutex             // held while ended runs
	ended   func(redsession.Event) // called for each session that admin ends; may be nil
	scanned func(keys int)         // called for each SCAN; may be nil
}

// open connects to the Redis that cmd names and looks whether it is of the kind
// that its URL says: behind one node of a cluster, most sessions would be missed.
func (c *console) open(ctx context.Context, cmd *cli.Command) (*target, error) {
	t, err := c.prepare(cmd)
	if err != nil {
		return nil, err
	}
	if err := t.checkKind(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// prepare makes the clients without connecting.
func (c *console) prepare(cmd *cli.Command) (*target, error) {
	cfg, err := redsession.ConfigFromEnv()
	if err != nil {
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), "redsession: "))
	}
	t := &target{env: cfg, url: cfg.URL, prefix: cmp.Or(cfg.Prefix, defaultPrefix)}
	source := "REDSESSION_URL"
	if environ.Text(source) == "" {
		source += environ.FileSuffix
	}
	if cmd.IsSet("url") {
		t.url, source = cmd.String("url"), "--url"
	}
	if cmd.IsSet("prefix") {
		t.prefix = cmd.String("prefix")
	}
	timeout := cmd.Duration("timeout")
	switch {
	case t.prefix == "":
		return nil, usagef("--prefix is empty: leave it out for %q", defaultPrefix)
	case t.url == "":
		return nil, usagef("which Redis? Give --url or set REDSESSION_URL, for example to redis://localhost:6379/0, or REDSESSION_URL_FILE")
	case timeout <= 0:
		return nil, usagef("--timeout is %s, want for example 5s", timeout)
	}
	if t.client, err = redisurl.Client(t.url, timeout); err != nil {
		return nil, usagef("%s %s", source, err)
	}
	c.place = placeOf(t.url)
	if err := t.administer(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// defaultPrefix is that of redsession.Config.
const defaultPrefix = "session:"

// administer makes the Admin on t's client.
func (t *target) administer() error {
	server.OnScan(t.client, func(keys int) {
		if t.scanned != nil {
			t.scanned(keys)
		}
	})
	var err error
	t.admin, err = redsession.NewAdmin(redsession.Config{
		Client: t.client, Prefix: t.prefix, Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(_ context.Context, e redsession.Event) {
			t.mu.Lock() // many sessions are ended at once
			defer t.mu.Unlock()
			if t.ended != nil && e.Kind == redsession.EventRevoked {
				t.ended(e)
			}
		},
	})
	if err != nil {
		return usagef("%s", strings.NewReplacer("redsession: ", "", "Config.Prefix", "--prefix").Replace(err.Error()))
	}
	return nil
}

func (t *target) close() { _ = t.client.Close() }

// checkKind compares what the URL says with what the server says of itself.
func (t *target) checkKind(ctx context.Context) error {
	if server.IsCluster(t.client) {
		_, err := server.Masters(ctx, t.client) // asks for the slots, which only a cluster has
		return err
	}
	hello, err := server.Greet(ctx, t.client)
	if err != nil {
		return err
	}
	switch hello.Mode {
	case "cluster":
		return usagef("this is a node of a cluster, of which redis:// sees a part alone: write redis+cluster:// (or rediss+cluster://)")
	case "sentinel":
		return usagef("this is a sentinel and holds no sessions: write redis+sentinel://host:26379/NAME/0 with the name of the master that it watches")
	}
	return nil
}

// placeOf is rawURL without user, password and options. It must be a URL that
// redisurl has accepted.
func placeOf(rawURL string) string {
	rawURL, _, _ = strings.Cut(rawURL, "?")
	rawURL, _, _ = strings.Cut(rawURL, "#")
	scheme, rest, _ := strings.Cut(rawURL, "://")
	host, path, _ := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if strings.Contains(path, "@") { // perhaps of a password that was not encoded
		path = ""
	}
	if path = strings.TrimSuffix(path, "/"); path != "" {
		path = "/" + path
	}
	return clean(scheme + "://" + host + path)
}
