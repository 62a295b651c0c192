package trace_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// tracer writes down what it is told, and what lies within what.
type tracer struct {
	mu    sync.Mutex
	lines []string
	errs  []error
	most  int // loads that shared a pipeline
	open  int
}

type within struct{}

func (tr *tracer) trace(ctx context.Context, op redsession.Operation) (context.Context, func(redsession.OperationEnd)) {
	around, _ := ctx.Value(within{}).(string)
	name := around + string(op.Kind)
	if len(op.Commands) > 0 {
		name += " " + strings.Join(op.Commands, "+")
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, name)
	tr.open++
	return context.WithValue(ctx, within{}, name+" > "), func(end redsession.OperationEnd) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.open--
		tr.most = max(tr.most, end.Shared)
		if end.Err != nil {
			tr.errs = append(tr.errs, end.Err)
		}
	}
}

// take returns what was told since it was called last.
func (tr *tracer) take(t *testing.T) string {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.open != 0 {
		t.Errorf("%d operations have not ended", tr.open)
	}
	text := strings.Join(tr.lines, ", ")
	tr.lines = nil
	return text
}

func TestTraceShowsWhatARequestDoes(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		tr := new(tracer)
		m := e.Manager(t, func(c *redsession.Config) { c.Trace = tr.trace })
		b := stage.LifeBrowser(t, m, nil)
		tr.take(t)
		const load = "load, load > exchange GET+EXPIRE"
		for _, row := range []struct{ path, want string }{
			{"/", "load"},
			{"/set?v=1", "load, commit, commit > exchange EVALSHA"},
			{"/", load},
			{"/set?v=2", load + ", commit, commit > exchange EVALSHA"},
			{"/login?user=alice", load + ", commit, commit > exchange EVALSHA"},
			{"/rotate", load + ", commit, commit > exchange EVALSHA"},
			{"/logout", load + ", commit, commit > exchange EVALSHA"},
		} {
			b.Get(row.path)
			if got := tr.take(t); got != row.want {
				t.Errorf("%s: got %s, want %s", row.path, got, row.want)
			}
		}
		if _, err := m.Sessions(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		if got := tr.take(t); !strings.HasPrefix(got, "exchange ZRANGE") {
			t.Errorf("got %s for a list, want its exchange", got)
		}
	})
}

func TestTraceTellsWhyAnOperationFailed(t *testing.T) {
	t.Parallel()
	tr := new(tracer)
	o := stage.NewOutage(t, func(c *redsession.Config) { c.Trace, c.OutageWait = tr.trace, -1 })
	b := stage.LifeBrowser(t, o.M, nil)
	b.Get("/login?user=alice")
	tr.take(t)
	o.Down(t)
	fresh := b.Fresh()
	if a := fresh.Get("/login?user=bob"); a.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %d, want 503", a.StatusCode)
	}
	if got := tr.take(t); !strings.Contains(got, "load, commit") {
		t.Errorf("got %s, want a load and a commit", got)
	}
	if !slices.ContainsFunc(tr.errs, func(err error) bool { return errors.Is(err, redsession.ErrUnavailable) }) {
		t.Errorf("got %v, want ErrUnavailable of the commit", tr.errs)
	}
}

// A panic in a function of the handler's ends the commit as well.
func TestTraceEndsWhatPanics(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	tr := new(tracer)
	m := e.Manager(t, func(c *redsession.Config) { c.Trace = tr.trace })
	const n = redsession.Key[int]("n")
	b := stage.LifeBrowser(t, m, stage.Handlers{"/panic": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
		calls := 0
		n.Update(s, func(old int) int {
			if calls++; calls > 1 {
				panic(http.ErrAbortHandler)
			}
			return old + 1
		})
		other := httptest.NewRequestWithContext(context.Background(), "GET", "https://example.org/set?v=9", nil)
		other.Header = r.Header.Clone()
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { n.Set(redsession.FromContext(r.Context()), 5) })).ServeHTTP(httptest.NewRecorder(), other)
	}})
	b.Get("/login?user=alice")
	tr.take(t)
	_, _ = b.Try("/panic")
	tr.take(t) // says what is still open
	if !slices.ContainsFunc(tr.errs, func(err error) bool { return strings.Contains(fmt.Sprint(err), "panicked") }) {
		t.Errorf("got %v, want that a function panicked", tr.errs)
	}
}

func TestTraceTellsHowManyLoadsShareAPipeline(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		tr := new(tracer)
		m := e.Manager(t, func(c *redsession.Config) { c.Trace = tr.trace })
		b := stage.LifeBrowser(t, m, nil)
		b.Get("/login?user=alice")
		tr.take(t)
		const loads = 64
		stage.Parallel(loads, func(int) { stage.Ask(t, m, "/", "session="+b.Cookie()) })
		got := strings.Count(tr.take(t), "load > exchange GET+EXPIRE")
		if got != loads || tr.most < 1 {
			t.Errorf("got %d exchanges of loads, at most %d shared, want one for each load, and how many shared it", got, tr.most)
		}
	})
}

func TestTraceLeaksNothing(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	tr := new(tracer)
	m := e.Manager(t, func(c *redsession.Config) { c.Trace = tr.trace })
	b := stage.LifeBrowser(t, m, nil)
	b.Play(e, "/set?v=secret-value", "/login?user=alice", "/rotate", "/set?v=other-secret", "/logout")
	said := tr.take(t)
	for _, secret := range []string{"secret", "alice", b.Cookie(), "session:"} {
		if secret != "" && strings.Contains(said, secret) {
			t.Errorf("got %q in a trace", secret)
		}
	}
}

func TestTraceEndsThoughTheProgramPanics(t *testing.T) {
	t.Parallel()
	e, tr, broken := stage.NewMini(t), new(tracer), false
	m := e.Manager(t, func(c *redsession.Config) {
		c.Trace = tr.trace
		c.LoadUser = func(_ context.Context, id string) (any, string, error) {
			if broken {
				panic(errors.New("the directory is broken"))
			}
			return id, "", nil
		}
	})
	b := stage.Browse(t, m.Handler(stage.LifeHandlers().Mux()), false)
	b.Get("/login?user=alice")
	broken = true
	if a, err := b.Try("/who"); err == nil {
		t.Errorf("got %d, want the connection cut", a.StatusCode)
	}
	tr.take(t)
	if len(tr.errs) == 0 {
		t.Error("got no error of the load, want one")
	}
}

// A login that finds no place has been stored, and is told of as an error.
func TestTraceOfALoginBeyondTheLimit(t *testing.T) {
	t.Parallel()
	e, tr := stage.NewMini(t), new(tracer)
	b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Trace, c.MaxPerUser, c.RefuseAtLimit = tr.trace, 1, true }), nil)
	b.Fresh().Get("/login?user=alice")
	tr.take(t)
	b.Get("/login?user=alice")
	const exchange = ", commit > exchange "
	if got, want := tr.take(t), "load, commit"+exchange+"EVALSHA"+exchange+"ZRANGE"+exchange+"GET+PTTL"+exchange+"EVALSHA"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(tr.errs) != 1 || !errors.Is(tr.errs[0], redsession.ErrTooManySessions) {
		t.Errorf("got %v, want ErrTooManySessions", tr.errs)
	}
}
