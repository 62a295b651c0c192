package response_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// heard is an ErrorHandler that keeps what it hears.
type heard struct {
	mu     sync.Mutex
	errors []error
}

func (h *heard) handle(w http.ResponseWriter, _ *http.Request, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errors = append(h.errors, err)
	w.WriteHeader(http.StatusInternalServerError)
}

func (h *heard) take() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := h.errors
	h.errors = nil
	return errs
}

func TestResponseRecorderSeesALateFailureWithoutAPanic(t *testing.T) {
	t.Parallel()
	var errs heard
	m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.ErrorHandler = errs.handle })
	w := httptest.NewRecorder()
	m.Handler(lateHandlers(t, func(s *redsession.Session) { s.Login("bob") }, true).Mux()).ServeHTTP(w, httptest.NewRequest("GET", "/late", nil))
	if got := errs.take(); len(got) != 1 || !errors.Is(got[0], redsession.ErrHeadersSent) || w.Body.String() != "begun, done" {
		t.Errorf("got errors %v and body %q, want ErrHeadersSent and what the handler wrote", got, w.Body)
	}
}

// failures make the commit of a session that is logged in fail.
var failures = []struct {
	name   string
	fail   func(*redsession.Manager, *redsession.Session)
	want   error
	status int
}{
	{"a value too large", func(_ *redsession.Manager, s *redsession.Session) {
		redsession.Key[string]("large").Set(s, strings.Repeat("x", 1000))
	}, redsession.ErrTooLarge, 500},
	{"a session that ended meanwhile", func(m *redsession.Manager, s *redsession.Session) {
		_ = m.Revoke(context.Background(), s.ID())
		stage.Number.Set(s, 1)
	}, redsession.ErrGone, 409},
}

func TestResponseIsDroppedWholeByAFailedCommit(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		m := e.Manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		for _, failure := range failures {
			for _, way := range waysToAnswer {
				name := failure.name + ", " + way.name
				t.Run(name, func(t *testing.T) {
					later := make(chan []error, 100) // room for a client that asks again
					b := start(outer(m.Handler(stage.Handlers{
						"/login": stage.AccountHandlers["/login"],
						"/fail": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
							var errs []error
							defer func() { later <- errs }()
							ownHeaders(w.Header())
							failure.fail(m, s)
							way.answer(w, r)
							errs = writeEveryWay(w)
						},
					}.Mux())))
					if way.only1 && strings.HasPrefix(b.Base, "https") {
						return
					}
					b.Get("/login")
					a, _ := getTraced(b, "/fail")
					wantErrorPage(t, name, a, failure.status)
					errs := <-later
					if len(errs) == 0 || slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, failure.want) }) {
						t.Errorf("got %v from later writes, want %v from each", errs, failure.want)
					}
				})
			}
		}
	})
}

func TestResponseLosesALaterTrailerByAFailedCommit(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		m := e.Manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		a, _ := getTraced(start(m.Handler(stage.Handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			failures[0].fail(m, s)
			io.WriteString(w, "hello")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}}.Mux())), "/")
		if a.StatusCode != 500 || len(a.Trailer) != 0 {
			t.Errorf("got status %d and trailer %v, want 500 and none", a.StatusCode, a.Trailer)
		}
	})
}

// outer is a middleware that has said something before the handler.
func outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Outer", "stays")
		w.Header().Set("Set-Cookie", "outer=1")
		next.ServeHTTP(w, r)
	})
}

// ownHeaders are what a handler says about a response that nobody will see.
func ownHeaders(h http.Header) {
	for name, value := range map[string]string{
		"X-Outer": "changed", "Location": "/elsewhere", "Content-Length": "5", "Content-Type": "text/secret",
		"Etag": `"1"`, "Cache-Control": "public, max-age=60",
	} {
		h.Set(name, value)
	}
	h.Add("Set-Cookie", "inner=1")
}

func writeEveryWay(w http.ResponseWriter) (errs []error) {
	_, err := w.Write([]byte("late"))
	errs = append(errs, err)
	_, err = io.WriteString(w, "late")
	errs = append(errs, err)
	_, err = io.Copy(w, io.LimitReader(strings.NewReader("late"), 4))
	errs = append(errs, err, http.NewResponseController(w).Flush())
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
	w.WriteHeader(200)
	w.Header().Set("X-Late", "1")
	if errors.Is(err, errors.ErrUnsupported) { // HTTP/2 has no connection to take over
		return errs
	}
	return append(errs, err)
}

// wantErrorPage wants a to be the default ErrorHandler's answer and nothing else.
func wantErrorPage(t *testing.T, name string, a stage.Answer, status int) {
	t.Helper()
	if a.StatusCode != status || strings.Contains(a.Text, "hello") || strings.Contains(a.Text, "late") || a.Text == "" {
		t.Errorf("%s: got status %d and body %q, want %d and the error alone", name, a.StatusCode, a.Text, status)
	}
	if got := a.Header.Values("Set-Cookie"); !slices.Equal(got, []string{"outer=1"}) || a.Header.Get("X-Outer") != "stays" {
		t.Errorf("%s: got cookies %q, want those of the outer middleware", name, got)
	}
	for _, h := range []string{"Location", "Etag", "X-Late", "Link", "Trailer"} {
		if got := a.Header.Get(h) + a.Trailer.Get(h); got != "" {
			t.Errorf("%s: got %s %q, want what the handler said dropped", name, h, got)
		}
	}
	if a.Header.Get("Content-Type") == "text/secret" || a.Header.Get("Cache-Control") != "no-store" || len(a.Trailer) != 0 {
		t.Errorf("%s: got header %v and trailer %v, want the error's own", name, a.Header, a.Trailer)
	}
}

