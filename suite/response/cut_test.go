package response_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// recoverers are middlewares that end a panic, each in its own way.
var recoverers = map[string]middleware{
	"none": asItIs,
	"one that passes http.ErrAbortHandler on": recovering,
	"one that ends every panic without a word": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _ = recover() }()
			next.ServeHTTP(w, r)
		})
	},
	"one that answers every panic": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					http.Error(w, "recovered", http.StatusInternalServerError)
				}
			}()
			next.ServeHTTP(w, r)
		})
	},
	"one with a writer that can be looked through": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _ = recover() }()
			next.ServeHTTP(unwrapping{w}, r)
		})
	},
	"one inside of http.TimeoutHandler, which keeps the response back": func(next http.Handler) http.Handler {
		return http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _ = recover() }()
			next.ServeHTTP(w, r)
		}), time.Hour, "late")
	},
	"one that does not tell whose request it is": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _ = recover() }()
			next.ServeHTTP(w, r.WithContext(context.Background()))
		})
	},
	"none, and the server cannot be told": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.Background()))
		})
	},
}

type unwrapping struct{ w http.ResponseWriter }

func (u unwrapping) Header() http.Header         { return u.w.Header() }
func (u unwrapping) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u unwrapping) WriteHeader(code int)        { u.w.WriteHeader(code) }
func (u unwrapping) Unwrap() http.ResponseWriter { return u.w }

// beginnings are what a handler may have sent when its last change fails.
var beginnings = map[string]func(w http.ResponseWriter){
	"a status":         func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
	"a few bytes":      func(w http.ResponseWriter) { io.WriteString(w, "done") },
	"bytes on the way": func(w http.ResponseWriter) { io.WriteString(w, "done"); _ = http.NewResponseController(w).Flush() },
	"many bytes":       func(w http.ResponseWriter) { io.WriteString(w, strings.Repeat("done", 1<<16)) },
	"a part of what is announced": func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "8")
		io.WriteString(w, "done")
		_ = http.NewResponseController(w).Flush()
	},
	"a trailer to come": func(w http.ResponseWriter) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "done")
		w.Header().Set("X-Sum", "1")
	},
}

// TestResponseOfALateFailureIsNoSuccess cuts the connection also where a middleware ends
// the panic that is to do it, or has hidden that a server is there.
func TestResponseOfALateFailureIsNoSuccess(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		for name, around := range recoverers {
			for sent, begin := range beginnings {
				t.Run(name+", "+sent, func(t *testing.T) {
					m := e.Manager(t)
					b := start(around(m.Handler(stage.Handlers{
						"/login": stage.AccountHandlers["/login"],
						"/late": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
							begin(w)
							_ = m.Revoke(context.Background(), s.ID())
							stage.Number.Set(s, 1)
						},
						"/fine": func(w http.ResponseWriter, _ *http.Request, _ *redsession.Session) { begin(w) },
					}.Mux())))
					if _, err := b.Try("/fine"); err != nil && sent != "a part of what is announced" {
						t.Fatal(err)
					}
					b.Get("/login")
					if a, err := b.Try("/late"); err == nil {
						t.Errorf("got status %d and body %.20q, want the response cut off", a.StatusCode, a.Text)
					}
					b.Get("/login") // on another connection, or on the same if that is whole
				})
			}
		}
	})
}

// giveUps are what frameworks do when Write returns err.
var giveUps = map[string]func(err error){
	"panic with the error":             func(err error) { panic(err) },
	"panic with a wrapped error":       func(err error) { panic(fmt.Errorf("rendering: %w", err)) },
	"panic with a text":                func(err error) { panic("rendering: " + err.Error()) },
	"log.Panic":                        func(err error) { log.New(io.Discard, "", 0).Panic(err) },
	"abort the response":               func(error) { panic(http.ErrAbortHandler) },
	"a mistake that has to do with it": func(error) { var page *http.Cookie; _ = page.Name },
	"nothing":                          func(error) {},
}

func TestResponseOfTheErrorHandlerArrivesWhateverTheHandlerDoesThen(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		m := e.Manager(t)
		for name, around := range recoverers {
			for how, giveUp := range giveUps {
				b := start(around(m.Handler(stage.Handlers{
					"/login": stage.AccountHandlers["/login"],
					"/fail": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
						_ = m.Revoke(context.Background(), s.ID())
						stage.Number.Set(s, 1)
						if _, err := io.WriteString(w, "done"); !errors.Is(err, redsession.ErrGone) {
							t.Errorf("got %v from Write, want ErrGone", err)
						} else {
							giveUp(err)
						}
					},
				}.Mux())))
				b.Get("/login")
				if a, err := b.Try("/fail"); err != nil || a.StatusCode != http.StatusConflict || !strings.Contains(a.Text, "session has ended") {
					t.Errorf("recoverer: %s, %s: got %v and error %v, want the ErrorHandler's 409", name, how, a, err)
				}
			}
		}
	})
}

