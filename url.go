package redsession

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const urlExamples = `want for example redis://localhost:6379/0, rediss://user:password@host:6380/1 or unix:///run/redis.sock?db=1`

// dial returns a client for rawURL. Nothing is connected yet. Errors never
// show the URL, which may hold a password.
func dial(rawURL string, timeout time.Duration) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("does not parse: if the password has special characters, percent-encode them; " + urlExamples)
	}
	switch u.Scheme {
	case "redis", "rediss":
		if strings.Contains(u.Host, ",") {
			return nil, errors.New("names several hosts: " + urlExamples)
		}
		if u.Hostname() == "" {
			return nil, errors.New("has no host: " + urlExamples)
		}
	case "unix":
	case "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel":
		return nil, fmt.Errorf("%s:// is not supported yet: pass a client in Config.Client", u.Scheme)
	default:
		return nil, fmt.Errorf("scheme %q is unknown: %s", u.Scheme, urlExamples)
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(strings.ReplaceAll(err.Error(), rawURL, "URL"), "redis: ") + ": " + urlExamples)
	}
	bound(o, timeout)
	return redis.NewClient(o), nil
}

// bound keeps whatever the client does within timeout, where the URL does not
// say otherwise. The context's deadline must count, or a frozen Redis would
// hold every request for go-redis's own 3 seconds and several tries.
func bound(o *redis.Options, timeout time.Duration) {
	o.ContextTimeoutEnabled = true
	o.DialTimeout = or(o.DialTimeout, timeout)
	o.ReadTimeout = or(o.ReadTimeout, timeout)
	o.WriteTimeout = or(o.WriteTimeout, timeout)
	o.PoolTimeout = or(o.PoolTimeout, timeout)
	o.MaxRetries = or(o.MaxRetries, 1)              // heals a pooled connection that Redis closed
	o.PipelinePoolSize = or(o.PipelinePoolSize, -1) // a second pool is a second wait
	o.DialerRetries = 1
	o.DisableIdentity = true // before Redis 7.2 it is answered with an error
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.TLSConfig != nil {
		o.TLSConfig.MinVersion = max(o.TLSConfig.MinVersion, tls.VersionTLS12)
	}
}

// boundedClient returns a view of the caller's client on which a context's
// deadline bounds reads as well. It shares the connections.
func boundedClient(client redis.UniversalClient, timeout time.Duration) redis.UniversalClient {
	c, ok := client.(*redis.Client)
	if !ok || c.Options().ContextTimeoutEnabled {
		return client
	}
	view := c.WithTimeout(timeout)
	view.Options().ContextTimeoutEnabled = true
	return view
}

// place says where sessions are stored, for a log: no password.
func place(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		o := c.Options()
		return fmt.Sprintf("%s database %d", o.Addr, o.DB)
	case *redis.ClusterClient:
		return "cluster " + strings.Join(c.Options().Addrs, ",")
	default:
		return "the given client"
	}
}
