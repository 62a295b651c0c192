// Package redisurl makes a client of a URL: of one server, by TCP, TLS or a unix
// socket, of a cluster, or of what sentinels watch.
package redisurl

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const urlExamples = `want for example redis://localhost:6379/0, rediss://user:password@host:6380/1?ca=ca.pem, unix:///run/redis.sock?db=1, ` +
	`redis+cluster://h1:6379,h2:6379 or redis+sentinel://h1:26379,h2:26379/mymaster/0`

// Client returns a client for rawURL whose every wait is bounded by timeout,
// where the URL does not say otherwise. Nothing is connected yet. Errors never
// show the URL, which may hold a password.
func Client(rawURL string, timeout time.Duration) (redis.UniversalClient, error) {
	u, kind, hosts, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	tlsConfig, err := urlTLS(query, strings.HasPrefix(u.Scheme, "rediss"))
	if err != nil {
		return nil, err
	}
	var sentinelUser, sentinelPassword string
	if kind == "sentinel" {
		sentinelUser, sentinelPassword = pop(query, "sentinel_username"), pop(query, "sentinel_password")
	}
	master, database, err := urlPath(u, kind)
	if err != nil {
		return nil, err
	}
	o, err := urlOptions(u, hosts, database, query)
	if err != nil {
		return nil, err
	}
	if kind == "cluster" && o.DB != 0 {
		return nil, fmt.Errorf("asks for database %d: a cluster has none but 0", o.DB)
	}
	if tlsConfig != nil {
		tlsConfig.ServerName = cmp.Or(tlsConfig.ServerName, serverName(kind, hosts))
	}
	o.TLSConfig = tlsConfig
	bound(o, timeout)
	switch kind {
	case "cluster":
		return redis.NewClusterClient(clusterOptions(o, hosts)), nil
	case "sentinel":
		f := failoverOptions(o, hosts, master)
		f.SentinelUsername, f.SentinelPassword = sentinelUser, sentinelPassword
		return redis.NewFailoverClient(f), nil
	default:
		return redis.NewClient(o), nil
	}
}

// parse reads scheme and hosts. The kind is "", "cluster" or "sentinel".
func parse(rawURL string) (u *url.URL, kind string, hosts []string, err error) {
	rest, hosts := cutHosts(rawURL)
	if u, err = url.Parse(rest); err != nil {
		return nil, "", nil, errNoURL
	}
	if strings.Contains(u.RawQuery+u.Fragment, "@") || u.User == nil && strings.Contains(u.Path, "@") {
		return nil, "", nil, errors.New("has an @ behind the host: percent-encode / ? # and @ of the password; " + urlExamples)
	}
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	if scheme != "redis" && scheme != "rediss" && u.Scheme != "unix" || !slices.Contains([]string{"", "cluster", "sentinel"}, kind) {
		return nil, "", nil, fmt.Errorf("scheme %q is unknown: %s", u.Scheme, urlExamples)
	}
	hosts, err = urlHosts(u, kind, hosts)
	return u, kind, hosts, err
}

// cutHosts takes all hosts but the first out of rawURL, since net/url knows of one
// alone, and returns them all.
func cutHosts(rawURL string) (rest string, hosts []string) {
	scheme, after, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL, nil
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	begin := strings.LastIndexByte(after[:end], '@') + 1
	hosts = strings.Split(after[begin:end], ",")
	return scheme + "://" + after[:begin] + hosts[0] + after[end:], hosts
}

// urlHosts returns the addresses that u names, with their ports.
func urlHosts(u *url.URL, kind string, list []string) ([]string, error) {
	if u.Scheme == "unix" {
		if u.Host != "" || u.Path == "" {
			return nil, errors.New("names no socket: " + urlExamples)
		}
		return nil, nil
	}
	port := "6379"
	if kind == "sentinel" {
		port = "26379"
	}
	var hosts []string
	for _, h := range list {
		one := url.URL{Host: h}
		if one.Hostname() == "" {
			return nil, errors.New("has no host, or an empty one: " + urlExamples)
		}
		hosts = append(hosts, net.JoinHostPort(one.Hostname(), cmp.Or(one.Port(), port)))
	}
	if kind == "" && len(hosts) > 1 {
		return nil, fmt.Errorf("names several hosts, which %s:// does not do: %s", u.Scheme, urlExamples)
	}
	return hosts, nil
}

// urlPath returns the sentinels' name of the master, and the database.
func urlPath(u *url.URL, kind string) (master, database string, err error) {
	parts := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	switch {
	case u.Scheme == "unix":
		return "", "", nil
	case kind == "sentinel" && len(parts) == 0:
		return "", "", errors.New("does not name the master that the sentinels watch: " + urlExamples)
	case kind == "sentinel":
		master, parts = parts[0], parts[1:]
	}
	if len(parts) > 1 {
		return "", "", errors.New("has too long a path: " + urlExamples)
	}
	if len(parts) == 1 {
		database = parts[0]
		if n, err := strconv.Atoi(database); err != nil || n < 0 {
			return "", "", errors.New("has something else where the number of the database belongs: " + urlExamples)
		}
	}
	return master, database, nil
}

