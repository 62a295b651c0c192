package config_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// mistakes are single changes to a valid Config, with what the error must say:
// the field, and what to do. They can all be made at once.
var mistakes = []struct {
	name   string
	change func(*redsession.Config)
	want   []string
}{
	{"a prefix has a space", func(c *redsession.Config) { c.Prefix = strings.Repeat("a b", 100) }, []string{"Config.Prefix", "space"}},
	{"a prefix is longer than the record", func(c *redsession.Config) { c.Prefix = strings.Repeat("a b", 100) }, []string{"Config.Prefix", "under 256"}},
	{"a secret is short", func(c *redsession.Config) { c.Secrets = append(c.Secrets, []byte("hunter2")) }, []string{"Config.Secrets[1]", "7 bytes", "at least 32", "openssl rand -base64 32"}},
	{"an idle timeout is under a second", func(c *redsession.Config) { c.IdleTimeout = time.Millisecond }, []string{"Config.IdleTimeout", "at least 1s"}},
	{"an anonymous timeout is negative", func(c *redsession.Config) { c.AnonymousTimeout = -time.Hour }, []string{"Config.AnonymousTimeout", "at least 1s"}},
	{"an absolute timeout is negative", func(c *redsession.Config) { c.AbsoluteTimeout = -time.Hour }, []string{"Config.AbsoluteTimeout", "at least 1s"}},
	{"timed rotation comes with every request", func(c *redsession.Config) { c.RotateEvery = time.Millisecond }, []string{"Config.RotateEvery", "negative for never"}},
	{"a grace is under a second", func(c *redsession.Config) { c.RotateGrace = time.Millisecond }, []string{"Config.RotateGrace", "at least 1s"}},
	{"Redis gets no time", func(c *redsession.Config) { c.RedisTimeout = time.Microsecond }, []string{"Config.RedisTimeout", "at least 1ms"}},
	{"a user may have fewer than no sessions", func(c *redsession.Config) { c.MaxPerUser = -1 }, []string{"Config.MaxPerUser", "want 0"}},
	{"a record may have fewer than no bytes", func(c *redsession.Config) { c.MaxBytes = -1 }, []string{"Config.MaxBytes", "want 0"}},
	{"there are fewer than no proxies", func(c *redsession.Config) { c.TrustedHops = -1 }, []string{"Config.TrustedHops", "want 0"}},
	{"an outage policy is unknown", func(c *redsession.Config) { c.Outage = 7 }, []string{"Config.Outage", "ServeKnown or FailClosed"}},
	{"known sessions are too old at once", func(c *redsession.Config) { c.OutageMaxStale = -time.Minute }, []string{"Config.OutageMaxStale", "at least 1s"}},
	{"the header is one with a meaning", func(c *redsession.Config) { c.Header = "authorization" }, []string{"Config.Header", "X-Session"}},
	{"the cookie name has a space", func(c *redsession.Config) { c.Cookie.Name = "__host- x" }, []string{"Config.Cookie", "is no cookie name", "use letters"}},
	{"the cookie path is relative", func(c *redsession.Config) { c.Cookie.Path = "app" }, []string{"Config.Cookie", "Path", `begin with "/"`}},
	{"the URL is missing", func(c *redsession.Config) { c.URL = "" }, []string{"Config.URL", "redis://localhost:6379/0", "Client"}},
}

func TestConfigMistakeNamesItsFieldAndWhatToDo(t *testing.T) {
	t.Parallel()
	for _, row := range mistakes {
		t.Run(row.name, func(t *testing.T) {
			c := redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}}
			row.change(&c)
			stage.WantError(t, stage.CheckConfig(t, c), row.want...)
		})
	}
}

