package flavours_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// reach returns an error if no session can be stored at url and counted again.
func reach(t *testing.T, url string) (log string, err error) {
	t.Helper()
	e := stage.NewEnv(url, nil)
	m := e.Manager(t, func(c *redsession.Config) { c.RedisTimeout = 5 * time.Second })
	before, err := m.Count(t.Context())
	if err != nil {
		return e.Events.Log(), err
	}
	if a := stage.NewBrowser(t, stage.Serve(t, m, flavourPages(m))).Get("/add"); a.StatusCode != 200 {
		return e.Events.Log(), fmt.Errorf("answered %d", a.StatusCode)
	}
	if after, err := m.Count(t.Context()); after != before+1 || err != nil {
		return e.Events.Log(), fmt.Errorf("counted %d, %w, after %d", after, err, before)
	}
	return e.Events.Log(), nil
}

func TestURLSaysWhereSessionsGo(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.66" // an address of the loopback where nothing listens
	for _, row := range []struct{ name, url, want string }{
		{"the default port", "redis://" + nobody, nobody + ":6379 database 0"},
		{"the default port with TLS", "rediss://" + nobody + "/2", nobody + ":6379 database 2"},
		{"a port", "redis://" + nobody + ":7000/1", nobody + ":7000 database 1"},
		{"IPv6", "redis://[::1]:1/1", "[::1]:1 database 1"},
		{"the default port of IPv6", "rediss://alice:hunter2@[::1]", "[::1]:6379 database 0"},
		{"a trailing slash", "redis://" + nobody + "/", nobody + ":6379 database 0"},
		{"a database as a parameter", "redis://" + nobody + "?db=7", nobody + ":6379 database 7"},
		{"a database of a socket", "unix:///nonexistent/s?db=3", "/nonexistent/s database 3"},
		{"the default ports of a cluster", "redis+cluster://" + nobody + ",localhost", "cluster " + nobody + ":6379,localhost:6379"},
		{"the default port of one in a cluster", "redis+cluster://" + nobody + ":7000," + nobody, "cluster " + nobody + ":7000," + nobody + ":6379"},
		{"IPv6 in a cluster", "redis+cluster://[::1]:1,[::1]:2", "cluster [::1]:1,[::1]:2"},
		{"the ports of a cluster", "rediss+cluster://:hunter2@" + nobody + ":7000," + nobody + ":7001/0", "cluster " + nobody + ":7000," + nobody + ":7001"},
		{"a slash behind a cluster", "redis+cluster://" + nobody + "/", "cluster " + nobody + ":6379"},
		{"a database behind sentinels", "redis+sentinel://:hunter2@" + nobody + "," + nobody + ":26380/main/4", "database 4"},
		{"the default port of a sentinel", "redis+sentinel://" + nobody + "/main", nobody + ":26379"},
		{"no database behind sentinels", "rediss+sentinel://:hunter2@" + nobody + "/main", "database 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewEnv(row.url, nil)
			e.Manager(t, func(c *redsession.Config) { c.RedisTimeout = 2 * time.Second })
			if log := e.Events.Log(); !strings.Contains(log, row.want) || strings.Contains(log, "hunter2") {
				t.Errorf("got log %q, want %q in it and no password", log, row.want)
			}
		})
	}
}

