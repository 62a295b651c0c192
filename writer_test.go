package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

const number = redsession.Key[int]("number")

func addOne(n int) int { return n + 1 }

// eachProtocol runs test with a function that starts a server of HTTP/1.1, and
// then of HTTP/2, and returns its browser.
func eachProtocol(t *testing.T, test func(t *testing.T, e *env, start func(http.Handler) *browser)) {
	t.Helper()
	for name, h2 := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) {
			test(t, newMini(t), func(h http.Handler) *browser { return browse(t, h, h2) })
		})
	}
}

// browse starts a server that does not log panics and returns its browser.
func browse(t *testing.T, h http.Handler, h2 bool) *browser {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(srv.Close)
	if !h2 {
		srv.Start()
		return newBrowser(t, srv)
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	b := newBrowser(t, srv)
	b.http.Transport = srv.Client().Transport
	return b
}

// waysToAnswer are all the ways in which a response can begin.
var waysToAnswer = []struct {
	name   string
	only1  bool // HTTP/2 does not have it
	status int
	answer func(w http.ResponseWriter, r *http.Request)
}{
	{"Write", false, 200, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }},
	{"WriteHeader", false, 201, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }},
	{"WriteString", false, 200, func(w http.ResponseWriter, _ *http.Request) { w.(io.StringWriter).WriteString("hello") }},
	{"Flush", false, 200, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }},
	{"Flush of a ResponseController", false, 200, func(w http.ResponseWriter, _ *http.Request) { http.NewResponseController(w).Flush() }},
	{"io.Copy", false, 200, func(w http.ResponseWriter, _ *http.Request) {
		io.Copy(w, io.LimitReader(strings.NewReader("hello"), 5))
	}},
	{"ReadFrom", false, 200, func(w http.ResponseWriter, _ *http.Request) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("hello")) }},
	{"ServeContent", false, 200, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("hello"))
	}},
	{"nothing at all", false, 200, func(http.ResponseWriter, *http.Request) {}},
	{"an error", false, 404, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not found", 404) }},
	{"a redirect", false, http.StatusSeeOther, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusSeeOther) }},
	{"no content", false, 204, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
	{"not modified", false, 304, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }},
	{"early hints first", false, 200, answerAfterHints},
	{"a trailer at the end", false, 200, answerWithTrailer},
	{"Hijack", true, 200, answerHijacked},
	{"101", true, 101, answerSwitching},
}

func answerAfterHints(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.WriteHeader(http.StatusProcessing)
	w.WriteHeader(200)
}

func answerWithTrailer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Trailer", "X-Sum")
	io.WriteString(w, "hello")
	w.Header().Set("X-Sum", "1")
}

func answerHijacked(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	res := http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
	_ = res.Write(rw)
	_ = rw.Flush()
}

func answerSwitching(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "test")
	w.WriteHeader(http.StatusSwitchingProtocols)
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

// recovering answers a panic with 500, unless it is to abort the response.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				panic(p)
			} else if p != nil {
				w.WriteHeader(500)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// getTraced fetches path and returns the 1xx responses' headers as well.
func (b *browser) getTraced(path string) (answer, []http.Header) {
	b.t.Helper()
	var early []http.Header
	ctx := httptrace.WithClientTrace(b.t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		early = append(early, http.Header(h))
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, "GET", b.base+path, nil)
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // the body ends with the connection
		return answer{res, ""}, early
	}
	body, _ := io.ReadAll(res.Body)
	return answer{res, string(body)}, early
}

// showNumber answers with the number in the session.
func showNumber(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
	n, _ := number.Get(s)
	fmt.Fprint(w, n)
}