func TestConfigMistakesThatExcludeOthers(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	replicas := redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true})
	defer replicas.Close()
	for _, row := range []struct {
		name   string
		change func(*redsession.Config)
		want   []string
	}{
		{"there is no secret", func(c *redsession.Config) { c.Secrets = nil }, []string{"Config.Secrets is empty", "openssl rand -base64 32"}},
		{"a URL and a client", func(c *redsession.Config) { c.Client = redis.NewClient(&redis.Options{}) }, []string{"Config.URL", "Config.Client", "set one of them"}},
		{"a ring", func(c *redsession.Config) { c.URL, c.Client = "", ring }, []string{"Config.Client", "use a cluster"}},
		{"a cluster read from replicas", func(c *redsession.Config) { c.URL, c.Client = "", replicas }, []string{"Config.Client", "unset ReadOnly"}},
		{"anonymous sessions live longer", func(c *redsession.Config) { c.IdleTimeout, c.AnonymousTimeout = time.Hour, 2*time.Hour }, []string{"Config.AnonymousTimeout", "longer than IdleTimeout"}},
		{"a session outlives its user", func(c *redsession.Config) { c.AbsoluteTimeout = 200 * 365 * 24 * time.Hour }, []string{"Config.AbsoluteTimeout", "at most 100 years"}},
		{"a header with a space", func(c *redsession.Config) { c.Header = "X Session" }, []string{"Config.Header", "no header name"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}}
			row.change(&c)
			stage.WantError(t, stage.CheckConfig(t, c), row.want...)
		})
	}
}

func TestConfigReportsEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	c := redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}}
	var want []string
	for _, row := range mistakes {
		row.change(&c)
		want = append(want, row.want...)
	}
	stage.WantError(t, stage.CheckConfig(t, c), want...)
}

func TestConfigReportsABadURLWithTheOtherMistakes(t *testing.T) {
	t.Parallel()
	err := stage.CheckConfig(t, redsession.Config{URL: "http://localhost", Secrets: [][]byte{[]byte("hunter2")}})
	stage.WantError(t, err, "Config.Secrets[0]", "Config.URL", `scheme "http" is unknown`)
}

func TestConfigURLMistakes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, url, want string }{
		{"several hosts with ports", "redis://:hunter2@h1:1,h2:2/0", "several hosts"},
		{"several hosts", "rediss://:hunter2@h1,h2/0", "several hosts"},
		{"an unknown scheme", "http://:hunter2@localhost", `scheme "http"`},
		{"no scheme", "localhost:6379", "scheme"},
		{"an unknown option", "redis://:hunter2@localhost?color=red", "color"},
		{"an option without its unit", "redis://:hunter2@localhost?pool_timeout=7parsecs", "pool_timeout"},
		{"no host", "redis://:hunter2@/0", "no host"},
		{"no socket", "unix://", "socket"},
		{"a database that is no number", "redis://:hunter2@localhost/zero", "database"},
		{"a port that is no number", "redis://:hunter2@localhost:port", "redis://localhost:6379/0"},
		{"a cluster with a database", "redis+cluster://:hunter2@h1:1,h2:2/3", "none but 0"},
		{"a cluster with an empty host", "redis+cluster://:hunter2@h1:1,,h2:2", "an empty one"},
		{"a sentinel without a master", "rediss+sentinel://:hunter2@h1:1,h2:2", "name the master"},
		{"a certificate without TLS", "redis://:hunter2@localhost?ca=ca.pem", "rediss://"},
		{"a certificate that is not there", "rediss://:hunter2@localhost?ca=/nonexistent/ca.pem", "ca.pem"},
		{"a password with bad percent-encoding", "redis://:hunter2%zz@localhost", "percent-encode"},
		{"a password with a percent sign", "redis://user:100%hunter2@localhost", "percent-encode"},
		{"a password with a slash", "redis://user:a/hunter2@localhost", "percent-encode"},
		{"a password that begins with a slash", "redis://user:/hunter2@localhost:6379/0", "Config.URL"},
		{"a password with a slash after digits", "redis://user:12/hunter2@localhost", "Config.URL"},
		{"a password with a question mark after digits", "redis://user:12?hunter2@localhost", "Config.URL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: row.url, Secrets: [][]byte{stage.Secret}}), "Config.URL", row.want)
		})
	}
}

