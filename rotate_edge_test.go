package redsession_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

func TestRevokeUserCountsASessionOnceWhileItRotates(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		rotation := &latch{}
		one, two := e.hooked(t, rotation), e.manager(t)
		visitor := alive(t, one, nil)
		for gap := 1; ; gap++ {
			b := visitor.with("")
			b.get("/login?user=alice")
			e.advance(t, 4*time.Hour)
			n := 0
			var err error
			if !rotation.between(gap, func() { b.get("/who") }, func() { n, err = two.RevokeUser(t.Context(), "alice") }) {
				if gap < 4 {
					t.Errorf("got %d gaps in a rotation, want more to try", gap)
				}
				return
			}
			if n != 1 || err != nil {
				t.Errorf("before exchange %d: got %d, %v, want the one session counted once", gap, n, err)
			}
		}
	})
}

func TestARotationThatDoesNotFitLosesNoChange(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		value := strings.Repeat("v", 200)
		const key = redsession.Key[string]("value")
		hs := handlers{
			"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				s.Login("alice")
				key.Set(s, value)
			},
			"/set": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				key.Set(s, strings.ToUpper(value))
			},
		}
		roomy := e.manager(t)
		b := newBrowser(t, serve(t, roomy, hs))
		b.get("/login")
		infos, err := roomy.Sessions(t.Context(), "alice")
		if err != nil || len(infos) != 1 {
			t.Fatalf("got %v, %v, want alice's session", infos, err)
		}
		tight := e.manager(t, func(c *redsession.Config) { c.MaxBytes = infos[0].Bytes })
		e.advance(t, 4*time.Hour)
		if a := newBrowser(t, serve(t, tight, hs)).with(b.cookie()).get("/set"); a.StatusCode != http.StatusOK {
			t.Errorf("got %d %q while a rotation is due, want the change stored", a.StatusCode, a.body)
		}
		for _, record := range e.dump(t) {
			if strings.Contains(record, strings.ToUpper(value)) {
				return
			}
		}
		t.Error("the change is not in Redis")
	})
}