func TestEveryWayToAnswerCarriesTheCookie(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		for _, way := range waysToAnswer {
			b := start(e.manager(t).Handler(handlers{
				"/": showNumber,
				"/add": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					number.Update(s, addOne)
					way.answer(w, r)
				},
				"/untouched": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) { way.answer(w, r) },
			}.mux()))
			if way.only1 && strings.HasPrefix(b.base, "https") {
				continue
			}
			first, early := b.getTraced("/add")
			if set := first.setCookies(); first.StatusCode != way.status || len(set) != 1 || first.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got status %d and header %v, want %d, one session cookie and no-store", way.name, first.StatusCode, first.Header, way.status)
			}
			for _, h := range append(early, first.Trailer) {
				if h.Get("Set-Cookie") != "" {
					t.Errorf("%s: got a cookie before or after the headers, %v", way.name, h)
				}
			}
			second, _ := b.getTraced("/add")
			if second.StatusCode != way.status || len(second.setCookies()) != 0 || second.Header.Get("Cache-Control") != "" {
				t.Errorf("%s: got status %d and header %v for a stored session, want %d and no cookie", way.name, second.StatusCode, second.Header, way.status)
			}
			for _, a := range []answer{first, second} {
				if got := a.Header.Values("Vary"); !slices.Equal(got, []string{"Cookie"}) {
					t.Errorf("%s: got Vary %q, want Cookie", way.name, got)
				}
			}
			if got := b.get("/").body; got != "2" {
				t.Errorf("%s: got number %s after two additions, want 2", way.name, got)
			}
			if a, _ := b.getTraced("/untouched"); len(a.Header["Vary"])+len(a.Header["Cache-Control"])+len(a.Cookies()) != 0 {
				t.Errorf("%s: got header %v though nobody touched the session", way.name, a.Header)
			}
		}
	})
}

func TestHeadersOfTheHandlerStay(t *testing.T) {
	for _, row := range []struct {
		name, own string
		use       func(*redsession.Session)
		want      []string
	}{
		{"an untouched session", "Accept", func(*redsession.Session) {}, []string{"Accept"}},
		{"a read session", "Accept", func(s *redsession.Session) { s.LoggedIn() }, []string{"Accept", "Cookie", "X-Session"}},
		{"a changed session", "Accept", func(s *redsession.Session) { number.Set(s, 1) }, []string{"Accept", "Cookie", "X-Session"}},
		{"a handler that has said so", "accept, cookie", func(s *redsession.Session) { s.LoggedIn() }, []string{"accept, cookie", "X-Session"}},
		{"a response that varies on anything", "*", func(s *redsession.Session) { s.LoggedIn() }, []string{"*"}},
	} {
		m := newMini(t).manager(t, func(c *redsession.Config) { c.Header = "X-Session" })
		a := newBrowser(t, serve(t, m, handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			w.Header().Set("Vary", row.own)
			w.Header().Set("Cache-Control", "public, max-age=60")
			row.use(s)
		}})).get("/")
		if got := a.Header.Values("Vary"); !slices.Equal(got, row.want) {
			t.Errorf("%s: got Vary %q, want %q", row.name, got, row.want)
		}
		wantCache := map[bool]string{true: "no-store", false: "public, max-age=60"}[len(a.setCookies()) > 0]
		if got := a.Header.Values("Cache-Control"); !slices.Equal(got, []string{wantCache}) {
			t.Errorf("%s: got Cache-Control %q, want %q", row.name, got, wantCache)
		}
	}
}

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

// lateChanges are made after the first byte of the response has left.
var lateChanges = []struct {
	name   string
	stored bool // there is a session, with the number 1
	change func(*redsession.Session)
	broken bool
	want   string // user and number in the next request
}{
	{"no change", true, func(s *redsession.Session) { number.Get(s) }, false, "alice 1"},
	{"a change that needs no cookie", true, func(s *redsession.Session) { number.Update(s, addOne) }, false, "alice 2"},
	{"several changes", true, func(s *redsession.Session) { s.Flash("hello"); s.Clear(); number.Set(s, 3) }, false, "alice 3"},
	{"a first change", false, func(s *redsession.Session) { number.Set(s, 1) }, true, " 0"},
	{"a first change that is taken back", false, func(s *redsession.Session) { number.Set(s, 1); number.Delete(s) }, false, " 0"},
	{"a login", true, func(s *redsession.Session) { s.Login("bob") }, true, "alice 1"},
	{"a first login", false, func(s *redsession.Session) { s.Login("bob") }, true, " 0"},
	{"a rotation", true, func(s *redsession.Session) { s.Rotate() }, true, "alice 1"},
	{"a logout", true, func(s *redsession.Session) { s.Logout() }, true, " 0"},
	{"a logout and a login", true, func(s *redsession.Session) { s.Logout(); s.Login("bob") }, true, " 0"},
	{"a value that does not encode", true, func(s *redsession.Session) { redsession.Key[chan int]("c").Set(s, nil) }, true, "alice 1"},
}

