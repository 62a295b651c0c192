package redsession_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

// A package that keeps sessions inside its cookie. In truth the value is signed, and Decode
// verifies that.
func ExampleLegacy_insideTheCookie() {
	type content struct {
		User   string
		Signed time.Time
	}
	legacy := redsession.Legacy{
		Source: "shop", Cookie: "shop", MaxAge: 24 * time.Hour,
		Decode: func(value string) (*redsession.LegacyRecord, error) {
			raw, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil {
				return nil, err
			}
			var c content
			if err := json.Unmarshal(raw, &c); err != nil {
				return nil, err
			}
			return &redsession.LegacyRecord{UserID: c.User, CreatedAt: c.Signed, ExpiresAt: c.Signed.Add(24 * time.Hour)}, nil
		},
	}
	redis, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + redis.Addr(), Secrets: [][]byte{[]byte("32 bytes from openssl rand, no text")},
		Adopt: []redsession.Legacy{legacy}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		fmt.Printf("%s: %q\n", r.URL.Path, s.UserID())
		if r.URL.Path == "/logout" {
			s.Logout()
		}
	}))
	raw, _ := json.Marshal(content{"alice", time.Now().Add(-time.Hour)})
	for _, path := range []string{"/", "/logout", "/stolen-value"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.AddCookie(&http.Cookie{Name: "shop", Value: base64.RawURLEncoding.EncodeToString(raw)})
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	// Output:
	// /: "alice"
	// /logout: "alice"
	// /stolen-value: ""
}
