package redsession_test

import (
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
)

// ticketSize is the length of what a cookie signs: SID, idle time, deadline.
const ticketSize = 32 + 4 + 8

// FuzzCookieReader holds our reader of cookies against securecookie's own: what the
// one accepts the other must accept, for the newest secret and for an old one.
func FuzzCookieReader(f *testing.F) {
	old := []byte(strings.Repeat("old secret ", 4))
	ring, err := record.NewRing([][]byte{secret, old})
	if err != nil {
		f.Fatal(err)
	}
	codec := func(k *record.Keys) *securecookie.SecureCookie {
		return securecookie.New(k.Cookie, nil).SetSerializer(securecookie.NopEncoder{}).MaxAge(0).MaxLength(256)
	}
	for _, k := range ring {
		for _, name := range []string{"session", "other"} {
			for _, size := range []int{ticketSize, ticketSize - 1, 0} {
				value, err := codec(k).Encode(name, make([]byte, size))
				if err != nil {
					f.Fatal(err)
				}
				f.Add(value)
				f.Add(value[:len(value)-1])
				f.Add("A" + value[1:])
			}
		}
	}
	sum := strings.Repeat("s", 32)
	for _, signed := range []string{"", "|", "||", "1|" + sum, "1||" + sum, "|" + sum, sum, "1|AAAA|" + sum + "|"} {
		f.Add(base64.URLEncoding.EncodeToString([]byte(signed)))
	}
	m, err := redsession.New(redsession.Config{
		URL: "redis://127.0.0.1:1", Secrets: [][]byte{secret, old}, Logger: slog.New(slog.DiscardHandler), Cookie: redsession.Cookie{InsecurePlainHTTP: true},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = m.Close() })
	f.Fuzz(func(t *testing.T, value string) {
		want := false
		for _, k := range ring {
			var ticket []byte
			want = want || codec(k).Decode("session", value, &ticket) == nil && len(ticket) == ticketSize
		}
		if got := m.ReadsCookie(value); got != want {
			t.Errorf("got %t for %q, securecookie says %t", got, value, want)
		}
	})
}