func TestChangeAfterTheFirstByte(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		for _, row := range lateChanges {
			var errs heard
			m := e.manager(t, func(c *redsession.Config) { c.ErrorHandler = errs.handle })
			b := start(m.Handler(lateHandlers(t, row.change, row.broken).mux()))
			for _, path := range []string{"/late", "/late?save=1"} {
				b.http.Jar = newBrowserJar(t)
				if row.stored {
					b.get("/login")
				}
				a, err := b.try(path)
				if broken := row.broken && path == "/late"; (err != nil) != broken || !broken && a.body != "begun, done" {
					t.Errorf("%s, %s: got %q and error %v, want broken %v", row.name, path, a.body, err, broken)
				}
				if got := errs.take(); path == "/late" && row.broken != (len(got) == 1 && errors.Is(got[0], redsession.ErrHeadersSent)) {
					t.Errorf("%s: the ErrorHandler heard %v, want ErrHeadersSent once: %v", row.name, got, row.broken)
				}
				if got := b.get("/").body; got != row.want {
					t.Errorf("%s, %s: got %q in the next request, want %q", row.name, path, got, row.want)
				}
			}
		}
	})
}

func newBrowserJar(t *testing.T) http.CookieJar {
	return newBrowser(t, &httptest.Server{}).http.Jar
}

// lateHandlers make change after the first byte; with ?save they handle the error themselves.
func lateHandlers(t *testing.T, change func(*redsession.Session), broken bool) handlers {
	return handlers{
		"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Login("alice")
			number.Set(s, 1)
		},
		"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			io.WriteString(w, s.UserID()+" ")
			showNumber(w, r, s)
		},
		"/late": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			io.WriteString(w, "begun, ")
			w.(http.Flusher).Flush()
			change(s)
			if r.URL.RawQuery != "" {
				if err := s.Save(r.Context()); (err != nil) != broken {
					t.Errorf("got %v from Save, want an error: %v", err, broken)
				}
			}
			io.WriteString(w, "done")
		},
	}
}

func TestRecorderSeesALateFailureWithoutAPanic(t *testing.T) {
	var errs heard
	m := newMini(t).manager(t, func(c *redsession.Config) { c.ErrorHandler = errs.handle })
	w := httptest.NewRecorder()
	m.Handler(lateHandlers(t, func(s *redsession.Session) { s.Login("bob") }, true).mux()).ServeHTTP(w, httptest.NewRequest("GET", "/late", nil))
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
		number.Set(s, 1)
	}, redsession.ErrGone, 409},
}

func TestFailedCommitDropsTheResponseWhole(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		m := e.manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		for _, failure := range failures {
			for _, way := range waysToAnswer {
				later := make(chan []error, 100) // room for a client that asks again
				b := start(outer(m.Handler(handlers{
					"/login": accountHandlers["/login"],
					"/fail": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
						var errs []error
						defer func() { later <- errs }()
						ownHeaders(w.Header())
						failure.fail(m, s)
						way.answer(w, r)
						errs = writeEveryWay(w)
					},
				}.mux())))
				if way.only1 && strings.HasPrefix(b.base, "https") {
					continue
				}
				b.get("/login")
				a, _ := b.getTraced("/fail")
				name := failure.name + ", " + way.name
				wantErrorPage(t, name, a, failure.status)
				errs := <-later
				if len(errs) == 0 || slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, failure.want) }) {
					t.Errorf("%s: got %v from later writes, want %v from each", name, errs, failure.want)
				}
			}
		}
	})
}

func TestFailedCommitDropsALaterTrailer(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		m := e.manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		a, _ := start(m.Handler(handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			failures[0].fail(m, s)
			io.WriteString(w, "hello")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}}.mux())).getTraced("/")
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
	return append(errs, err)
}

