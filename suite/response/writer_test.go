package response_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func addOne(n int) int { return n + 1 }

// eachProtocol runs test with a function that starts a server of HTTP/1.1, and
// then of HTTP/2, and returns its browser.
func eachProtocol(t *testing.T, test func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser)) {
	t.Helper()
	for name, h2 := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) {
			test(t, stage.NewMini(t), func(h http.Handler) *stage.Browser { return stage.Browse(t, h, h2) })
		})
	}
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
func getTraced(b *stage.Browser, path string) (stage.Answer, []http.Header) {
	b.T.Helper()
	var early []http.Header
	ctx := httptrace.WithClientTrace(b.T.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		early = append(early, http.Header(h))
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, "GET", b.Base+path, nil)
	res, err := b.HTTP.Do(r)
	if err != nil {
		b.T.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // the body ends with the connection
		return stage.Answer{Response: res}, early
	}
	body, _ := io.ReadAll(res.Body)
	return stage.Answer{Response: res, Text: string(body)}, early
}

func TestResponseCarriesTheCookieInEveryWayToAnswer(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		for _, way := range waysToAnswer {
			t.Run(way.name, func(t *testing.T) {
				b := start(e.Manager(t).Handler(stage.Handlers{
					"/": stage.ShowNumber,
					"/add": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
						stage.Number.Update(s, addOne)
						way.answer(w, r)
					},
					"/untouched": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) { way.answer(w, r) },
				}.Mux()))
				if way.only1 && strings.HasPrefix(b.Base, "https") {
					return
				}
				first, early := getTraced(b, "/add")
				if set := first.SetCookies(); first.StatusCode != way.status || len(set) != 1 || first.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("got status %d and header %v, want %d, one session cookie and no-store", first.StatusCode, first.Header, way.status)
				}
				for _, h := range append(early, first.Trailer) {
					if h.Get("Set-Cookie") != "" {
						t.Errorf("got a cookie before or after the headers, %v", h)
					}
				}
				second, _ := getTraced(b, "/add")
				if second.StatusCode != way.status || len(second.SetCookies()) != 0 || second.Header.Get("Cache-Control") != "" {
					t.Errorf("got status %d and header %v for a stored session, want %d and no cookie", second.StatusCode, second.Header, way.status)
				}
				for _, a := range []stage.Answer{first, second} {
					if got := a.Header.Values("Vary"); !slices.Equal(got, []string{"Cookie"}) {
						t.Errorf("got Vary %q, want Cookie", got)
					}
				}
				if got := b.Get("/").Text; got != "2" {
					t.Errorf("got number %s after two additions, want 2", got)
				}
				if a, _ := getTraced(b, "/untouched"); len(a.Header["Vary"])+len(a.Header["Cache-Control"])+len(a.Cookies()) != 0 {
					t.Errorf("got header %v though nobody touched the session", a.Header)
				}
			})
		}
	})
}

func TestResponseKeepsTheHandlersHeaders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, own string
		use       func(*redsession.Session)
		want      []string
	}{
		{"an untouched session", "Accept", func(*redsession.Session) {}, []string{"Accept"}},
		{"a read session", "Accept", func(s *redsession.Session) { s.LoggedIn() }, []string{"Accept", "Cookie", "X-Session"}},
		{"a changed session", "Accept", func(s *redsession.Session) { stage.Number.Set(s, 1) }, []string{"Accept", "Cookie", "X-Session"}},
		{"a handler that has said so", "accept, cookie", func(s *redsession.Session) { s.LoggedIn() }, []string{"accept, cookie", "X-Session"}},
		{"a response that varies on anything", "*", func(s *redsession.Session) { s.LoggedIn() }, []string{"*"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.Header = "X-Session" })
			a := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				w.Header().Set("Vary", row.own)
				w.Header().Set("Cache-Control", "public, max-age=60")
				row.use(s)
			}})).Get("/")
			if got := a.Header.Values("Vary"); !slices.Equal(got, row.want) {
				t.Errorf("got Vary %q, want %q", got, row.want)
			}
			wantCache := map[bool]string{true: "no-store", false: "public, max-age=60"}[len(a.SetCookies()) > 0]
			if got := a.Header.Values("Cache-Control"); !slices.Equal(got, []string{wantCache}) {
				t.Errorf("got Cache-Control %q, want %q", got, wantCache)
			}
		})
	}
}

// lateChanges are made after the first byte of the response has left.
var lateChanges = []struct {
	name   string
	stored bool // there is a session, with the number 1
	change func(*redsession.Session)
	broken bool
	want   string // user and number in the next request
}{
	{"no change", true, func(s *redsession.Session) { stage.Number.Get(s) }, false, "alice 1"},
	{"a change that needs no cookie", true, func(s *redsession.Session) { stage.Number.Update(s, addOne) }, false, "alice 2"},
	{"several changes", true, func(s *redsession.Session) { s.Flash("hello"); s.Clear(); stage.Number.Set(s, 3) }, false, "alice 3"},
	{"a first change", false, func(s *redsession.Session) { stage.Number.Set(s, 1) }, true, " 0"},
	{"a first change that is taken back", false, func(s *redsession.Session) { stage.Number.Set(s, 1); stage.Number.Delete(s) }, false, " 0"},
	{"a login", true, func(s *redsession.Session) { s.Login("bob") }, true, "alice 1"},
	{"a first login", false, func(s *redsession.Session) { s.Login("bob") }, true, " 0"},
	{"a rotation", true, func(s *redsession.Session) { s.Rotate() }, true, "alice 1"},
	{"a logout", true, func(s *redsession.Session) { s.Logout() }, true, " 0"},
	{"a logout and a login", true, func(s *redsession.Session) { s.Logout(); s.Login("bob") }, true, " 0"},
	{"a value that does not encode", true, func(s *redsession.Session) { redsession.Key[chan int]("c").Set(s, nil) }, true, "alice 1"},
}

func TestResponseBegunRefusesChangesThatNeedACookie(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		for _, row := range lateChanges {
			t.Run(row.name, func(t *testing.T) {
				var errs heard
				m := e.Manager(t, func(c *redsession.Config) { c.ErrorHandler = errs.handle })
				b := start(m.Handler(lateHandlers(t, row.change, row.broken).Mux()))
				for _, path := range []string{"/late", "/late?save=1"} {
					b.HTTP.Jar, _ = cookiejar.New(nil)
					if row.stored {
						b.Get("/login")
					}
					a, err := b.Try(path)
					if broken := row.broken && path == "/late"; (err != nil) != broken || !broken && a.Text != "begun, done" {
						t.Errorf("%s: got %q and error %v, want broken %v", path, a.Text, err, broken)
					}
					if got := errs.take(); path == "/late" && row.broken != (len(got) == 1 && errors.Is(got[0], redsession.ErrHeadersSent)) {
						t.Errorf("the ErrorHandler heard %v, want ErrHeadersSent once: %v", got, row.broken)
					}
					if got := b.Get("/").Text; got != row.want {
						t.Errorf("%s: got %q in the next request, want %q", path, got, row.want)
					}
				}
			})
		}
	})
}

// lateHandlers make change after the first byte; with ?save they handle the error themselves.
func lateHandlers(t *testing.T, change func(*redsession.Session), broken bool) stage.Handlers {
	return stage.Handlers{
		"/login": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Login("alice")
			stage.Number.Set(s, 1)
		},
		"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			io.WriteString(w, s.UserID()+" ")
			stage.ShowNumber(w, r, s)
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

func asItIs(next http.Handler) http.Handler { return next }
