package redsession_test

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

// BenchmarkCookieVerification times the check of a cookie's signature, before
// Redis is asked, for values that an attacker may send beside the valid one, in
// turns, and reports what each takes in relation to that. What a value costs must
// not tell how much of a guessed signature is right.
//
// That this is so by construction: every comparison with something that only the
// server can compute is by crypto/subtle or crypto/cipher, over all bytes, after
// the whole HMAC was computed:
//
//   - the cookie's signature: Keys.Signed in internal/record/keys.go
//   - the record's and the tombstone's token: mac.equal, there too
//   - a CSRF token: VerifyCSRF in guard.go
//   - encrypted values and the successor in a tombstone: GCM in internal/record/crypt.go
//
// A SID is never compared: its hash names the key that Redis looks up. Nobody
// outside can choose either side where stamps, revisions and ids are compared. A value of another length or alphabet is refused sooner, which
// tells an attacker what the documentation tells as well.
func BenchmarkCookieVerification(b *testing.B) {
	m, valid := verifier(b)
	signed, err := base64.URLEncoding.DecodeString(valid)
	if err != nil {
		b.Fatal(err)
	}
	at := func(i int) string { // valid with one byte another
		other := append([]byte(nil), signed...)
		other[i] ^= 1
		return base64.URLEncoding.EncodeToString(other)
	}
	kinds := []struct {
		name, value string
		accepted    bool
		took        []time.Duration // of each batch
	}{
		{name: "valid", value: valid, accepted: true},
		{name: "forged-first-byte", value: at(len(signed) - 32)},
		{name: "forged-last-byte", value: at(len(signed) - 1)},
		{name: "forged-all-bytes", value: base64.URLEncoding.EncodeToString(append(signed[:len(signed)-32:len(signed)-32], make([]byte, 32)...))},
		{name: "garbled-payload", value: at(len(signed) / 2)},
		{name: "garbled-date", value: at(0)},
	}
	const batch = 50 // long beside reading the clock, short beside the machine's other work, which the median leaves out
	for b.Loop() {
		for i := range kinds {
			k := &kinds[i]
			begin := time.Now()
			for range batch {
				if m.ReadsCookie(k.value) != k.accepted {
					b.Fatalf("%s: got accepted %t, want %t", k.name, !k.accepted, k.accepted)
				}
			}
			k.took = append(k.took, time.Since(begin))
		}
	}
	took := median(kinds[0].took)
	b.ReportMetric(took/batch, "ns/valid")
	for _, k := range kinds[1:] {
		b.ReportMetric(median(k.took)/took, k.name+"/valid")
	}
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2])
}

// verifier returns a Manager and a cookie of its making.
func verifier(b *testing.B) (m *redsession.Manager, cookie string) {
	b.Helper()
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + miniredis.RunT(b).Addr(), Secrets: [][]byte{secret}, Logger: slog.New(slog.DiscardHandler), Cookie: redsession.Cookie{InsecurePlainHTTP: true},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("ada")
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	cookie, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
	return m, strings.TrimPrefix(cookie, "session=")
}