// wantErrorPage wants a to be the default ErrorHandler's answer and nothing else.
func wantErrorPage(t *testing.T, name string, a answer, status int) {
	t.Helper()
	if a.StatusCode != status || strings.Contains(a.body, "hello") || strings.Contains(a.body, "late") || a.body == "" {
		t.Errorf("%s: got status %d and body %q, want %d and the error alone", name, a.StatusCode, a.body, status)
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

func TestAfterAFailedSaveTheHandlerDecides(t *testing.T) {
	for _, failure := range failures {
		m := newMini(t).manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		b := newBrowser(t, serve(t, m, handlers{
			"/login": accountHandlers["/login"],
			"/fail": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
				failure.fail(m, s)
				if err := s.Save(r.Context()); !errors.Is(err, failure.want) {
					t.Errorf("%s: got %v from Save, want %v", failure.name, err, failure.want)
				}
				http.Error(w, "too much", http.StatusRequestEntityTooLarge)
			},
		}))
		b.get("/login")
		if a := b.get("/fail"); a.StatusCode != 413 || a.body != "too much\n" || len(a.setCookies()) != 0 {
			t.Errorf("%s: got status %d and body %q, want the handler's", failure.name, a.StatusCode, a.body)
		}
	}
}

func TestHandlerThatPanicsCommitsNothingButALogout(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(http.ResponseWriter, *redsession.Session)
		want   string // user and number in the next request
	}{
		{"a change", func(_ http.ResponseWriter, s *redsession.Session) { number.Set(s, 2) }, "alice 1"},
		{"a login", func(_ http.ResponseWriter, s *redsession.Session) { s.Login("bob") }, "alice 1"},
		{"a rotation", func(_ http.ResponseWriter, s *redsession.Session) { s.Rotate() }, "alice 1"},
		{"a logout", func(_ http.ResponseWriter, s *redsession.Session) { s.Logout() }, " 0"},
		{"a logout and a login", func(_ http.ResponseWriter, s *redsession.Session) { s.Logout(); s.Login("bob"); number.Set(s, 2) }, " 0"},
		{"a change, the first byte, another change", func(w http.ResponseWriter, s *redsession.Session) {
			number.Set(s, 2)
			io.WriteString(w, "hello")
			number.Set(s, 3)
		}, "alice 2"},
		{"the first byte, a logout", func(w http.ResponseWriter, s *redsession.Session) { io.WriteString(w, "hello"); s.Logout() }, " 0"},
	} {
		for name, around := range map[string]func(http.Handler) http.Handler{"alone": asItIs, "recovered outside": recovering} {
			hs := lateHandlers(t, nil, false)
			hs["/panic"] = func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				row.before(w, s)
				panic("broken template")
			}
			b := browse(t, around(newMini(t).manager(t).Handler(hs.mux())), false)
			b.get("/login")
			_, err := b.try("/panic")
			if aborted := name == "alone"; (err != nil) != aborted {
				t.Errorf("%s, %s: got error %v, want the connection cut: %v", row.name, name, err, aborted)
			}
			if got := b.get("/").body; got != row.want {
				t.Errorf("%s, %s: got %q in the next request, want %q", row.name, name, got, row.want)
			}
		}
	}
}

func asItIs(next http.Handler) http.Handler { return next }

func TestWhatWasSavedBeforeAFailureKeepsItsCookie(t *testing.T) {
	for name, fail := range map[string]func(*redsession.Session){
		"a panic":             func(*redsession.Session) { panic("broken template") },
		"a value too large":   func(s *redsession.Session) { failures[0].fail(nil, s) },
		"a second Save fails": func(s *redsession.Session) { failures[0].fail(nil, s); _ = s.Save(context.Background()) },
	} {
		m := newMini(t).manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		b := browse(t, recovering(m.Handler(handlers{
			"/": showNumber,
			"/fail": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				s.Login("alice")
				number.Set(s, 1)
				if err := s.Save(r.Context()); err != nil {
					t.Errorf("%s: got %v from Save, want nil", name, err)
				}
				fail(s)
			},
		}.mux())), false)
		if set := b.get("/fail").setCookies(); len(set) != 1 {
			t.Errorf("%s: got cookies %v, want that of the session that was stored", name, set)
		}
		if got := b.get("/").body; got != "1" {
			t.Errorf("%s: got number %s in the next request, want 1", name, got)
		}
	}
}

// The cookie of a login is another than the one that a rotated id asks for.
func TestALoginSavedUnderARotatedIDKeepsItsCookie(t *testing.T) {
	st := newStage(t, newMini(t).manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 }))
	st.must("login:alice")
	late := st.fork(st.cookie())
	st.must("rotate")
	if a := late.do("login:bob save huge"); a.StatusCode != http.StatusInternalServerError || len(a.setCookies()) != 1 {
		t.Errorf("got status %d and cookies %v, want 500 with the cookie of the login that was saved", a.StatusCode, a.setCookies())
	}
	if got := late.must().body; got != "bob" {
		t.Errorf("got %q in the next request, want bob", got)
	}
}
