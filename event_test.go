package redsession_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/redsession/redsession"
)

// Whoever hands an event on, as to a queue, keeps its context beyond the request.
func TestTheContextOfAnEventStaysTheRequestsOwn(t *testing.T) {
	type requestNumber struct{}
	var stamp atomic.Value
	stamp.Store("first")
	var kept context.Context
	m := newMini(t).manager(t, func(c *redsession.Config) {
		c.UserStamp = func(_ context.Context, user string) (string, error) {
			if user == "alice" {
				return stamp.Load().(string), nil
			}
			return "", nil
		}
		c.OnEvent = func(ctx context.Context, e redsession.Event) {
			if e.Kind == redsession.EventRevoked {
				kept = ctx
			}
		}
	})
	alice := newStage(t, m)
	alice.must("login:alice")
	bob := alice.fork("")
	bob.must("login:bob")
	stamp.Store("second")
	for n := range 2 {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), requestNumber{}, n), http.MethodGet, "/", nil)
		if n == 0 { // the first cookie's session ends, the second one's is served
			r.AddCookie(&http.Cookie{Name: "session", Value: alice.cookie()})
		}
		r.AddCookie(&http.Cookie{Name: "session", Value: bob.cookie()})
		m.Handler(http.NotFoundHandler()).ServeHTTP(&discarded{}, r)
	}
	if kept == nil {
		t.Fatal("got no event, want that of the revoked session")
	}
	if got := kept.Value(requestNumber{}); got != 0 {
		t.Errorf("got the values of request %v in the event's context, want those of request 0", got)
	}
}
