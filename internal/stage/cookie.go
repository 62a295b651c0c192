package stage

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redsession/redsession"
)

// Ask sends a request whose Cookie header is as given, byte for byte, which no
// client of net/http would do, and fails the test if the answer is a 5xx.
func Ask(t testing.TB, m *redsession.Manager, path, cookies string) Answer {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header["Cookie"] = []string{cookies}
	w := httptest.NewRecorder()
	m.Handler(AccountHandlers.Mux()).ServeHTTP(w, r)
	a := Answer{w.Result(), w.Body.String()}
	if a.StatusCode >= 500 {
		t.Errorf("got status %d for %s with cookies %q", a.StatusCode, path, cookies)
	}
	return a
}

// Issue returns the cookie value that path, "/set" or "/login", gives a new client.
func Issue(t testing.TB, m *redsession.Manager, path string) string {
	t.Helper()
	set := Ask(t, m, path, "").SetCookies()
	if len(set) != 1 {
		t.Fatalf("got %d cookies from %s, want 1", len(set), path)
	}
	return set[0].Value
}

// SIDOf returns the SID in a cookie value.
func SIDOf(t testing.TB, cookie string) []byte {
	t.Helper()
	_, content, err := openCookie(cookie)
	if err != nil {
		t.Fatal(err)
	}
	return content[:sidSize]
}

// KeyOf returns the key in Redis of the session that cookie carries.
func KeyOf(t *testing.T, cookie string) string {
	t.Helper()
	sum := sha256.Sum256(SIDOf(t, cookie))
	return "session:" + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// ParseCookie takes a cookie apart.
func ParseCookie(t *testing.T, cookie string) (sid []byte, deadline int64) {
	t.Helper()
	_, content, err := openCookie(cookie)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) != sidSize+4+8 {
		t.Fatalf("got %d bytes in a cookie, want 44", len(content))
	}
	return content[:sidSize], int64(binary.BigEndian.Uint64(content[sidSize+4:]))
}

const sidSize = 32

// openCookie returns what a cookie that securecookie made has signed, as text without padding and as bytes, of which the
// first 32 are the SID.
func openCookie(value string) (payload string, content []byte, err error) {
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(value, "="))
	parts := strings.SplitN(string(signed), "|", 3)
	if err != nil || len(parts) != 3 {
		return "", nil, fmt.Errorf("a cookie of %d characters is none that securecookie made", len(value))
	}
	payload = strings.TrimRight(parts[1], "=")
	content, err = base64.RawURLEncoding.DecodeString(payload)
	if err != nil || len(content) < sidSize {
		return "", nil, fmt.Errorf("a cookie of %d characters holds no SID", len(value))
	}
	return payload, content, nil
}

// FindSecret tells in which form text holds b, "" if in none.
func FindSecret(text string, b []byte) string {
	for name, form := range map[string]string{
		"raw bytes": string(b), "hex": hex.EncodeToString(b),
		"base64": base64.RawStdEncoding.EncodeToString(b), "base64url": base64.RawURLEncoding.EncodeToString(b),
		"a Go slice": strings.Trim(fmt.Sprint(b), "[]"), "a quoted string": strings.Trim(fmt.Sprintf("%q", b), `"`),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return name
		}
	}
	return ""
}