func TestURLMistakesOfManyServersAndTLS(t *testing.T) {
	t.Parallel()
	tls := redistest.StartTLS(t)
	const right = "redis+sentinel://h1:26379,h2:26379/mymaster/0" // part of every example
	for _, row := range []struct {
		name, url string
		want      []string
	}{
		{"several hosts with TLS and a port", "rediss://:hunter2@h1:1,h2/0", []string{"several hosts", "rediss://", right}},
		{"a cluster without a host", "redis+cluster://:hunter2@", []string{"no host", right}},
		{"sentinels without a host", "redis+sentinel://:hunter2@/main/0", []string{"no host", right}},
		{"sentinels with an empty host at the end", "redis+sentinel://:hunter2@h1,/main", []string{"an empty one", right}},
		{"sentinels with a slash and no master", "redis+sentinel://:hunter2@h1:1,h2:2/", []string{"name the master", right}},
		{"sentinels with a name for the database", "redis+sentinel://:hunter2@h1/main/zero", []string{"database", right}},
		{"sentinels with a negative database", "redis+sentinel://:hunter2@h1/main/-1", []string{"database", right}},
		{"sentinels with too long a path", "redis+sentinel://:hunter2@h1/main/0/1", []string{"too long a path", right}},
		{"one server with too long a path", "redis://:hunter2@h1/0/1", []string{"too long a path", right}},
		{"a cluster with a database and TLS", "rediss+cluster://:hunter2@h1/1", []string{"database 1", "none but 0"}},
		{"a cluster with a name for the database", "redis+cluster://:hunter2@h1/zero", []string{"database", right}},
		{"a cluster with a database as a parameter", "redis+cluster://:hunter2@h1,h2?db=3", []string{"none but 0"}},
		{"a cluster of sockets", "unix+cluster:///s", []string{`scheme "unix+cluster"`, right}},
		{"an unknown kind", "redis+ring://:hunter2@h1,h2", []string{`scheme "redis+ring"`, right}},
		{"a socket with a host", "unix://:hunter2@host/s", []string{"socket", right}},
		{"an unknown option of a cluster", "redis+cluster://:hunter2@h1?color=red", []string{"color", right}},
		{"an unknown option of sentinels", "redis+sentinel://:hunter2@h1/main?color=red", []string{"color", right}},
		{"an unknown option of a socket", "unix://:hunter2@/s?color=red", []string{"color", right}},
		{"an option without its number", "redis+cluster://:hunter2@h1?pool_size=many", []string{"pool_size", right}},
		{"go-redis's way to skip verification", "rediss://:hunter2@h1?skip_verify=true", []string{"insecure_skip_verify=true", "ca=FILE"}},
		{"skipping that is neither on nor off", "rediss://:hunter2@h1?insecure_skip_verify=perhaps", []string{"insecure_skip_verify", "neither true nor false"}},
		{"skipping without TLS", "redis://:hunter2@h1?insecure_skip_verify=true", []string{"need rediss://", right}},
		{"a server's name without TLS", "redis+cluster://:hunter2@h1?server_name=x", []string{"need rediss://", right}},
		{"a certificate at a socket", "unix://:hunter2@/s?cert=c.pem&key=k.pem", []string{"need rediss://", right}},
		{"a certificate without its key", "rediss://:hunter2@h1?cert=" + tls.CertFile, []string{"cert and key"}},
		{"a key without its certificate", "rediss+sentinel://:hunter2@h1/main?key=" + tls.KeyFile, []string{"cert and key"}},
		{"a certificate with another's key", "rediss://:hunter2@h1?cert=" + tls.CAFile + "&key=" + tls.KeyFile, []string{"cert and key"}},
		{"a CA that is a key", "rediss+cluster://:hunter2@h1?ca=" + tls.KeyFile, []string{"ca:", "no PEM certificate"}},
		{"a sentinel's password at one server", "redis://:hunter2@h1?sentinel_password=hunter2", []string{"sentinel_password", right}},
		{"a password with an unencoded @ and slash behind sentinels", "redis+sentinel://a/hunter2@h1,h2/main", []string{"percent-encode"}},
		{"an option with a password and a bad value", "redis://h1?password=hunter2&db=x", []string{"Config.URL"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: row.url, Secrets: [][]byte{stage.Secret}}), append(row.want, "Config.URL")...)
		})
	}
}

func TestURLUsersAndPasswordsWithSpecialCharacters(t *testing.T) {
	t.Parallel()
	const user, password = "us:er@/x", "p@ss:w/o?r#d%&+=,[hunter2]"
	tcp := redistest.StartACL(t, user, password)
	socket := filepath.Join(filepath.Dir(redistest.StartUnix(t).Addr), "own")
	redistest.Start(t, "--unixsocket", socket, "--requirepass", password)
	both, alone := url.UserPassword(user, password), url.UserPassword("", password)
	for _, row := range []struct {
		name  string
		url   url.URL
		works bool
	}{
		{"user and password", url.URL{Scheme: "redis", User: both, Host: tcp.Addr}, true},
		{"user and another password", url.URL{Scheme: "redis", User: url.UserPassword(user, password+"x"), Host: tcp.Addr}, false},
		{"another user", url.URL{Scheme: "redis", User: url.UserPassword(user+"x", password), Host: tcp.Addr}, false},
		{"no user", url.URL{Scheme: "redis", Host: tcp.Addr}, false},
		{"a password at a socket", url.URL{Scheme: "unix", User: alone, Path: socket}, true},
		{"a password and a database at a socket", url.URL{Scheme: "unix", User: alone, Path: socket, RawQuery: "db=5"}, true},
		{"no password at a socket", url.URL{Scheme: "unix", Path: socket}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			log, err := reach(t, row.url.String())
			if (err == nil) != row.works {
				t.Errorf("got error %v, want success %t", err, row.works)
			}
			for _, part := range []string{"hunter2", url.QueryEscape(password), "p@ss"} {
				if said := log + fmt.Sprint(err); strings.Contains(said, part) {
					t.Errorf("got %q, want it without the password", said)
				}
			}
		})
	}
}