func TestConfigRedisDownIsLoggedAndNoError(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	c := redsession.Config{
		URL: "unix://alice:hunter2@/nonexistent/redsession.sock?db=3", Secrets: [][]byte{stage.Secret},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	m, err := redsession.New(c)
	if err != nil {
		t.Fatalf("got %v, want a Manager: Redis may come back", err)
	}
	defer m.Close()
	for _, want := range []string{"level=WARN", "cannot be reached", "/nonexistent/redsession.sock database 3"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("got log %q, want %q in it", log.String(), want)
		}
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("got log %q, want it without the password", log.String())
	}
}

func TestConfigPasswordIsNotInTheLog(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, password, want string }{
		{"Redis accepts the password", "hunter2", "sessions are stored"},
		{"Redis refuses the password", "another", "cannot be reached"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			e.Mini.RequireAuth(row.password)
			e.Manager(t, func(c *redsession.Config) { c.URL = strings.Replace(e.URL, "redis://", "redis://:hunter2@", 1) })
			if log := e.Events.Log(); !strings.Contains(log, row.want) || strings.Contains(log, "hunter2") {
				t.Errorf("got log %q, want %q and no password", log, row.want)
			}
		})
	}
}

func TestConfigClientStaysTheCallers(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	client := redis.NewClient(&redis.Options{Addr: e.Mini.Addr()})
	defer client.Close()
	before := *client.Options()
	m := e.Manager(t, func(c *redsession.Config) { c.URL, c.Client = "", client })
	if err := m.Close(); err != nil {
		t.Errorf("got %v from Close, want nil", err)
	}
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Errorf("got %v from the client after Manager.Close, want it open", err)
	}
	if after := client.Options(); after.ContextTimeoutEnabled != before.ContextTimeoutEnabled || after.ReadTimeout != before.ReadTimeout {
		t.Error("the client's options changed, want them as the caller set them")
	}
}

func TestConfigClientKeepsItsHooks(t *testing.T) {
	t.Parallel()
	m, sent := stage.NewMini(t).Counted(t)
	stage.Issue(t, m, "/set")
	if got, want := sent.Take(), "EVALSHA in 1"; got != want {
		t.Errorf("the client's hook saw %q, want %q", got, want)
	}
}

