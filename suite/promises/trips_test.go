package promises_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// trip is one request and what of it goes to Redis.
type trip struct {
	name string
	st   *stage.Scripted
	ops  string
	want string
}

// wantTrips makes the requests and compares what goes to Redis through p.
func wantTrips(t *testing.T, p *redistest.Proxy, trips []trip) {
	t.Helper()
	stage.Sent(p)
	for _, row := range trips {
		t.Run(row.name, func(t *testing.T) {
			inSubtest(t, row.st).Must(row.ops)
			if got := stage.Sent(p); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		st := stage.NewScripted(t, m)
		guest, user, other := st.Fork(""), st.Fork(""), st.Fork("")
		for _, b := range []*stage.Scripted{guest, user, other} {
			b.Must("set:a:1")
		}
		st.Must("login:carol add:n")
		forged := guest.Cookie()[:len(guest.Cookie())-4] + "AAAA"
		wantTrips(t, p, []trip{
			{"no cookie costs nothing", st.Fork(""), "", " in 0"},
			{"a garbage cookie costs nothing", st.Fork("garbage"), "", " in 0"},
			{"a cookie that nobody signed costs nothing", st.Fork(forged), "", " in 0"},
			{"a session that nobody wrote to is not stored", st.Fork(""), "only:a flashes del:a clear save", " in 0"},
			{"a session whose writes were taken back is not stored", st.Fork(""), "set:a:1 del:a", " in 0"},
			{"a logout of nobody costs nothing", st.Fork(""), "logout", " in 0"},
			{"the first write is one script", st.Fork(""), "set:a:1", "EVALSHA in 1"},
			{"a read hit is one round trip", guest, "only:a flashes csrf save", "GET EXPIRE in 1"},
			{"a read hit of a user is one round trip", st, "only:n flashes csrf save", "GET EXPIRE in 1"},
			{"a write hit is one script more", guest, "set:a:2 set:b:1 add:n", "GET EXPIRE EVALSHA in 2"},
			{"a login without a session", st.Fork(""), "login:alice set:a:1", "EVALSHA in 1"},
			{"a login with a session", user, "login:alice set:b:1", "GET EXPIRE EVALSHA in 2"},
			{"a login again", user, "login:alice", "GET EXPIRE EVALSHA in 2"},
			{"a login as another user", other, "login:bob", "GET EXPIRE EVALSHA in 2"},
			{"a rotation", user, "rotate", "GET EXPIRE EVALSHA in 2"},
			{"the first hit after a rotation writes once", user, "", "GET EXPIRE EVALSHA in 2"},
			{"the second hit after a rotation is one round trip", user, "", "GET EXPIRE in 1"},
			{"a logout", user, "logout", "GET EXPIRE EVALSHA in 2"},
			{"a logout of an anonymous session", guest, "logout", "GET EXPIRE EVALSHA in 2"},
		})
		e.Advance(t, 3*time.Hour)
		wantTrips(t, p, []trip{
			{"a timed rotation", st, "", "GET EXPIRE EVALSHA in 2"},
			{"a timed rotation and a write", other, "set:a:1", "GET EXPIRE EVALSHA in 2"},
		})
	})
}

// stepOf names the step of a script that is run for one key, "" for any other command.
func stepOf(args []string) string {
	if !strings.HasPrefix(args[0], "EVAL") || args[2] != "1" {
		return ""
	}
	return args[4]
}

// describe names what each wave sent, "GET EXPIRE, enter insert, replace", in a wave of scripts by the alphabet.
func describe(waves []redistest.Wave) string {
	texts := make([]string, len(waves))
	for i, w := range waves {
		var names []string
		for _, args := range w {
			names = append(names, cmp.Or(stepOf(args), args[0]))
		}
		if names[0] != "GET" {
			slices.Sort(names)
		}
		texts[i] = strings.Join(names, " ")
	}
	return strings.Join(texts, ", ")
}

// holdTidying holds back the steps that tidy up, which are those that waited does not name. tidied waits for them to come,
// and lets them pass.
func holdTidying(t *testing.T, p *redistest.Proxy, waited string) (tidied func(want string)) {
	came, pass := make(chan string, 10), make(chan struct{})
	p.Reset()
	p.Reply(func(args []string) (string, bool) {
		if step := stepOf(args); (step == "leave" || step == "move") && !strings.Contains(waited, step) {
			came <- step
			<-pass
		}
		return "", false
	})
	return func(want string) {
		t.Helper()
		if want != "" {
			if got := <-came; got != want {
				t.Errorf("got %q tidied up, want %q", got, want)
			}
		}
		close(pass)
		p.Reply(nil)
		if want != "" { // or the next row would see it
			stage.Until(t, "what tidies up to be on its way", func() bool {
				return slices.ContainsFunc(p.Commands(), func(args []string) bool { return stepOf(args) == want })
			})
		}
		if len(came) > 0 {
			t.Errorf("got %q tidied up as well", <-came)
		}
	}
}

// TestOneRoundTripForEachPartOfAChange is what a cluster costs: a round trip for each part of a change, in which
// the nodes go side by side. Nobody waits for the last part, which tidies up.
func TestOneRoundTripForEachPartOfAChange(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		o, err := redis.ParseURL(e.URL)
		if err != nil {
			t.Fatal(err)
		}
		p := redistest.NewProxy(t, o.Addr)
		m := e.ApartManager(t, func(c *redsession.Config) { c.URL = p.URL })
		st, before := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
		stage.Parallel(8, func(int) { st.Fork("").Must("set:a:1") }) // connections take time to open
		for _, row := range []struct{ name, before, ops, waited, tidied string }{
			{"no cookie costs nothing", "", "", "", ""},
			{"the first write", "", "set:a:1", "insert", ""},
			{"a read hit", "set:a:1", "only:a flashes csrf save", "GET EXPIRE", ""},
			{"a write hit", "set:a:1", "set:b:1", "GET EXPIRE, replace", ""},
			{"a login without a session", "", "login:alice", "enter insert", ""},
			{"a login with a session", "set:a:1", "login:alice", "GET EXPIRE, enter insert, replace", ""},
			{"a login again", "login:alice", "login:alice", "GET EXPIRE, enter insert, replace", "leave"},
			{"a login as another user", "login:bob", "login:alice", "GET EXPIRE, enter insert, end", "leave"},
			{"a rotation", "login:alice", "rotate", "GET EXPIRE, insert, replace", "move"},
			{"the first hit after a rotation", "login:alice rotate", "", "GET EXPIRE, move, replace", ""},
			{"a logout", "login:alice", "logout", "GET EXPIRE, end", "leave"},
			{"a logout of an anonymous session", "set:a:1", "logout", "GET EXPIRE, end", ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				before := inSubtest(t, before).Fork("")
				for ops := range strings.FieldsSeq(row.before) {
					before.Must(ops)
				}
				st := inSubtest(t, st).Fork(before.Cookie())
				tidied := holdTidying(t, p, row.waited)
				waves := redistest.Waves(func() { st.Must(row.ops) }, p)
				tidied(row.tidied)
				if got := describe(waves); got != row.waited {
					t.Errorf("got %q, want %q", got, row.waited)
				}
			})
		}
	})
}

