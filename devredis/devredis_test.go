package devredis_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/devredis"
)

// TestMain takes away what the developer's own shell may have set.
func TestMain(m *testing.M) {
	os.Unsetenv("REDSESSION_URL")
	os.Unsetenv("REDSESSION_URL_FILE")
	os.Exit(m.Run())
}

func start(t *testing.T) (*devredis.Server, *redis.Client) {
	t.Helper()
	s, err := devredis.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, connect(t, s.URL())
}

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestOnlyThisProgramGetsIn(t *testing.T) {
	s, client := start(t)
	if err := client.Set(t.Context(), "k", "v", time.Minute).Err(); err != nil {
		t.Fatalf("with the URL: %v", err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if ip := net.ParseIP(u.Hostname()); !ip.IsLoopback() {
		t.Errorf("listens on %s, want the loopback interface", u.Host)
	}
	other, _ := start(t)
	elsewhere, _ := url.Parse(other.URL())
	for _, tc := range []struct {
		name string
		user *url.Userinfo
	}{
		{"no password", nil},
		{"an empty one", url.UserPassword("", "")},
		{"one that is guessed", url.UserPassword("", "redis")},
		{"that of another server", elsewhere.User},
	} {
		t.Run(tc.name, func(t *testing.T) {
			intruder := url.URL{Scheme: "redis", User: tc.user, Host: u.Host}
			if err := connect(t, intruder.String()).Get(t.Context(), "k").Err(); err == nil || err == redis.Nil {
				t.Errorf("got the error %v, want a refusal", err)
			}
		})
	}
}

func TestKeysExpireByTheClock(t *testing.T) {
	_, client := start(t)
	if err := client.Set(t.Context(), "k", "v", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "the key is gone", func() bool { return client.Exists(t.Context(), "k").Val() == 0 })
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestWhatItHoldsIsThereAfterAnOutage(t *testing.T) {
	s, client := start(t)
	if err := client.Set(t.Context(), "k", "v", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	s.SetAway(true)
	if err := client.Get(t.Context(), "k").Err(); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
		t.Errorf("away: got the error %v, want LOADING", err)
	}
	s.SetAway(false)
	if got, err := client.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Errorf("back again: got %q and the error %v", got, err)
	}
	s.Close()
	s.Close()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("closed: it still answers")
	}
}

func TestTheRedisOfTheEnvironmentGoesFirst(t *testing.T) {
	for _, tc := range []struct{ name, variable string }{
		{"a URL in the environment is used", "REDSESSION_URL"},
		{"so is one in a file", "REDSESSION_URL_FILE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(tc.variable, "redis://:hush@redis.example:6379")
			s, err := devredis.Start()
			if err == nil {
				s.Close()
				t.Fatal("it started all the same")
			}
			if !strings.Contains(err.Error(), tc.variable+" is set") || strings.Contains(err.Error(), "hush") {
				t.Errorf("got the error %q, want one that names the variable and not its value", err)
			}
		})
	}
}