func TestConfigCookieContradictions(t *testing.T) {
	t.Parallel()
	always := func(*http.Request) bool { return true }
	for _, row := range []struct {
		name   string
		cookie redsession.Cookie
		want   string
	}{
		{"__Host- with a domain", redsession.Cookie{Name: "__Host-sid", Domain: "example.com"}, "forbids Domain"},
		{"__Host- in another case with a domain", redsession.Cookie{Name: "__hOST-sid", Domain: "example.com"}, "forbids Domain"},
		{"__Host- with a path", redsession.Cookie{Name: "__host-sid", Path: "/app"}, `demands Path "/"`},
		{"the default name with a path", redsession.Cookie{Path: "/app"}, `demands Path "/"`},
		{"__Host- over plain HTTP", redsession.Cookie{Name: "__HOST-sid", InsecurePlainHTTP: true}, "demands Secure"},
		{"__Secure- over plain HTTP", redsession.Cookie{Name: "__secure-sid", InsecurePlainHTTP: true}, "demands Secure"},
		{"__Http- over plain HTTP", redsession.Cookie{Name: "__Http-sid", InsecurePlainHTTP: true}, "demands Secure"},
		{"SameSite None over plain HTTP", redsession.Cookie{SameSite: http.SameSiteNoneMode, InsecurePlainHTTP: true}, "SameSite None demands Secure"},
		{"SameSite that says nothing", redsession.Cookie{SameSite: http.SameSiteDefaultMode}, "SameSite is 1: choose"},
		{"Partitioned over plain HTTP", redsession.Cookie{Partitioned: true, InsecurePlainHTTP: true}, "Partitioned demands Secure"},
		{"a name with a space", redsession.Cookie{Name: "my session"}, "no cookie name"},
		{"a name with a second cookie", redsession.Cookie{Name: "a=b; c"}, "no cookie name"},
		{"a name with a line break", redsession.Cookie{Name: "a\r\nb"}, "no cookie name"},
		{"a name that is not ASCII", redsession.Cookie{Name: "séance"}, "no cookie name"},
		{"a name that leaves no room for the value", redsession.Cookie{Name: strings.Repeat("n", 4000)}, "more than browsers accept"},
		{"a path with an attribute", redsession.Cookie{Name: "sid", Path: "/; Domain=evil.example"}, "no semicolon"},
		{"a domain and a name without a prefix", redsession.Cookie{Name: "sid", Domain: "example.com"}, `"sid" with Domain lacks the prefix "__Secure-"`},
		{"a domain and half of a prefix", redsession.Cookie{Name: "__Secure", Domain: "example.com"}, `set "__Secure-__Secure"`},
		{"both ways to plain HTTP", redsession.Cookie{InsecurePlainHTTP: true, InsecureWhen: always}, "InsecureWhen and InsecurePlainHTTP (REDSESSION_INSECURE) exclude"},
		{"InsecureWhen and one name for both", redsession.Cookie{Name: "sid", InsecureWhen: always}, `set "__Host-sid"`},
		{"InsecureWhen and half of a prefix", redsession.Cookie{Name: "__Host", InsecureWhen: always}, `"__Host" has no prefix`},
		{"InsecureWhen and a prefix alone", redsession.Cookie{Name: "__Host-", InsecureWhen: always}, "nothing but a prefix"},
		{"InsecureWhen and prefixes alone", redsession.Cookie{Name: "__Secure-__HTTP-", InsecureWhen: always}, "nothing but a prefix"},
		{"InsecureWhen with a domain", redsession.Cookie{Domain: "example.com", InsecureWhen: always}, "InsecureWhen and Domain exclude"},
		{"InsecureWhen with a jar for each site", redsession.Cookie{Partitioned: true, InsecureWhen: always}, "InsecureWhen and Partitioned exclude"},
		{"InsecureWhen with any site", redsession.Cookie{SameSite: http.SameSiteNoneMode, InsecureWhen: always}, "InsecureWhen and SameSite None exclude"},
		{"a domain with an attribute", redsession.Cookie{Domain: "example.com; Path=/x"}, "no domain name"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, Cookie: row.cookie}), "Config.Cookie", row.want)
		})
	}
}

func TestConfigDeviceBindingContradictions(t *testing.T) {
	t.Parallel()
	on := func(change func(*redsession.Config)) redsession.Config {
		c := redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, DeviceBinding: redsession.DeviceBinding{Enabled: true}}
		change(&c)
		return c
	}
	for _, row := range []struct {
		name   string
		change func(*redsession.Config)
		want   string
	}{
		{"a domain", func(c *redsession.Config) { c.Cookie.Domain = "example.com" }, "Cookie.Domain exclude each other"},
		{"a partitioned cookie", func(c *redsession.Config) { c.Cookie.Partitioned = true }, "Cookie.Partitioned exclude each other"},
		{"a cookie for a part of the site", func(c *redsession.Config) { c.Cookie.Name, c.Cookie.Path = "sid", "/app" }, `needs Cookie.Path "/"`},
		{"a lifetime that browsers cannot keep up with", func(c *redsession.Config) { c.DeviceBinding.Lifetime = 5 * time.Minute }, "under 8m0s"},
		{"a lifetime that protects nobody", func(c *redsession.Config) { c.DeviceBinding.Lifetime = 48 * time.Hour }, "over a day"},
		{"a path that is none", func(c *redsession.Config) { c.DeviceBinding.Path = "binding" }, "must be a path"},
		{"the root", func(c *redsession.Config) { c.DeviceBinding.Path = "/" }, "must be a path"},
		{"a path with a slash at its end", func(c *redsession.Config) { c.DeviceBinding.Path = "/binding/" }, "must be a path"},
		{"a path with a quote", func(c *redsession.Config) { c.DeviceBinding.Path = `/a"b` }, "must be a path"},
		{"Require without Enabled", func(c *redsession.Config) {
			c.DeviceBinding = redsession.DeviceBinding{Require: func(*http.Request) bool { return true }}
		}, "needs Enabled"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.WantError(t, stage.CheckConfig(t, on(row.change)), "Config.DeviceBinding", row.want)
		})
	}
}