func TestOneRoundTripForEachPartOfARevocation(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		client, sent := e.NewClient(t), &stage.Counter{}
		client.AddHook(sent)
		for _, row := range []struct {
			name   string
			make   stage.Maker
			before bool // they were revoked a minute ago
			others bool // all but one are revoked, which also shows its cookie
			want   int
		}{
			{"one node has all keys", e.Manager, false, false, 3},
			{"the keys lie apart", e.ApartManager, false, false, 4},
			{"one node has all keys, a revocation before", e.Manager, true, false, 3},
			{"the keys lie apart, a revocation before", e.ApartManager, true, false, 4},
			{"all but one's own, one node has all keys", e.Manager, false, true, 4},
			{"all but one's own, the keys lie apart", e.ApartManager, false, true, 5},
			{"all but one's own, one node has all keys, a revocation before", e.Manager, true, true, 4},
			{"all but one's own, the keys lie apart, a revocation before", e.ApartManager, true, true, 5},
		} {
			t.Run(row.name, func(t *testing.T) {
				m := row.make(t, func(c *redsession.Config) { c.URL, c.Client = "", client })
				logins := e.Manager(t)
				if row.before {
					if _, err := logins.RevokeUser(t.Context(), "erin"); err != nil {
						t.Fatal(err)
					}
					e.Advance(t, time.Minute)
				}
				page := logins.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("erin") }))
				last := httptest.NewRecorder()
				for range 128 {
					last = httptest.NewRecorder()
					page.ServeHTTP(last, httptest.NewRequest(http.MethodPost, "/", nil))
				}
				if err := logins.Close(); err != nil { // which waits for what is done in the background
					t.Fatal(err)
				}
				e.Advance(t, time.Second)
				sent.Take()
				want := 128
				revoke := func() (int, error) { return m.RevokeUser(t.Context(), "erin") }
				if row.others {
					want--
					revoke = func() (n int, err error) {
						r := httptest.NewRequest(http.MethodPost, "/", nil)
						r.AddCookie(last.Result().Cookies()[0])
						m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
							n, err = m.RevokeOthers(r.Context(), redsession.FromContext(r.Context()))
						})).ServeHTTP(httptest.NewRecorder(), r)
						return n, err
					}
				}
				if n, err := revoke(); n != want || err != nil {
					t.Errorf("got %d, %v, want %d sessions revoked", n, err, want)
				}
				if got := sent.Trips(); got != row.want {
					t.Errorf("got %d round trips, want %d", got, row.want)
				}
				e.Client.FlushAll(t.Context())
			})
		}
	})
}
