package response_test

import (
	"bytes"
	"context"
	"errors"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestRequestTellsMiddlewaresOutsideItsRoute holds what loggers, tracers and metrics
// outside see of a request: the route, and not the form, which may hold passwords.
func TestRequestTellsMiddlewaresOutsideItsRoute(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /users/{id}", func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm() })
	mux.HandleFunc("/broken", func(http.ResponseWriter, *http.Request) { panic("broken template") })
	own, other := stage.NewMini(t).Manager(t), stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.Cookie.Name = "other" })
	for _, row := range []struct {
		name         string
		h            http.Handler
		method, path string
		want         string
	}{
		{"a route with a method and a wildcard", own.Handler(mux), "POST", "/users/7", "POST /users/{id}"},
		{"no route", own.Handler(mux), "GET", "/nowhere", ""},
		{"a handler that panics", own.Handler(mux), "GET", "/broken", "/broken"},
		{"two Managers", other.Handler(own.Handler(mux)), "POST", "/users/7", "POST /users/{id}"},
		{"http.TimeoutHandler inside, which has a copy of its own", own.Handler(http.TimeoutHandler(mux, time.Hour, "")), "POST", "/users/7", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(row.method, row.path, strings.NewReader("password=secret"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			func() {
				defer func() { _ = recover() }()
				row.h.ServeHTTP(httptest.NewRecorder(), r)
			}()
			if r.Pattern != row.want || r.Form != nil || r.PostForm != nil {
				t.Errorf("got pattern %q and form %v, want %q and none", r.Pattern, r.Form, row.want)
			}
		})
	}
}

// upload is a form with a file of 12 MB, more than http.Request keeps in memory at 1 MB.
func upload(t *testing.T) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "large.bin")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(make([]byte, 12<<20))
	form.Close()
	return b.Bytes(), form.FormDataContentType()
}

// TestRequestLeavesNoUploadedFile counts what uploads leave in the temporary folder.
func TestRequestLeavesNoUploadedFile(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	body, contentType := upload(t)
	m := stage.NewMini(t).Manager(t)
	parsed := 0
	parse := func(r *http.Request) {
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			t.Error(err)
		}
		if found, _ := os.ReadDir(folder); len(found) > 0 {
			parsed++
		}
	}
	outside := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { parse(r); next.ServeHTTP(w, r) })
	}
	for name, h := range map[string]http.Handler{
		"parsed inside": m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { parse(r) })),
		"parsed inside, then a panic": recoverers["one that answers every panic"](m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			parse(r)
			panic("broken template")
		}))),
		"parsed inside, then a failed commit": m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			parse(r)
			redsession.Key[chan int]("c").Set(redsession.FromContext(r.Context()), nil)
		})),
		"parsed outside": outside(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if f, err := r.MultipartForm.File["file"][0].Open(); err != nil {
				t.Error(err)
			} else {
				f.Close()
			}
		}))),
	} {
		srv := httptest.NewServer(h)
		for range 3 {
			res, err := http.Post(srv.URL, contentType, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		srv.Close()
		if left, _ := os.ReadDir(folder); len(left) > 0 || parsed != 3 {
			t.Errorf("%s: got %d files left after %d that were written, want 0 after 3", name, len(left), parsed)
		}
		parsed = 0
	}
}

// framework imitates those, such as echo, whose handlers return an error, whose wrapper of
// middlewares hands that on past the middleware, and which answer it after that, by the
// writer that the middleware gave them.
func framework(around middleware, handler func(w http.ResponseWriter, r *http.Request) error, answer func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var failed error
		var innerW http.ResponseWriter
		var innerR *http.Request
		around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			innerW, innerR = w, r
			failed = handler(w, r)
		})).ServeHTTP(w, r)
		if failed != nil {
			answer(innerW, innerR, failed)
		}
	})
}

