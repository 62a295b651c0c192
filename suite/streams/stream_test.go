package streams_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// looks is a go-redis hook that holds back each look at the sessions behind
// open streams.
type looks struct {
	came chan []string // the commands of one pipeline
	pass chan error    // lets it go on, or fail
}

func (l *looks) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *looks) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (l *looks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "getrange" {
			names := make([]string, len(cmds))
			for i, cmd := range cmds {
				names[i] = cmd.Name()
			}
			if err := l.look(ctx, names); err != nil {
				for _, cmd := range cmds {
					cmd.SetErr(err)
				}
				return err
			}
		}
		return next(ctx, cmds)
	}
}

func (l *looks) look(ctx context.Context, names []string) error {
	select {
	case l.came <- names:
	case <-ctx.Done(): // the test is over
		return ctx.Err()
	}
	select {
	case err := <-l.pass:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// want waits for a look and checks that it reads so many sessions and does no
// more to them.
func (l *looks) want(t *testing.T, sessions int) {
	t.Helper()
	if got, want := strings.Join(<-l.came, " "), strings.TrimSpace(strings.Repeat("getrange ", sessions)); got != want {
		t.Errorf("got a look of %q, want %q", got, want)
	}
}

// watched is a server with streams whose looks at Redis are held back.
type watched struct {
	*stage.Browser
	looks  *looks
	opened chan context.Context // of each stream
}

func watch(t *testing.T, e *stage.Env) *watched {
	t.Helper()
	w := &watched{looks: &looks{make(chan []string), make(chan error)}, opened: make(chan context.Context)}
	over := make(chan struct{})
	w.Browser = stage.LifeBrowser(t, e.Hooked(t, w.looks), stage.Handlers{"/stream": func(rw http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		ctx := s.Context()
		rw.(http.Flusher).Flush()
		w.opened <- ctx
		select {
		case <-ctx.Done():
		case <-over:
		}
	}})
	t.Cleanup(func() { close(over) })
	return w
}

// stream logs alice in, opens n streams and returns her browser and their contexts.
func (w *watched) stream(n int) (*stage.Browser, []context.Context) {
	b := w.Fresh()
	b.Get("/login?user=alice")
	ctxs := make([]context.Context, n)
	for i := range ctxs {
		go func() { _, _ = b.Try("/stream") }() // cut off at the end
		ctxs[i] = <-w.opened
	}
	return b, ctxs
}

func TestStreamEndsSoonAfterItsSession(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	w := watch(t, e)
	elsewhere := e.Manager(t)
	revoked, ends := w.stream(10)
	loggedOut, more := w.stream(1)
	rotated, follows := w.stream(2)
	_, stays := w.stream(1)

	w.looks.want(t, 4) // not 14
	if err := elsewhere.Revoke(t.Context(), revoked.State().ID); err != nil {
		t.Error(err)
	}
	loggedOut.Get("/logout")
	rotated.Get("/rotate")
	w.looks.pass <- nil
	for _, ctx := range append(ends, more...) {
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, redsession.ErrGone) {
			t.Errorf("got cause %v, want ErrGone", err)
		}
	}
	w.looks.want(t, 1) // at what the rotation led to
	w.looks.pass <- nil

	w.looks.want(t, 2)
	for _, ctx := range append(follows, stays...) {
		if ctx.Err() != nil {
			t.Errorf("got a stream ended by %v, want it to outlive the rotation", context.Cause(ctx))
		}
	}
	if err := elsewhere.Revoke(t.Context(), rotated.State().ID); err != nil {
		t.Error(err)
	}
	w.looks.pass <- nil
	for _, ctx := range follows {
		<-ctx.Done()
	}
}

func TestStreamOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	w := watch(t, e)
	b, ctxs := w.stream(1)
	w.looks.want(t, 1)
	w.looks.pass <- errors.New("connection refused")
	w.looks.want(t, 1)
	if err := ctxs[0].Err(); err != nil {
		t.Errorf("got the stream ended by %v, want it open: nobody knows that the session ended", err)
	}
	b.Get("/logout")
	w.looks.pass <- nil
	<-ctxs[0].Done()
}

func TestStreamEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/login?user=alice", "/who"} {
		e := stage.NewMini(t)
		contexts := make(chan context.Context, 2)
		b := stage.LifeBrowser(t, e.Manager(t), stage.Handlers{"/short": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			contexts <- s.Context()
			contexts <- s.Context()
		}})
		b.Get(path)
		b.Get("/short")
		first, second := <-contexts, <-contexts
		<-first.Done()
		if first != second || !errors.Is(context.Cause(first), context.Canceled) {
			t.Errorf("after %s: got cause %v, want one context for both, ended by the request's", path, context.Cause(first))
		}
	}
}

func TestStreamsAreNotWatchedAfterClose(t *testing.T) {
	e := stage.NewMini(t)
	m := e.Manager(t)
	opened, over := make(chan struct{}), make(chan struct{})
	b := stage.LifeBrowser(t, m, stage.Handlers{"/stream": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		_ = s.Context()
		close(opened)
		<-over
	}})
	defer close(over)
	b.Get("/login?user=alice")
	go func() { _, _ = b.Try("/stream") }()
	<-opened
	stage.Until(t, "a goroutine that watches", func() bool { return watchers() == 1 })
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := watchers(); n != 0 {
		t.Errorf("got %d goroutines watching after Close, want none", n)
	}
}

// watchers counts the goroutines of this process that watch streams.
func watchers() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "watch.(*Watcher).run(")
}
