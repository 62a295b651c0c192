package refresh_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// What the child, a server that is going to be killed, gets in its environment.
const (
	childRedis    = "REFRESH_TEST_REDIS"
	childProvider = "REFRESH_TEST_PROVIDER"
)

// serveAsChild is a server in a process of its own, whose one page refreshes the token.
func serveAsChild() {
	m, err := redsession.New(redsession.Config{
		URL: os.Getenv(childRedis), Secrets: [][]byte{stage.Secret}, RedisTimeout: 10 * time.Second,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	_ = http.Serve(listener, m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		_, _ = key.Refresh(ctx, redsession.FromContext(r.Context()), before(1), renewByHTTP)
	})))
}

// renewByHTTP asks the provider, and tells the test before and after.
func renewByHTTP(ctx context.Context, old token) (fresh token, err error) {
	ask := func(path string) (body []byte) {
		res, failed := http.Get(os.Getenv(childProvider) + path)
		if failed != nil {
			err = failed
			return nil
		}
		defer res.Body.Close()
		body, _ = io.ReadAll(res.Body)
		return body
	}
	ask("/before")
	body := ask("/renew?token=" + old.Refresh)
	ask("/after")
	return fresh, errors.Join(err, json.Unmarshal(body, &fresh), ctx.Err())
}

// A server that is killed holds the others up for no longer than its lease; what it had not asked for is not lost.
func TestRefreshAfterAServerIsKilled(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		at    string // where it is killed
		twice int    // tokens that the provider saw twice
		err   error
	}{
		{"before it asks, nothing is lost", "/before", 0, nil},
		{"after the provider's answer, that is lost", "/after", 1, errGrant},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			e, p := stage.NewEnv(srv.URL, srv.Client()), newProvider()
			reached, over := make(chan struct{}), make(chan struct{})
			defer close(over)
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case row.at:
					close(reached)
					<-over
				case "/renew":
					fresh, _ := p.renew(r.Context(), token{Refresh: r.FormValue("token")})
					_ = json.NewEncoder(w).Encode(fresh)
				}
			}))
			t.Cleanup(provider.Close)
			st := newSite(t, e.Manager(t, func(c *redsession.Config) { c.Now = nil })).login(t)
			child := startChild(t, srv.URL, provider.URL)
			go func() { _, _ = st.HTTP.Get(child.url) }() // its cookie is for every port
			<-reached
			_ = child.Process.Kill()
			_ = child.Wait()
			_, err := st.refresh(before(1), p.renew)
			if !errors.Is(err, row.err) || p.twice != row.twice {
				t.Errorf("got %v, and %d tokens used twice, want %v and %d", err, p.twice, row.err, row.twice)
			}
		})
	}
}

type childServer struct {
	*exec.Cmd
	url string
}

func startChild(t *testing.T, redis, provider string) childServer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRedis+"="+redis, childProvider+"="+provider)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return childServer{cmd, strings.TrimSpace(line)}
}