func TestResponseByAFrameworkAfterTheHandlerIsCommitted(t *testing.T) {
	t.Parallel()
	session := func(r *http.Request) *redsession.Session { return redsession.FromContext(r.Context()) }
	for _, row := range []struct {
		name            string
		before          func(*redsession.Session) // in the handler
		after           func(*redsession.Manager, *redsession.Session)
		status, cookies int
		want            string // user and number afterwards
	}{
		{"nothing", func(*redsession.Session) {}, func(*redsession.Manager, *redsession.Session) {}, 418, 0, "alice 1"},
		{"a change", func(*redsession.Session) {}, func(_ *redsession.Manager, s *redsession.Session) { stage.Number.Set(s, 2) }, 418, 0, "alice 2"},
		{"a change on top of the handler's", func(s *redsession.Session) { stage.Number.Set(s, 2) }, func(_ *redsession.Manager, s *redsession.Session) { stage.Number.Update(s, addOne) }, 418, 0, "alice 3"},
		{"a login", func(*redsession.Session) {}, func(_ *redsession.Manager, s *redsession.Session) { s.Login("bob") }, 418, 1, "bob 0"},
		{"a login on top of the handler's", func(s *redsession.Session) { s.Login("alice") }, func(_ *redsession.Manager, s *redsession.Session) { s.Login("alice"); stage.Number.Set(s, 5) }, 418, 1, "alice 5"},
		{"the handler's login alone", func(s *redsession.Session) { s.Login("bob") }, func(*redsession.Manager, *redsession.Session) {}, 418, 1, "bob 0"},
		{"a logout", func(*redsession.Session) {}, func(_ *redsession.Manager, s *redsession.Session) { s.Logout() }, 418, 1, " 0"},
		{"a change that cannot be kept", func(*redsession.Session) {}, func(m *redsession.Manager, s *redsession.Session) {
			_ = m.Revoke(context.Background(), s.ID())
			stage.Number.Set(s, 2)
		}, 409, 0, " 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
				m := e.Manager(t)
				pages := lateHandlers(t, nil, false).Mux()
				b := start(framework(m.Handler, func(w http.ResponseWriter, r *http.Request) error {
					if r.URL.Path == "/fail" {
						row.before(session(r))
						return errors.New("not found")
					}
					pages.ServeHTTP(w, r)
					return nil
				}, func(w http.ResponseWriter, r *http.Request, err error) {
					row.after(m, session(r))
					http.Error(w, err.Error(), http.StatusTeapot)
				}))
				b.Get("/login")
				a := b.Get("/fail")
				if a.StatusCode != row.status || len(a.SetCookies()) != row.cookies {
					t.Errorf("got status %d and cookies %v, want %d and %d", a.StatusCode, a.SetCookies(), row.status, row.cookies)
				}
				if got := b.Get("/").Text; got != row.want {
					t.Errorf("got %q afterwards, want %q", got, row.want)
				}
			})
		})
	}
}

// TestDeadlineOfTheRequestKeepsWhatNeedsACookieFromBeingMade is what http.TimeoutHandler
// outside does: once it has answered nobody gets a cookie any more, so the old session must
// live on.
func TestDeadlineOfTheRequestKeepsWhatNeedsACookieFromBeingMade(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*redsession.Session)
		want   string // user and number afterwards
		made   bool
	}{
		{"a change", func(s *redsession.Session) { stage.Number.Set(s, 2) }, "alice 2", true},
		{"a logout", func(s *redsession.Session) { s.Logout() }, " 0", true},
		{"a logout and what comes after it", func(s *redsession.Session) { s.Logout(); stage.Number.Set(s, 2) }, " 0", false},
		{"a login", func(s *redsession.Session) { s.Login("bob") }, "alice 1", false},
		{"a login again", func(s *redsession.Session) { s.Login("alice"); stage.Number.Set(s, 2) }, "alice 1", false},
		{"half of a login", func(s *redsession.Session) { s.Login("bob", redsession.Pending()) }, "alice 1", false},
		{"a rotation", func(s *redsession.Session) { s.Rotate() }, "alice 1", false},
	} {
		for when, goneBefore := range map[string]bool{"over when the handler returns": false, "over, and the client has gone away before": true} {
			t.Run(row.name+", "+when, func(t *testing.T) {
				t.Parallel()
				m := stage.NewMini(t).Manager(t)
				b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{"/login": lateHandlers(t, nil, false)["/login"], "/": lateHandlers(t, nil, false)["/"]}))
				b.Get("/login")
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if goneBefore {
					cancel()
				}
				r := httptest.NewRequestWithContext(ctx, "POST", "/", nil)
				r.AddCookie(&http.Cookie{Name: "session", Value: b.Cookie()})
				w := httptest.NewRecorder()
				m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					row.change(redsession.FromContext(r.Context()))
					deadline, _ := r.Context().Deadline()
					<-time.After(time.Until(deadline))
				})).ServeHTTP(w, r)
				if made := w.Code == 200; made != row.made {
					t.Errorf("got status %d, want the change made: %v", w.Code, row.made)
				}
				if got := b.Get("/").Text; got != row.want {
					t.Errorf("got %q from the old cookie, want %q", got, row.want)
				}
			})
		}
	}
}

