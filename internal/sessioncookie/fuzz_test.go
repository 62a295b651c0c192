package sessioncookie_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession/internal/sessioncookie"
)

// tokenSize is the length of what a value signs: SID, idle time, deadline.
const tokenSize = 32 + 4 + 8

// FuzzCookieReader holds our reader of values against securecookie's own: what the one
// accepts the other must accept, for the newest key and for an old one. Ours accepts a
// value without padding and in double quotes as well, and in one spelling alone.
func FuzzCookieReader(f *testing.F) {
	theirs := func(key []byte) *securecookie.SecureCookie {
		return securecookie.New(key, nil).SetSerializer(securecookie.NopEncoder{}).MaxAge(0).MaxLength(sessioncookie.MaxValueLen + 4)
	}
	for _, key := range [][]byte{newKey, oldKey} {
		for _, name := range []string{"session", "other"} {
			for _, size := range []int{tokenSize, tokenSize - 1, 0} {
				value, err := theirs(key).Encode(name, make([]byte, size))
				if err != nil {
					f.Fatal(err)
				}
				f.Add(value)
				f.Add(value + "=")
				f.Add(value[:len(value)-1])
				f.Add(`"` + value + `"`)
				f.Add("A" + value[1:])
				f.Add(value[:9] + "\r\n" + value[9:])
			}
		}
	}
	sum := strings.Repeat("s", 32)
	for _, signed := range []string{"", "|", "||", "1|" + sum, "1||" + sum, "|" + sum, sum, "1|AAAA|" + sum + "|"} {
		f.Add(base64.URLEncoding.EncodeToString([]byte(signed)))
	}
	f.Fuzz(func(t *testing.T, value string) {
		bare := value
		if strings.HasPrefix(bare, `"`) && strings.HasSuffix(bare, `"`) && bare != `"` {
			bare = bare[1 : len(bare)-1]
		}
		bare = strings.TrimSuffix(bare, "=")
		bytes, err := base64.RawURLEncoding.DecodeString(bare)
		padded := base64.URLEncoding.EncodeToString(bytes)
		want := false
		if err == nil && strings.TrimRight(padded, "=") == bare {
			for _, key := range [][]byte{newKey, oldKey} {
				var payload []byte
				want = want || theirs(key).Decode("session", padded, &payload) == nil && (len(payload) == tokenSize || len(payload) == tokenSize+8)
			}
		}
		tk, got := ours.Decode(value)
		if got != want {
			t.Errorf("got %t for %q, securecookie says %t", got, value, want)
		}
		if again, ok := ours.Decode(valueOf(t, ours, tk)); got && (!ok || again != tk) {
			t.Errorf("got %v, %t when sent again, want %v", again, ok, tk)
		}
	})
}

// FuzzCookieHeader reads any Cookie field. Only the very tokens that were signed may
// come out of it, each once and at most MaxCookies of them.
func FuzzCookieHeader(f *testing.F) {
	one, two := valueOf(f, ours, token(1)), valueOf(f, ours, token(2))
	for _, value := range []string{"", "*", "\x00", "\r\n", one, one + "=", `"` + one + `"`, one + "; session=" + one, one + "; session=" + two, one[1:], strings.Repeat("A", 10<<10)} {
		f.Add("session=" + value)
	}
	f.Fuzz(func(t *testing.T, line string) {
		req, ts := ours.Read(request([]string{line}), false, now)
		for i, tk := range ts.All() {
			if tk != token(1) && tk != token(2) || i > 0 && tk == ts.All()[0] {
				t.Errorf("got %v from %q", ts.All(), line)
			}
			if !strings.Contains(line, "session=") {
				t.Errorf("got %v without our name in %q", ts.All(), line)
			}
		}
		if n := req.Invalid + req.Overdue + len(ts.All()); n > sessioncookie.MaxCookies || n > 0 && !req.Cookie {
			t.Errorf("got %+v and %d tokens, want at most %d looked at", req, len(ts.All()), sessioncookie.MaxCookies)
		}
	})
}
