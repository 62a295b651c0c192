package binding_test

import (
	"fmt"
	"math/rand/v2"
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
			rnd := rand.New(rand.NewPCG(seed, 1))
			s := newSite(t, func(c *redsession.Config) {
				c.RotateEvery = 40 * time.Minute
				c.OnReplay = []redsession.ReplayPolicy{redsession.RefuseReplay, redsession.EndSession}[rnd.IntN(2)]
			})
			owner := s.m.Browser()
			var thieves []copied
			steal := func() {
				if rnd.IntN(3) == 0 {
					thieves = append(thieves, copied{owner.Thief(), s.m.Now()})
				}
			}
			s.want(t, owner, "/login?user=alice", "200")
			steal()
			page := func() string { return s.follow(owner, "/") }
			if rnd.IntN(2) == 0 { // a thief comes first; what nobody binds within 10 minutes stays as it is
				first := owner.Thief()
				thieves = append(thieves, copied{first, s.m.Now()})
				for range rnd.IntN(5) {
					s.see(first, []string{"/", "/add", "/rotate"}[rnd.IntN(3)])
					s.m.Advance(time.Duration(rnd.IntN(100)) * time.Second)
				}
			}
			page()
			for step := range 25 {
				steal()
				switch rnd.IntN(9) {
				case 0, 1:
					s.m.Advance(time.Duration(rnd.IntN(30)) * time.Minute)
				case 2:
					s.m.Advance(time.Duration(rnd.IntN(90)) * time.Second)
				case 3:
					s.follow(owner, "/rotate")
				case 4:
					var all sync.WaitGroup
					for range 3 {
						all.Go(func() { s.follow(owner, "/add") })
					}
					all.Wait()
				case 8: // the answer is lost, and those to the proofs before it
					s.loseAnswer(owner, []string{"/", "/add", "/rotate"}[rnd.IntN(3)])
				case 5:
					for range min(len(thieves), 3) {
						s.see(thieves[rnd.IntN(len(thieves))].b, []string{"/", "/add", "/rotate", "/others", "/proof"}[rnd.IntN(5)])
					}
				default:
					if got := page(); !strings.HasPrefix(got, "200 alice") || step > 0 && !strings.HasSuffix(got, "bound") {
						t.Fatalf("step %d: the owner gets %q", step, got)
					}
				}
			}
			if got := page(); !strings.HasPrefix(got, "200 alice") {
				t.Errorf("the owner gets %q in the end", got)
			}
			s.m.Advance(12 * time.Minute)
			for _, thief := range thieves {
				if got := s.see(thief.b, "/"); strings.Contains(got, "alice") {
					t.Errorf("a thief who copied %s ago gets %q", s.m.Now().Sub(thief.at), got)
				}
			}
			if got := page(); !strings.HasPrefix(got, "200 alice") {
				t.Errorf("the owner gets %q after the thieves", got)
			}
		})
	}
}