func TestURLParametersOfTLS(t *testing.T) {
	t.Parallel()
	srv, other := redistest.StartTLS(t, "--tls-auth-clients", "yes"), redistest.StartTLS(t)
	localhost := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	pair := "&cert=" + srv.CertFile + "&key=" + srv.KeyFile
	for _, row := range []struct{ name, url, want string }{
		{"the CA and the client's certificate", srv.URL + "?ca=" + srv.CAFile + pair, ""},
		{"a name that the certificate has", localhost + "?ca=" + srv.CAFile + pair, ""},
		{"a server_name that the certificate has", srv.URL + "?server_name=localhost&ca=" + srv.CAFile + pair, ""},
		{"a server_name that it has not", srv.URL + "?server_name=redis.example&ca=" + srv.CAFile + pair, "redis.example"},
		{"the system's CAs", srv.URL + "?" + pair[1:], "unknown authority"},
		{"another CA", srv.URL + "?ca=" + other.CAFile + pair, "unknown authority"},
		{"verification skipped", srv.URL + "?insecure_skip_verify=true" + pair, ""},
		{"verification not skipped", srv.URL + "?insecure_skip_verify=false" + pair, "unknown authority"},
		{"no certificate of the client's", srv.URL + "?ca=" + srv.CAFile, "certificate required|reset|broken pipe"},
		{"another CA's certificate of the client's", srv.URL + "?ca=" + srv.CAFile + "&cert=" + other.CertFile + "&key=" + other.KeyFile, "unknown certificate authority|reset|broken pipe"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := reach(t, row.url)
			// In TLS 1.3 a server refuses a client's certificate after the handshake: its
			// word on that, and the end of the connection, overtake each other.
			if row.want == "" && err != nil || row.want != "" && (err == nil || !regexp.MustCompile(row.want).MatchString(err.Error())) {
				t.Errorf("got error %v, want %q", err, row.want)
			}
		})
	}
}

func TestURLOfAClusterOverTLS(t *testing.T) {
	t.Parallel()
	srv := redistest.StartTLS(t, "--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1")
	ctx := t.Context()
	if err := srv.Client().ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	stage.Until(t, "the cluster to form", func() bool {
		return strings.Contains(srv.Client().ClusterInfo(ctx).Val(), "cluster_state:ok")
	})
	base := strings.Replace(srv.URL, "rediss://", "rediss+cluster://", 1)
	if _, err := reach(t, base+"?ca="+srv.CAFile); err != nil {
		t.Errorf("with the CA: got error %v, want none", err)
	}
	if _, err := reach(t, base); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("without the CA: got error %v, want one of the certificate", err)
	}
}

func TestURLDatabaseIsTheOneUsed(t *testing.T) {
	t.Parallel()
	sentinel, plain := redistest.StartSentinel(t), redistest.Start(t)
	for _, row := range []struct {
		name, url string
		at        *redistest.Server
	}{
		{"of one server", plain.URL + "/5", plain},
		{"behind sentinels", strings.TrimSuffix(sentinel.URL, "/0") + "/5", sentinel.Primary()},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := reach(t, row.url); err != nil {
				t.Fatal(err)
			}
			client := redis.NewClient(&redis.Options{Addr: row.at.Addr, DB: 5})
			defer client.Close()
			if n := client.DBSize(t.Context()).Val(); n != 1 {
				t.Errorf("got %d keys in database 5, want 1", n)
			}
		})
	}
}

func TestURLOfSentinelsWithAPasswordOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	for _, watcher := range s.Sentinels {
		if err := watcher.Client().Do(t.Context(), "acl", "setuser", "default", "resetpass", ">hunter2").Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name, query string
		works       bool
	}{
		{"the password", "?sentinel_password=hunter2", true},
		{"user and password", "?sentinel_username=default&sentinel_password=hunter2", true},
		{"another password", "?sentinel_password=hunter3", false},
		{"no password", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			log, err := reach(t, s.URL+row.query)
			if (err == nil) != row.works {
				t.Errorf("got error %v, want success %t", err, row.works)
			}
			if said := log + fmt.Sprint(err); strings.Contains(said, "hunter") {
				t.Errorf("got %q, want it without the password", said)
			}
		})
	}
}
