package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// token is what a provider issues: Refresh is good for one use.
type token struct {
	Access  int
	Refresh string
}

const (
	key   = redsession.Key[token]("oauth")
	other = redsession.Key[token]("other")
	count = redsession.Key[int]("n")
)

var errGrant = errors.New("invalid_grant")

// provider accepts each token for refreshing once. It is safe for concurrent use.
type provider struct {
	mu    sync.Mutex
	valid string
	calls int
	twice int           // tokens that were used before
	slow  time.Duration // what an answer takes
	fail  error
}

func newProvider() *provider { return &provider{valid: "r0"} }

func (p *provider) renew(_ context.Context, old token) (token, error) {
	time.Sleep(p.slow)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	switch {
	case p.fail != nil:
		return token{}, p.fail
	case old.Refresh != p.valid:
		p.twice++
		return token{}, errGrant
	}
	p.valid = fmt.Sprintf("r%d", old.Access+1)
	return token{old.Access + 1, p.valid}, nil
}

func (p *provider) want(t *testing.T, calls int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls != calls || p.twice != 0 {
		t.Errorf("got the provider asked %d times, %d with a token used before, want %d and 0", p.calls, p.twice, calls)
	}
}

// before says that what is older than that access is stale.
func before(access int) func(token) bool { return func(t token) bool { return t.Access < access } }

func always(token) bool { return true }

// site is a browser at a server whose handlers do what the test says.
type site struct {
	*stage.Scripted
	jobs sync.Map // of job, by number
	last atomic.Int64
}

// job is what a handler does.
type job = func(r *http.Request, w http.ResponseWriter, s *redsession.Session)

func newSite(t *testing.T, m *redsession.Manager) *site {
	t.Helper()
	st := &site{}
	st.Scripted = stage.NewScripted(t, m, stage.Handlers{
		"/run": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			do, _ := st.jobs.LoadAndDelete(r.FormValue("n"))
			do.(job)(r, w, s)
		},
	})
	return st
}

// page returns the path of a page that does something once.
func (st *site) page(do job) string {
	n := strconv.FormatInt(st.last.Add(1), 10)
	st.jobs.Store(n, do)
	return "/run?n=" + n
}

// run has a request do something.
func (st *site) run(do job) stage.Answer { return st.Get(st.page(do)) }

// refresh is a request that refreshes the token, and what came of it.
func (st *site) refresh(stale func(token) bool, fn func(context.Context, token) (token, error)) (got token, err error) {
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		got, err = key.Refresh(r.Context(), s, stale, fn)
		if shown, _ := key.Get(s); err == nil && shown != got {
			err = fmt.Errorf("the session shows %v beside %v", shown, got)
		}
	})
	return got, err
}

// login begins a session of alice's that has a token.
func (st *site) login(t *testing.T) *site {
	t.Helper()
	if a := st.run(func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		s.Login("alice")
		key.Set(s, token{0, "r0"})
		other.Set(s, token{0, "r0"})
	}); a.StatusCode != http.StatusOK {
		t.Fatalf("got status %d, want 200", a.StatusCode)
	}
	return st
}

// at is the same browser at another server.
func (st *site) at(t *testing.T, m *redsession.Manager) *site {
	t.Helper()
	next := newSite(t, m)
	next.Browser = next.With(st.Cookie())
	return next
}

func TestRefreshRunsOnce(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		p := newProvider()
		p.slow = 50 * time.Millisecond
		here := newSite(t, e.Manager(t, stage.Patient)).login(t)
		there := here.at(t, e.Manager(t, stage.Patient))
		stage.Parallel(50, func(i int) {
			st := []*site{here, there}[i%2]
			if got, err := st.refresh(before(1), p.renew); err != nil || got.Access != 1 {
				t.Errorf("got %v, %v, want the new token", got, err)
			}
		})
		p.want(t, 1)
		if got, err := there.refresh(before(2), p.renew); err != nil || got.Access != 2 {
			t.Errorf("got %v, %v, want the next token", got, err)
		}
		p.want(t, 2)
	})
}

