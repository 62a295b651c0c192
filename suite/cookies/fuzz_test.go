package cookies_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// FuzzCookie sends any Cookie header. Only the very ticket that was issued may
// lead to its session, and no SID of the client's own making is taken over.
func FuzzCookie(f *testing.F) {
	mr := miniredis.RunT(f)
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + mr.Addr(), Secrets: [][]byte{stage.Secret}, RedisTimeout: 10 * time.Second,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { m.Close() })
	unknown := stage.Issue(f, m, "/login")
	mr.FlushAll()
	victim := stage.Issue(f, m, "/login")
	for _, value := range []string{"", "*", ":", "{}", "\x00", "\r\n", unknown, victim, unknown + "; session=" + victim, victim[1:], strings.Repeat("A", 10<<10)} {
		f.Add("session=" + value)
	}
	known := mr.Keys()
	f.Fuzz(func(t *testing.T, header string) {
		if got := stage.Ask(t, m, "/", header).Text; got != nobody && !brings(header, victim) {
			t.Errorf("got session %s for cookies %q, want %s", got, header, nobody)
		}
		for _, c := range stage.Ask(t, m, "/set", header).SetCookies() {
			if brings(header, c.Value) || c.Value != "" && bytes.Equal(stage.SIDOf(t, c.Value), stage.SIDOf(t, unknown)) {
				t.Errorf("got cookie %q for cookies %q, want a new SID", c.Value, header)
			}
		}
		for _, key := range mr.Keys() {
			if !slices.Contains(known, key) {
				mr.Del(key)
			}
		}
	})
}

// brings tells whether a session cookie in header is ticket, which may be padded and, as
// net/http sees to, in double quotes.
func brings(header, ticket string) bool {
	r := http.Request{Header: http.Header{"Cookie": {header}}}
	return slices.ContainsFunc(r.CookiesNamed("session"), func(c *http.Cookie) bool {
		return ticket != "" && strings.TrimSuffix(c.Value, "=") == ticket
	})
}