func TestResponseAfterAFailedSaveIsTheHandlers(t *testing.T) {
	t.Parallel()
	for _, failure := range failures {
		t.Run(failure.name, func(t *testing.T) {
			m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
			b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{
				"/login": stage.AccountHandlers["/login"],
				"/fail": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					failure.fail(m, s)
					if err := s.Save(r.Context()); !errors.Is(err, failure.want) {
						t.Errorf("got %v from Save, want %v", err, failure.want)
					}
					http.Error(w, "too much", http.StatusRequestEntityTooLarge)
				},
			}))
			b.Get("/login")
			if a := b.Get("/fail"); a.StatusCode != 413 || a.Text != "too much\n" || len(a.SetCookies()) != 0 {
				t.Errorf("got status %d and body %q, want the handler's", a.StatusCode, a.Text)
			}
		})
	}
}

func TestResponseOfAPanicCommitsNothingButALogout(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		before func(http.ResponseWriter, *redsession.Session)
		want   string // user and number in the next request
	}{
		{"a change", func(_ http.ResponseWriter, s *redsession.Session) { stage.Number.Set(s, 2) }, "alice 1"},
		{"a login", func(_ http.ResponseWriter, s *redsession.Session) { s.Login("bob") }, "alice 1"},
		{"a rotation", func(_ http.ResponseWriter, s *redsession.Session) { s.Rotate() }, "alice 1"},
		{"a logout", func(_ http.ResponseWriter, s *redsession.Session) { s.Logout() }, " 0"},
		{"a logout and a login", func(_ http.ResponseWriter, s *redsession.Session) { s.Logout(); s.Login("bob"); stage.Number.Set(s, 2) }, " 0"},
		{"a change, the first byte, another change", func(w http.ResponseWriter, s *redsession.Session) {
			stage.Number.Set(s, 2)
			io.WriteString(w, "hello")
			stage.Number.Set(s, 3)
		}, "alice 2"},
		{"the first byte, a logout", func(w http.ResponseWriter, s *redsession.Session) { io.WriteString(w, "hello"); s.Logout() }, " 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for name, around := range map[string]func(http.Handler) http.Handler{"alone": asItIs, "recovered outside": recovering} {
				hs := lateHandlers(t, nil, false)
				hs["/panic"] = func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
					row.before(w, s)
					panic("broken template")
				}
				b := stage.Browse(t, around(stage.NewMini(t).Manager(t).Handler(hs.Mux())), false)
				b.Get("/login")
				_, err := b.Try("/panic")
				if aborted := name == "alone"; (err != nil) != aborted {
					t.Errorf("%s: got error %v, want the connection cut: %v", name, err, aborted)
				}
				if got := b.Get("/").Text; got != row.want {
					t.Errorf("%s: got %q in the next request, want %q", name, got, row.want)
				}
			}
		})
	}
}

func TestResponseOfAFailureKeepsTheCookieOfWhatWasSaved(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*redsession.Session){
		"a panic":             func(*redsession.Session) { panic("broken template") },
		"a value too large":   func(s *redsession.Session) { failures[0].fail(nil, s) },
		"a second Save fails": func(s *redsession.Session) { failures[0].fail(nil, s); _ = s.Save(context.Background()) },
	} {
		m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		b := stage.Browse(t, recovering(m.Handler(stage.Handlers{
			"/": stage.ShowNumber,
			"/fail": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				s.Login("alice")
				stage.Number.Set(s, 1)
				if err := s.Save(r.Context()); err != nil {
					t.Errorf("%s: got %v from Save, want nil", name, err)
				}
				fail(s)
			},
		}.Mux())), false)
		if set := b.Get("/fail").SetCookies(); len(set) != 1 {
			t.Errorf("%s: got cookies %v, want that of the session that was stored", name, set)
		}
		if got := b.Get("/").Text; got != "1" {
			t.Errorf("%s: got number %s in the next request, want 1", name, got)
		}
	}
}

// The cookie of a login is another than the one that a rotated id asks for.
func TestResponseKeepsTheCookieOfALoginSavedUnderARotatedID(t *testing.T) {
	t.Parallel()
	st := stage.NewScripted(t, stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 }))
	st.Must("login:alice")
	late := st.Fork(st.Cookie())
	st.Must("rotate")
	if a := late.Do("login:bob save huge"); a.StatusCode != http.StatusInternalServerError || len(a.SetCookies()) != 1 {
		t.Errorf("got status %d and cookies %v, want 500 with the cookie of the login that was saved", a.StatusCode, a.SetCookies())
	}
	if got := late.Must().Text; got != "bob" {
		t.Errorf("got %q in the next request, want bob", got)
	}
}
