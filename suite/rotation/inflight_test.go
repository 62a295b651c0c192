package rotation_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/stage"
)

// A login and a rotation take several steps, in one command or in one each. What another request writes between any two
// of them, and is told that it was kept, must come along.
func TestRotationTakesAWriteBetweenItsStepsAlong(t *testing.T) {
	t.Parallel()
	steps := []func([]string) bool{stage.StoresRecord, stage.EntersIndex, stage.SetsTombstone}
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			m, p := e.BehindBy(t, maker)
			slow, fast := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
			slow.Must("login:warm add:n") // Redis knows the scripts from here on
			slow.Must("add:n")
			for _, ops := range []string{"login:alice add:n", "rotate add:n"} {
				for step, pick := range steps {
					when := fmt.Sprintf("%s, %q, before step %d", way, ops, step+1)
					st := slow.Fork("")
					st.Must("set:a:0 add:n login:alice")
					st.Must() // a rotated id is seen
					other := fast.Fork(st.Cookie())
					release := st.Hold("hold " + ops)
					between := make(stage.Gate)
					var once sync.Once
					p.Reply(func(args []string) (string, bool) {
						if pick(args) {
							once.Do(between.Pass)
						}
						return "", false
					})
					done := make(chan stage.Answer, 1)
					go func() { done <- release() }()
					select {
					case leave := <-between:
						other.Must("set:b:1 add:n")
						close(leave)
					case <-time.After(15 * time.Second):
						t.Fatalf("%s: the step never came", when)
					}
					if a := <-done; a.StatusCode != http.StatusOK {
						t.Errorf("%s: got status %d, want 200", when, a.StatusCode)
					}
					p.Reply(nil)
					if got := st.Do().Text; got != "alice a=0 b=1 n=3" {
						t.Errorf("%s: got %q, want alice a=0 b=1 n=3", when, got)
					}
				}
			}
		}
	})
}
