package binding_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/tuning"
	"github.com/redsession/redsession/redsessiontest"
)

// copied is what a thief took, and when.
type copied struct {
	b  *redsessiontest.Browser
	at time.Time
}

// TestBindingOwnerIsNeverLoggedOut plays random histories of an owner and of thieves who copy
// both cookies at any moment: the owner stays logged in, and a thief is out soon after.
func TestBindingOwnerIsNeverLoggedOut(t *testing.T) {
	t.Parallel()
	histories := uint64(200)
	if tuning.Current().Apart {
		histories = 50
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSite(t, func(c *redsession.Config) { c.RotateEvery = 40 * time.Minute })
			rnd := rand.New(rand.NewPCG(seed, 1))
			owner := s.m.Browser()
			var thieves []copied
			steal := func() {
				if rnd.IntN(3) == 0 {
					thieves = append(thieves, copied{owner.Thief(), s.m.Now()})
				}
			}
			s.want(t, owner, "/login?user=alice", "200")
			steal()
			for range rnd.IntN(4) { // before the owner does anything
				s.m.Advance(time.Duration(rnd.IntN(180)) * time.Second)
				for _, thief := range thieves {
					s.see(thief.b, []string{"/", "/add", "/rotate"}[rnd.IntN(3)])
				}
			}
			s.open(owner, "/")
			for step := range 25 {
				steal()
				switch rnd.IntN(9) {
				case 0, 1:
					s.m.Advance(time.Duration(rnd.IntN(30)) * time.Minute)
				case 2:
					if rnd.IntN(2) == 0 { // an early proof
						owner.Get(s.h, "/proof")
					}
					s.m.Advance(time.Duration(rnd.IntN(90)) * time.Second)
				case 3:
					s.see(owner, "/rotate")
				case 4:
					var all sync.WaitGroup
					for range 3 {
						all.Go(func() { s.see(owner, "/add") })
					}
					all.Wait()
				case 8: // the answer is lost, and those to the proofs before it
					owner.Get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						s.h.ServeHTTP(httptest.NewRecorder(), r)
						w.WriteHeader(http.StatusBadGateway)
					}), []string{"/", "/add", "/rotate"}[rnd.IntN(3)])
				case 5:
					if len(thieves) > 0 {
						s.see(thieves[rnd.IntN(len(thieves))].b, []string{"/", "/add", "/rotate", "/others", "/proof"}[rnd.IntN(5)])
					}
				default:
					if got := s.open(owner, "/"); !strings.HasPrefix(got, "200 alice") || step > 0 && !strings.HasSuffix(got, "bound") {
						t.Fatalf("step %d: the owner gets %q", step, got)
					}
				}
			}
			if got := s.open(owner, "/"); !strings.HasPrefix(got, "200 alice") {
				t.Errorf("the owner gets %q in the end", got)
			}
			s.m.Advance(12 * time.Minute)
			for _, thief := range thieves {
				if got := s.see(thief.b, "/"); strings.Contains(got, "alice") {
					t.Errorf("a thief who copied %s ago gets %q", s.m.Now().Sub(thief.at), got)
				}
			}
			if got := s.see(owner, "/"); !strings.HasPrefix(got, "200 alice") {
				t.Errorf("the owner gets %q after the thieves", got)
			}
		})
	}
}
