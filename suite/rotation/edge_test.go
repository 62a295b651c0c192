package rotation_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestRotationCountsOnceForRevokeUser(t *testing.T) {
	t.Parallel()
	least := map[string]int{"in one script": 2, "in parts": 3} // exchanges that it waits for
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			rotation, user := &stage.Latch{}, strings.ReplaceAll(way, " ", "-")
			one, two := e.HookedBy(t, maker, rotation), e.Manager(t)
			visitor := stage.LifeBrowser(t, one, nil)
			for gap, more := 1, true; more; gap++ {
				b := visitor.With("")
				b.Get("/login?user=" + user)
				e.Advance(t, 4*time.Hour)
				n := 0
				var err error
				more = rotation.Between(gap, func() { b.Get("/who") }, func() { n, err = two.RevokeUser(t.Context(), user) })
				switch {
				case more && (n != 1 || err != nil):
					t.Errorf("%s, before exchange %d: got %d, %v, want the one session counted once", way, gap, n, err)
				case !more && gap <= least[way]:
					t.Errorf("%s: got %d gaps in a rotation, want more to try", way, gap-1)
				}
				e.Advance(t, time.Second) // the next login is one after the revocation
			}
		}
	})
}

func TestRotationThatDoesNotFitLosesNoChange(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		value := strings.Repeat("v", 200)
		const key = redsession.Key[string]("value")
		hs := stage.Handlers{
			"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				s.Login("alice")
				key.Set(s, value)
			},
			"/set": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				key.Set(s, strings.ToUpper(value))
			},
		}
		roomy := e.Manager(t)
		b := stage.NewBrowser(t, stage.Serve(t, roomy, hs))
		b.Get("/login")
		infos, err := roomy.Sessions(t.Context(), "alice")
		if err != nil || len(infos) != 1 {
			t.Fatalf("got %v, %v, want alice's session", infos, err)
		}
		tight := e.Manager(t, func(c *redsession.Config) { c.MaxBytes = infos[0].Bytes })
		e.Advance(t, 4*time.Hour)
		if a := stage.NewBrowser(t, stage.Serve(t, tight, hs)).With(b.Cookie()).Get("/set"); a.StatusCode != http.StatusOK {
			t.Errorf("got %d %q while a rotation is due, want the change stored", a.StatusCode, a.Text)
		}
		for _, record := range e.Dump(t) {
			if strings.Contains(record, strings.ToUpper(value)) {
				return
			}
		}
		t.Error("the change is not in Redis")
	})
}
