package sessioncookie_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/sessioncookie"
)

var (
	newKey   = []byte("0123456789abcdef0123456789abcdef")
	oldKey   = []byte("an older key of thirty-two bytes")
	otherKey = []byte("another site's key of 32 bytes..")
	now      = time.Unix(1_800_000_000, 0)
	ours     = sessioncookie.New(sessioncookie.Attributes{Name: "session", Path: "/"}, "", sessioncookie.Keys{Session: [][]byte{newKey, oldKey}})
)

// token is a token of its own for each n, good for an hour.
func token(n byte) sessioncookie.Token {
	return sessioncookie.Token{SID: keyspace.SID{n}, Idle: 600, Deadline: now.Unix() + 3600}
}

// valueOf is the value that c sends for tk.
func valueOf(t testing.TB, c *sessioncookie.Codec, tk sessioncookie.Token) string {
	t.Helper()
	h := http.Header{}
	if err := c.Send(h, &sessioncookie.Request{}, tk, false, now); err != nil {
		t.Fatal(err)
	}
	_, value, _ := strings.Cut(h.Get("Set-Cookie"), "=")
	value, _, _ = strings.Cut(value, ";")
	return value
}

// codec is one for a cookie of that name, signed with key.
func codec(name string, key []byte) *sessioncookie.Codec {
	return sessioncookie.New(sessioncookie.Attributes{Name: name}, "", sessioncookie.Keys{Session: [][]byte{key}})
}

// request has these lines of cookies, and fields in pairs of name and value.
func request(cookies []string, fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if len(cookies) > 0 {
		r.Header["Cookie"] = cookies
	}
	for pair := range slices.Chunk(fields, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return r
}

func TestCookieValueNeedsNoQuoting(t *testing.T) {
	t.Parallel()
	for n := range byte(100) {
		tk := sessioncookie.Token{SID: keyspace.NewSID(), Idle: int64(n), Deadline: now.Unix() + int64(n)<<20}
		value := valueOf(t, ours, tk)
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`).MatchString(value) {
			t.Errorf("got value %q, want it of A-Z a-z 0-9 - _ alone", value)
		}
		if got, ok := ours.Decode(value); !ok || got != tk {
			t.Errorf("got %v, %t, want %v", got, ok, tk)
		}
	}
}

func TestCookieTimesOutOfRangeAreKeptAsFarAsTheyFit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name       string
		sent, want sessioncookie.Token
	}{
		{"an idle time beyond 136 years", sessioncookie.Token{Idle: 1 << 40, Deadline: 1}, sessioncookie.Token{Idle: 1<<32 - 1, Deadline: 1}},
		{"an idle time below zero", sessioncookie.Token{Idle: -1, Deadline: 1}, sessioncookie.Token{Deadline: 1}},
		{"a deadline before 1970", sessioncookie.Token{Deadline: -1}, sessioncookie.Token{Deadline: -1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := ours.Decode(valueOf(t, ours, row.sent)); !ok || got != row.want {
				t.Errorf("got %v, %t, want %v", got, ok, row.want)
			}
		})
	}
}

func TestCookieValueIsOursOrNot(t *testing.T) {
	t.Parallel()
	good := valueOf(t, ours, token(1))
	bare := token(1).SID
	for _, row := range []struct {
		name, value string
		want        bool
	}{
		{"as it was sent", good, true},
		{"padded, as earlier versions sent it", good + "=", true},
		{"in double quotes", `"` + good + `"`, true},
		{"padded and in double quotes", `"` + good + `="`, true},
		{"signed with the older key", valueOf(t, codec("session", oldKey), token(1)), true},
		{"signed with another key", valueOf(t, codec("session", otherKey), token(1)), false},
		{"signed for a cookie of another name", valueOf(t, codec("another", newKey), token(1)), false},
		{"signed, but no token", signed(t, "session", make([]byte, 43)), false},
		{"padded twice", good + "==", false},
		{"padded outside of the quotes", `"` + good + `"=`, false},
		{"in one double quote", `"` + good, false},
		{"in single quotes", "'" + good + "'", false},
		{"one double quote", `"`, false},
		{"empty quotes", `""`, false},
		{"empty", "", false},
		{"without its last character", good[:len(good)-1], false},
		{"without its first character", good[1:], false},
		{"with a character more", good + "A", false},
		{"twice", good + good, false},
		{"with another date", "A" + good[1:], false},
		{"with a NUL in it", good[:9] + "\x00" + good[9:], false},
		{"with a line feed in it", good[:9] + "\n" + good[9:], false},
		{"with a space at its end", good + " ", false},
		{"percent-encoded", strings.ReplaceAll(good, "M", "%4D"), false},
		{"with the padding percent-encoded", good + "%3D", false},
		{"in base64's other alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(good) + "+", false},
		{"longer than any", strings.Repeat("A", 10<<10), false},
		{"the public id", bare.ID(), false},
		{"the bare SID", base64.RawURLEncoding.EncodeToString(bare[:]), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if tk, ok := ours.Decode(row.value); ok != row.want || ok && tk != token(1) {
				t.Errorf("got %v, %t, want %t", tk, ok, row.want)
			}
		})
	}
}

// signed is what securecookie makes of payload, with our newest key.
func signed(t testing.TB, name string, payload []byte) string {
	t.Helper()
	value, err := securecookie.New(newKey, nil).SetSerializer(securecookie.NopEncoder{}).Encode(name, payload)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestCookieValueWithAnyCharacterChangedIsNotOurs(t *testing.T) {
	t.Parallel()
	good := valueOf(t, ours, token(1))
	for i := range len(good) {
		for _, other := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			changed := good[:i] + string(other) + good[i+1:]
			if _, ok := ours.Decode(changed); ok && changed != good {
				t.Errorf("got the value accepted with %q as character %d", other, i)
			}
		}
	}
}

func TestCookieWithoutKeysNothingIsOurs(t *testing.T) {
	t.Parallel()
	none := sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "", sessioncookie.Keys{Session: nil})
	if _, ok := none.Decode(valueOf(t, ours, token(1))); ok {
		t.Error("got a value accepted, want none")
	}
	if err := none.Send(http.Header{}, &sessioncookie.Request{}, token(1), false, now); err == nil {
		t.Error("got no error from Send")
	}
}