func TestRefreshRoundTrips(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m, sent := e.Counted(t)
		st, p := newSite(t, m).login(t), newProvider()
		_, _ = st.refresh(before(1), p.renew)
		rows := []struct {
			name   string
			access int
			want   string
		}{
			{"a value that is not stale costs nothing beside the hit", 1, "GET EXPIRE in 1"},
			{"a stale one costs two round trips", 2, "GET EXPIRE EVALSHA EVALSHA in 3"},
		}
		for _, row := range rows {
			sent.Take()
			if _, err := st.refresh(before(row.access), p.renew); err != nil {
				t.Error(err)
			}
			if got := sent.Take(); got != row.want {
				t.Errorf("%s: got %s, want %s", row.name, got, row.want)
			}
		}
	})
}

// A provider that refuses is asked once, whoever waits, and again by whoever comes later.
func TestRefreshThatFails(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		p := newProvider()
		p.slow, p.fail = 50*time.Millisecond, errGrant
		here := newSite(t, e.Manager(t, stage.Patient)).login(t)
		there := here.at(t, e.Manager(t, stage.Patient))
		var loaded atomic.Int64
		all := make(chan struct{})
		errs := stage.AtOnce(50, func(i int) (err error) {
			[]*site{here, there}[i%2].run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
				if loaded.Add(1) == 50 {
					close(all)
				}
				<-all
				_, err = key.Refresh(r.Context(), s, before(1), p.renew)
			})
			return err
		})
		own, told := 0, 0
		for _, err := range errs {
			switch {
			case err == errGrant:
				own++
			case errors.Is(err, redsession.ErrNotRefreshed):
				told++
			}
		}
		if own != 1 || told != 49 {
			t.Errorf("got the provider's error %d times, ErrNotRefreshed %d times, want 1 and 49", own, told)
		}
		p.want(t, 1)
		p.fail = nil
		if got, err := there.refresh(before(1), p.renew); err != nil || got.Access != 1 {
			t.Errorf("got %v, %v of a later call, want a token", got, err)
		}
	})
}

// Who is loaded while the lease is held, or has committed something since, has waited as well.
func TestRefreshThatFailsForWhoComesMeanwhile(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	p := newProvider()
	p.fail = errGrant
	here := newSite(t, m).login(t)
	there := here.at(t, e.Manager(t))
	rows := map[string]func(r *http.Request, s *redsession.Session){
		"one that waits":                        func(*http.Request, *redsession.Session) {},
		"one that commits before it asks":       func(_ *http.Request, s *redsession.Session) { count.Set(s, 1) },
		"one that saves after it has been told": func(r *http.Request, s *redsession.Session) { count.Set(s, 2); _ = s.Save(r.Context()) },
	}
	var asked sync.WaitGroup
	failed := make(chan struct{})
	_, err := here.refresh(before(1), func(ctx context.Context, old token) (token, error) {
		var loaded sync.WaitGroup
		for name, prepare := range rows {
			loaded.Add(1)
			asked.Go(func() {
				there.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
					loaded.Done()
					if name != "one that waits" {
						<-failed
					}
					prepare(r, s)
					if _, err := key.Refresh(r.Context(), s, before(1), p.renew); !errors.Is(err, redsession.ErrNotRefreshed) {
						t.Errorf("%s: got %v, want ErrNotRefreshed", name, err)
					}
				})
			})
		}
		loaded.Wait()
		return p.renew(ctx, old)
	})
	close(failed)
	asked.Wait()
	if err != errGrant {
		t.Errorf("got %v of the one who asks, want the provider's error", err)
	}
	p.want(t, 1)
	there.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		for range 2 { // known from the load, and known from the call before
			if _, err := key.Refresh(r.Context(), s, before(1), p.renew); err != errGrant {
				t.Errorf("got %v of a later call, want the provider asked", err)
			}
		}
	})
	p.want(t, 3)
}