// urlTLS takes the parameters ca, cert, key, server_name and
// insecure_skip_verify out of query.
func urlTLS(query url.Values, secure bool) (*tls.Config, error) {
	ca, cert, key, name, insecure := pop(query, "ca"), pop(query, "cert"), pop(query, "key"), pop(query, "server_name"), pop(query, "insecure_skip_verify")
	if query.Has("skip_verify") {
		return nil, errors.New("has skip_verify: write insecure_skip_verify=true, if there is no way to give ca=FILE")
	}
	if !secure {
		if ca+cert+key+name+insecure != "" {
			return nil, errors.New("has ca, cert, key, server_name or insecure_skip_verify, which need rediss://: " + urlExamples)
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if insecure != "" {
		var err error
		if c.InsecureSkipVerify, err = strconv.ParseBool(insecure); err != nil {
			return nil, errors.New("has an insecure_skip_verify that is neither true nor false")
		}
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s has no PEM certificate", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// urlOptions lets go-redis read credentials, database and what is left of the
// query.
func urlOptions(u *url.URL, hosts []string, database string, query url.Values) (*redis.Options, error) {
	plain := url.URL{Scheme: "redis", User: u.User, RawQuery: query.Encode()}
	if u.Scheme == "unix" {
		plain.Scheme, plain.Path = "unix", u.Path
	} else {
		plain.Host, plain.Path = hosts[0], "/"+database
	}
	o, err := redis.ParseURL(plain.String())
	if err != nil {
		return nil, refused(err, query)
	}
	// go-redis panics at sizes below 0 or beyond an int32, and makes room at once.
	const most = 1 << 16
	for _, n := range []int{o.PoolSize, max(o.PipelinePoolSize, 0), o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxConcurrentDials} {
		if n < 0 || n > most {
			return nil, fmt.Errorf("asks for %d connections, want 0 to %d", n, most)
		}
	}
	return o, nil
}

// refused says what go-redis does not like. It shows no value, and of the options that
// are unknown only what may be the name of one: where a "=" is missing or misplaced,
// the name holds the password.
func refused(err error, query url.Values) error {
	if parse := (*url.Error)(nil); errors.As(err, &parse) {
		return errNoURL
	}
	reason := strings.TrimPrefix(err.Error(), "redis: ")
	if !strings.HasPrefix(reason, "unexpected option") {
		return fmt.Errorf("is refused (%s): %s", quoted.ReplaceAllString(reason, `"…"`), urlExamples)
	}
	var names []string
	for name, values := range query {
		if optionName.MatchString(name) && strings.Join(values, "") != "" && strings.Contains(reason, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		names = []string{"one that is not of the form name=value"}
	}
	return fmt.Errorf("has unknown options (%s): %s", strings.Join(names, ", "), urlExamples)
}

var (
	errNoURL   = errors.New("does not parse: percent-encode special characters of the password; " + urlExamples)
	optionName = regexp.MustCompile(`^[a-z_]+$`)
	quoted     = regexp.MustCompile(`"(\\.|[^"\\])*"`)
)

func pop(query url.Values, name string) string {
	v := query.Get(name)
	query.Del(name)
	return v
}

// serverName is whom a single host's certificate must name. The nodes of a
// cluster each answer for their own address.
func serverName(kind string, hosts []string) string {
	if kind != "" {
		return ""
	}
	host, _, _ := net.SplitHostPort(hosts[0])
	return host
}

// bound keeps whatever the client does within timeout, where the URL does not
// say otherwise. The context's deadline must count, or a frozen Redis would
// hold every request for go-redis's own 3 seconds and several tries.
func bound(o *redis.Options, timeout time.Duration) {
	o.ContextTimeoutEnabled = true
	o.DialTimeout = cmp.Or(o.DialTimeout, timeout)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, timeout)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, timeout)
	o.PoolTimeout = cmp.Or(o.PoolTimeout, timeout)
	o.MaxRetries = cmp.Or(o.MaxRetries, 1)              // heals a pooled connection that Redis closed
	o.PipelinePoolSize = cmp.Or(o.PipelinePoolSize, -1) // a second pool is a second wait
	o.DialerRetries = 1
	o.Protocol = cmp.Or(o.Protocol, 2) // RESP3 costs a look for pushed messages at each reply
	o.DisableIdentity = true           // before Redis 7.2 it is answered with an error
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// clusterReload is how often the client asks who owns which slots, besides
// after errors: within seconds of a failover, not within go-redis's minute.
const clusterReload = 3 * time.Second

func clusterOptions(o *redis.Options, addrs []string) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: addrs, Username: o.Username, Password: o.Password, ClientName: o.ClientName, Protocol: o.Protocol,
		MaxRetries: o.MaxRetries, MinRetryBackoff: o.MinRetryBackoff, MaxRetryBackoff: o.MaxRetryBackoff,
		DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		ContextTimeoutEnabled: true, PoolFIFO: o.PoolFIFO, PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout,
		MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime, PipelinePoolSize: o.PipelinePoolSize,
		TLSConfig: o.TLSConfig, DisableIdentity: true, MaintNotificationsConfig: o.MaintNotificationsConfig,
		ClusterStateReloadInterval: clusterReload,
	}
}

func failoverOptions(o *redis.Options, sentinels []string, master string) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: master, SentinelAddrs: sentinels, DB: o.DB,
		Username: o.Username, Password: o.Password, ClientName: o.ClientName, Protocol: o.Protocol,
		MaxRetries: o.MaxRetries, MinRetryBackoff: o.MinRetryBackoff, MaxRetryBackoff: o.MaxRetryBackoff,
		DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		ContextTimeoutEnabled: true, PoolFIFO: o.PoolFIFO, PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout,
		MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime, PipelinePoolSize: o.PipelinePoolSize,
		TLSConfig: o.TLSConfig, DisableIdentity: true,
	}
}

// HeedsContext tells whether a context's deadline bounds what client reads.
func HeedsContext(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// Place says where sessions are stored, for a log: no password.
func Place(client redis.UniversalClient) string {
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