// TestDeadlineIsLookedAtRightBeforeALoginIsDecided lets the deadline pass while the new
// record is stored, where that is a round trip of its own.
func TestDeadlineIsLookedAtRightBeforeALoginIsDecided(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*redsession.Session){
		"a login":    func(s *redsession.Session) { s.Login("bob") },
		"a rotation": func(s *redsession.Session) { s.Rotate() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			b := stage.NewBrowser(t, stage.Serve(t, e.Manager(t), stage.Handlers{"/login": lateHandlers(t, nil, false)["/login"], "/": lateHandlers(t, nil, false)["/"]}))
			b.Get("/login")
			slow := &slowScripts{}
			m := e.HookedBy(t, e.ApartManager, slow)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, "POST", "/", nil)
			r.AddCookie(&http.Cookie{Name: "session", Value: b.Cookie()})
			w := httptest.NewRecorder()
			m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				change(redsession.FromContext(r.Context()))
				slow.until.Store(&ctx)
			})).ServeHTTP(w, r)
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("got status %d, want 503", w.Code)
			}
			if got := b.Get("/").Text; got != "alice 1" {
				t.Errorf("got %q from the old cookie, want alice 1", got)
			}
			stage.Until(t, "the record that nobody knows of to go", func() bool { return e.Living(t) == 1 })
		})
	}
}

// slowScripts is a go-redis hook that keeps the replies of scripts until a context is done.
type slowScripts struct {
	stage.Latch
	until atomic.Pointer[context.Context]
}

func (s *slowScripts) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if until := s.until.Load(); until != nil && strings.HasPrefix(cmd.Name(), "eval") {
			<-(*until).Done()
		}
		return err
	}
}

func (s *slowScripts) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestRequestOverPlainHTTPIsWarnedOf tells when a browser would not keep the cookie.
func TestRequestOverPlainHTTPIsWarnedOf(t *testing.T) {
	t.Parallel()
	plain := func(c *redsession.Config) {
		c.Cookie.InsecurePlainHTTP, c.Cookie.Name = false, ""
	}
	for _, row := range []struct {
		name, host string
		fields     []string
		change     func(*redsession.Config)
		want       bool
	}{
		{"a name in the network", "shop.example", nil, plain, true},
		{"a name with a port", "shop.example:8080", nil, plain, true},
		{"an address", "192.0.2.7:8080", nil, plain, true},
		{"an IPv6 address", "[2001:db8::1]:8080", nil, plain, true},
		{"a name that begins like that of this machine", "localhost.shop.example", nil, plain, true},
		{"this machine", "localhost:8080", nil, plain, false},
		{"a name under that of this machine", "shop.localhost", nil, plain, false},
		{"its address", "127.0.0.1:8080", nil, plain, false},
		{"another address of its own", "127.8.8.8", nil, plain, false},
		{"its IPv6 address", "[::1]:8080", nil, plain, false},
		{"plain HTTP that is wanted", "shop.example", nil, func(*redsession.Config) {}, false},
		{"a proxy that ends TLS", "shop.example", []string{"X-Forwarded-Proto", "https"}, plain, false},
		{"a proxy that passes plain HTTP on", "shop.example", []string{"X-Forwarded-Proto", "http"}, plain, true},
		{"two proxies", "shop.example", []string{"X-Forwarded-Proto", "HTTPS, http"}, plain, false},
		{"a proxy by RFC 7239", "shop.example", []string{"Forwarded", `for=192.0.2.1;proto=https;host=shop.example`}, plain, false},
		{"a browser that shows where it is", "shop.example", []string{"Origin", "https://shop.example"}, plain, false},
		{"a browser on plain HTTP", "shop.example", []string{"Origin", "http://shop.example"}, plain, true},
		{"a browser that trusts the page", "shop.example", []string{"Sec-Fetch-Site", "same-origin"}, plain, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			m := e.Manager(t, row.change)
			h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") }))
			for range 3 {
				r := httptest.NewRequest("POST", "http://"+row.host+"/", nil)
				r.Host = row.host
				for i := 0; i+1 < len(row.fields); i += 2 {
					r.Header.Set(row.fields[i], row.fields[i+1])
				}
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			if n := strings.Count(e.Events.Log(), "plain HTTP"); n > 1 || (n == 1) != row.want {
				t.Errorf("got %d warnings, want one: %v", n, row.want)
			}
		})
	}
}
