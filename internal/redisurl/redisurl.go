// Package redisurl makes a client of a URL: of one server, by TCP, TLS or a unix
// socket, of a cluster, or of what sentinels watch.
package redisurl

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const urlExamples = `want for example redis://localhost:6379/0, rediss://user:password@host:6380/1?ca=ca.pem, unix:///run/redis.sock?db=1, ` +
	`redis+cluster://h1:6379,h2:6379 or redis+sentinel://h1:26379,h2:26379/mymaster/0`

// Client returns a client for rawURL whose every wait is bounded by timeout, where the
// URL does not say otherwise. White space around rawURL is ignored. Nothing is connected
// yet. Certificates named by the URL are read now and again when a connection is made
// after they changed. Errors never show the URL, which may hold a password.
func Client(rawURL string, timeout time.Duration) (redis.UniversalClient, error) {
	client, _, err := Open(rawURL, timeout)
	return client, err
}

// Open is [Client] for those who want to close the client's connections while it is in
// use.
func Open(rawURL string, timeout time.Duration) (redis.UniversalClient, *Conns, error) {
	u, kind, hosts, err := parse(strings.TrimSpace(rawURL))
	if err != nil {
		return nil, nil, err
	}
	query := u.Query()
	files, err := urlTLS(query, strings.HasPrefix(u.Scheme, "rediss"))
	if err != nil {
		return nil, nil, err
	}
	var sentinelUser, sentinelPassword string
	if kind == "sentinel" {
		sentinelUser, sentinelPassword = pop(query, "sentinel_username"), pop(query, "sentinel_password")
	}
	master, database, err := urlPath(u, kind)
	if err != nil {
		return nil, nil, err
	}
	o, err := urlOptions(u, hosts, database, query)
	if err != nil {
		return nil, nil, err
	}
	if kind == "cluster" && o.DB != 0 {
		return nil, nil, fmt.Errorf("asks for database %d: a cluster has none but 0", o.DB)
	}
	bound(o, timeout)
	d := dialWith(o, files)
	switch kind {
	case "cluster":
		return redis.NewClusterClient(clusterOptions(o, hosts)), &d.conns, nil
	case "sentinel":
		d.sentinels = hosts
		f := failoverOptions(o, hosts, master)
		f.SentinelUsername, f.SentinelPassword = sentinelUser, sentinelPassword
		return redis.NewFailoverClient(f), &d.conns, nil
	default:
		return redis.NewClient(o), &d.conns, nil
	}
}

// dialWith gives o a dialer. The TLSConfig of o has no part in it and is for those who
// look at the options of the client.
func dialWith(o *redis.Options, files *tlsFiles) *dialer {
	d := &dialer{timeout: o.DialTimeout, files: files}
	o.Dialer, o.TLSConfig = d.dial, nil
	if files != nil {
		o.TLSConfig = files.latest()
	}
	return d
}

// parse reads scheme and hosts. The kind is "", "cluster" or "sentinel".
func parse(rawURL string) (u *url.URL, kind string, hosts []string, err error) {
	rest, hosts, err := cutHosts(rawURL)
	if err != nil {
		return nil, "", nil, err
	}
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

// Redacted names the scheme and the hosts of rawURL and nothing else, for a log. Of what
// does not parse it shows nothing.
func Redacted(rawURL string) string {
	if rawURL == "" {
		return "no URL"
	}
	u, _, hosts, err := parse(strings.TrimSpace(rawURL))
	if err != nil {
		return "a URL that does not parse"
	}
	if u.Scheme == "unix" {
		return "unix://" + u.Path
	}
	return u.Scheme + "://" + strings.Join(hosts, ",")
}