func TestConfigDeviceBindingIsOffOverPlainHTTPAndSaysSo(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, func(c *redsession.Config) { c.DeviceBinding.Enabled = true })
	if a := stage.NewBrowser(t, stage.Serve(t, m, stage.AccountHandlers)).Get("/login"); a.Header.Get("Secure-Session-Registration") != "" {
		t.Error("got an offer over plain HTTP")
	}
	if strings.Count(e.Events.Log(), "not bound to devices") != 1 {
		t.Errorf("got log %q, want that sessions are not bound, once", e.Events.Log())
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, row := range []struct {
		name, path string
		change     func(*redsession.Config)
		want       time.Duration
	}{
		{"an anonymous session idles 3 hours", "/set", func(*redsession.Config) {}, 3 * time.Hour},
		{"an anonymous session idles no longer than a user's", "/set", func(c *redsession.Config) { c.IdleTimeout = time.Hour }, time.Hour},
		{"a user's session idles 7 days", "/login", func(*redsession.Config) {}, 7 * day},
		{"a session ends after 30 days in any case", "/login", func(c *redsession.Config) { c.IdleTimeout = 60 * day }, 30 * day},
		{"a logged-out id is known for a minute", "/login /logout", func(*redsession.Config) {}, time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			b := stage.NewBrowser(t, stage.Serve(t, e.Manager(t, row.change), stage.AccountHandlers))
			for path := range strings.FieldsSeq(row.path) {
				b.Get(path)
			}
			for key := range e.Dump(t) {
				if got := e.Mini.TTL(key); got != row.want || !strings.HasPrefix(key, "session:") {
					t.Errorf("got key %q with TTL %v, want session:… with %v", key, got, row.want)
				}
			}
			if len(e.Dump(t)) != 1 {
				t.Errorf("got keys %q, want one session", e.Keys(t))
			}
		})
	}
}

func TestConfigFromEnv(t *testing.T) {
	newest, older := []byte(strings.Repeat("\xfb\xff", 16)), []byte(strings.Repeat("o", 40))
	url64, hex64 := base64.RawURLEncoding.EncodeToString(newest), hex.EncodeToString(older)
	for _, row := range []struct {
		name, variable, value string
		want                  redsession.Config
	}{
		{"nothing is set", "URL", "", redsession.Config{}},
		{"a URL", "URL", "rediss://:hunter2@host/1", redsession.Config{URL: "rediss://:hunter2@host/1"}},
		{"a prefix", "PREFIX", "a:", redsession.Config{Prefix: "a:"}},
		{"the idle timeout in seconds", "EXPIRATION", "604800", redsession.Config{IdleTimeout: 7 * 24 * time.Hour}},
		{"the idle timeout as a duration", "EXPIRATION", "1h30m", redsession.Config{IdleTimeout: 90 * time.Minute}},
		{"the absolute timeout in seconds", "ABSOLUTE", "60", redsession.Config{AbsoluteTimeout: time.Minute}},
		{"the absolute timeout as a duration", "ABSOLUTE", "720h", redsession.Config{AbsoluteTimeout: 720 * time.Hour}},
		{"a secret in base64", "SECRETS", base64.StdEncoding.EncodeToString(newest), redsession.Config{Secrets: [][]byte{newest}}},
		{"a secret in hex, though that is base64 too", "SECRETS", hex64, redsession.Config{Secrets: [][]byte{older}}},
		{"two secrets, newest first", "SECRETS", url64 + ", " + hex64, redsession.Config{Secrets: [][]byte{newest, older}}},
		{"a cookie name", "COOKIE", "sid", redsession.Config{Cookie: redsession.Cookie{Name: "sid"}}},
		{"plain HTTP", "INSECURE", "true", redsession.Config{Cookie: redsession.Cookie{InsecurePlainHTTP: true}}},
		{"no plain HTTP", "INSECURE", "0", redsession.Config{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv("REDSESSION_"+row.variable, row.value)
			got, err := redsession.ConfigFromEnv()
			if err != nil || !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v and error %v, want %+v", got, err, row.want)
			}
		})
	}
}

