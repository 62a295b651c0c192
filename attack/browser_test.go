package attack_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/keyspace"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

const cookieName = "session" // of plain HTTP

// settings are what all servers of these tests have in common. They wait long for Redis, as the machine may be slow.
func settings(client redis.UniversalClient, prefix string, now func() time.Time) redsession.Config {
	return redsession.Config{
		Client: client, Prefix: prefix, Secrets: [][]byte{secret}, RedisTimeout: 10 * time.Second,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler), Now: now,
	}
}

func newManager(t testing.TB, c redsession.Config) *redsession.Manager {
	t.Helper()
	m, err := redsession.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// browser keeps one cookie of ours and those of other packages.
type browser struct {
	mu     sync.Mutex
	cookie string
	old    *http.Cookie // nil if there is none
}

// answer is what came back. ours are the Set-Cookie headers that name our cookie.
type answer struct {
	status   int
	body     string
	ours     []*http.Cookie
	degraded bool
}

// handler does something with the session of one request.
type handler func(w http.ResponseWriter, r *http.Request, s *redsession.Session)

// send performs one request on m and keeps what cookies the answer sets.
func (b *browser) send(ctx context.Context, m *redsession.Manager, do handler) answer {
	b.mu.Lock()
	cookie, old := b.cookie, b.old
	b.mu.Unlock()
	a := request(ctx, m, cookie, old, do)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range a.ours {
		if b.cookie = c.Value; c.MaxAge < 0 {
			b.cookie = ""
		}
	}
	return a
}

// request performs one request with that cookie.
func request(ctx context.Context, m *redsession.Manager, cookie string, old *http.Cookie, do handler) (a answer) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	}
	if old != nil {
		r.AddCookie(old)
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		a.degraded = s.Degraded()
		do(w, r, s)
	})).ServeHTTP(w, r)
	res := w.Result()
	body, _ := io.ReadAll(res.Body)
	a.status, a.body = res.StatusCode, string(body)
	for _, c := range res.Cookies() {
		if c.Name == cookieName {
			a.ours = append(a.ours, c)
		}
	}
	return a
}

// describe answers with the user and the values: "alice a=1".
func describe(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
	words := []string{s.UserID()}
	if p := s.PendingUserID(); p != "" {
		words[0] = "half:" + p
	}
	for _, k := range s.Keys() {
		v, _ := redsession.Key[any](k).Get(s)
		words = append(words, fmt.Sprintf("%s=%v", k, v))
	}
	fmt.Fprint(w, strings.TrimSpace(strings.Join(words, " ")))
}

// look is what a browser with that cookie sees on m.
func look(m *redsession.Manager, cookie string) answer {
	return request(context.Background(), m, cookie, nil, describe)
}

// publicID is the id of the session that the cookie leads to, "" for no cookie.
func publicID(cookie string) string {
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(cookie, "="))
	parts := strings.SplitN(string(signed), "|", 3)
	if err != nil || len(parts) != 3 {
		return ""
	}
	ticket, err := base64.URLEncoding.DecodeString(parts[1])
	if err != nil || len(ticket) < keyspace.SIDLen {
		return ""
	}
	return keyspace.HashID(ticket[:keyspace.SIDLen])
}
