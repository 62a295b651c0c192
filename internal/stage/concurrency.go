package stage

import (
	"sync"
	"testing"
	"time"
)

// ErrorOf drops the value of a call that returns two.
func ErrorOf[T any](_ T, err error) error { return err }

// Until waits for what happens in the background: it polls until the condition holds, and fails the test after 15 s.
func Until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 15 s in vain for %s", what)
		}
	}
}

// Parallel runs fn n times at once.
func Parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			fn(i)
		})
	}
	close(begin)
	wg.Wait()
}

// AtOnce runs fn n times at once and returns what each returned.
func AtOnce[T any](n int, fn func(i int) T) []T {
	results := make([]T, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = fn(i) })
	}
	wg.Wait()
	return results
}