func TestConfigFromEnvReadsFiles(t *testing.T) {
	clearEnv(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"URL": "redis://:hunter2@host/1\n", "SECRETS": hex.EncodeToString(stage.NewerSecret) + "\n" + hex.EncodeToString(stage.Secret) + "\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("REDSESSION_"+name+"_FILE", path)
	}
	got, err := redsession.ConfigFromEnv()
	want := redsession.Config{URL: "redis://:hunter2@host/1", Secrets: [][]byte{stage.NewerSecret, stage.Secret}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want what the files say", got, err)
	}
	t.Setenv("REDSESSION_URL", "redis://other")
	t.Setenv("REDSESSION_SECRETS_FILE", filepath.Join(dir, "none"))
	got, err = redsession.ConfigFromEnv()
	stage.WantError(t, err, "REDSESSION_URL and REDSESSION_URL_FILE are both set", "REDSESSION_SECRETS_FILE: ", filepath.Join(dir, "none"))
	if !reflect.DeepEqual(got, redsession.Config{}) {
		t.Errorf("got %+v with an error, want the zero Config", got)
	}
}

func clearEnv(t *testing.T) {
	for _, name := range []string{"URL", "URL_FILE", "PREFIX", "EXPIRATION", "ABSOLUTE", "SECRETS", "SECRETS_FILE", "COOKIE", "INSECURE"} {
		t.Setenv("REDSESSION_"+name, "")
	}
}

func TestConfigFromEnvRefuses(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(stage.Secret)
	for _, row := range []struct{ name, variable, value string }{
		{"a duration without its unit", "EXPIRATION", "1.5"},
		{"a duration of nothing", "EXPIRATION", "0"},
		{"a negative number of seconds", "ABSOLUTE", "-5"},
		{"a duration under a second", "ABSOLUTE", "10ms"},
		{"more seconds than a duration holds", "ABSOLUTE", "99999999999"},
		{"a short secret", "SECRETS", base64.StdEncoding.EncodeToString([]byte("hunter2"))},
		{"a secret that is neither base64 nor hex", "SECRETS", "hunter2" + strings.Repeat("!", 40)},
		{"a bad secret behind a good one", "SECRETS", good + ",hunter2"},
		{"an empty secret behind a good one", "SECRETS", good + ","},
		{"something else than true or false", "INSECURE", "perhaps"},
	} {
		t.Run(row.name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv("REDSESSION_"+row.variable, row.value)
			got, err := redsession.ConfigFromEnv()
			stage.WantError(t, err, "REDSESSION_"+row.variable)
			if row.variable == "SECRETS" && (strings.Contains(err.Error(), good) || strings.Contains(err.Error(), row.value)) {
				t.Errorf("got error %v, want one without a secret", err)
			}
			if !reflect.DeepEqual(got, redsession.Config{}) {
				t.Errorf("got %+v with an error, want the zero Config", got)
			}
		})
	}
}