func TestResponseOfTheErrorHandlerArrivesThroughAProxy(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(backend.Close)
	target, _ := url.Parse(backend.URL)
	proxy := httputil.NewSingleHostReverseProxy(target)
	m := stage.NewMini(t).Manager(t)
	b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{
		"/login": stage.AccountHandlers["/login"],
		"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			_ = m.Revoke(context.Background(), s.ID())
			stage.Number.Set(s, 1)
			proxy.ServeHTTP(w, r)
		},
	}))
	b.Get("/login")
	if a, err := b.Try("/"); err != nil || a.StatusCode != http.StatusConflict {
		t.Errorf("got %v and error %v, want 409", a, err)
	}
}

func TestResponseOfAPanicThatHasNothingToDoWithTheSessionIsLogged(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{
		"/login": stage.AccountHandlers["/login"],
		"/fail": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			_ = m.Revoke(context.Background(), s.ID())
			stage.Number.Set(s, 1)
			io.WriteString(w, "done")
			panic("broken template")
		},
	}))
	b.Get("/login")
	b.Get("/fail?secret=1")
	if got := e.Events.Log(); !strings.Contains(got, "broken template") || !strings.Contains(got, "path=/fail ") {
		t.Errorf("got log %q, want the panic and the path", got)
	}
}

// lastWords are what deferred functions of middlewares inside do with the response when a
// handler panics.
var lastWords = map[string]middleware{
	"a compressor that is closed": zipping,
	"a buffer that is flushed": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			buf := bufio.NewWriter(w)
			_, _ = buf.WriteString("<html>")
			defer buf.Flush()
			next.ServeHTTP(w, r)
		})
	},
	"a status": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer w.WriteHeader(http.StatusOK)
			next.ServeHTTP(w, r)
		})
	},
	"a flush": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _ = http.NewResponseController(w).Flush() }()
			next.ServeHTTP(w, r)
		})
	},
	"a copy": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _, _ = io.Copy(w, io.LimitReader(strings.NewReader("footer"), 6)) }()
			next.ServeHTTP(w, r)
		})
	},
	"a page of 100 MB": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _, _ = io.Copy(w, io.LimitReader(endless{}, 100<<20)) }()
			next.ServeHTTP(w, r)
		})
	},
	"a log line, and the panic goes on": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p != nil {
					http.Error(w, "broken", http.StatusInternalServerError)
					panic(p)
				}
			}()
			next.ServeHTTP(w, r)
		})
	},
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestResponseWrittenByADeferredFunctionCommitsNothing holds a panic against what
// middlewares inside write on their way out.
func TestResponseWrittenByADeferredFunctionCommitsNothing(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		for name, last := range lastWords {
			t.Run(name, func(t *testing.T) {
				hs := lateHandlers(t, nil, false)
				hs["/change"] = func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
					stage.Number.Set(s, 2)
					panic("broken template")
				}
				hs["/logout"] = func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
					s.Logout()
					stage.Number.Set(s, 2)
					panic("broken template")
				}
				pages := hs.Mux()
				b := start(recoverers["one that answers every panic"](e.Manager(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/change" || r.URL.Path == "/logout" {
						last(pages).ServeHTTP(w, r)
					} else {
						pages.ServeHTTP(w, r)
					}
				}))))
				b.Get("/login")
				if a := b.Get("/change"); a.StatusCode != http.StatusInternalServerError {
					t.Errorf("got status %d, want 500 from the recoverer outside", a.StatusCode)
				}
				if got := b.Get("/").Text; got != "alice 1" {
					t.Errorf("got %q after a change and a panic, want alice 1", got)
				}
				b.Get("/logout")
				if got := b.Get("/").Text; got != " 0" {
					t.Errorf("got %q after a logout and a panic, want nobody", got)
				}
			})
		}
	})
}

// TestResponseOfARecovererInsideIsLikeAnyOther keeps what a handler changed before a panic
// that was recovered inside.
func TestResponseOfARecovererInsideIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		hs := lateHandlers(t, nil, false)
		hs["/change"] = func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			stage.Number.Set(s, 2)
			s.Login("alice")
			panic("broken template")
		}
		b := start(e.Manager(t).Handler(recoverers["one that answers every panic"](hs.Mux())))
		b.Get("/login")
		if a := b.Get("/change"); a.StatusCode != http.StatusInternalServerError || len(a.SetCookies()) != 1 || a.Text != "recovered\n" {
			t.Errorf("got status %d, %q and %d cookies, want the recoverer's page and a cookie", a.StatusCode, a.Text, len(a.SetCookies()))
		}
		if got := b.Get("/").Text; got != "alice 2" {
			t.Errorf("got %q afterwards, want alice 2", got)
		}
	})
}
