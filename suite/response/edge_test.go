package response_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// bare is the writer of a middleware that hides what the server's can, as many do.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header { return b.w.Header() }

func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }

func (b bare) WriteHeader(code int) { b.w.WriteHeader(code) }

func hiding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(bare{w}, r) })
}

// needsMore are ways to answer that a bare writer does not have.
var needsMore = []string{"Flush", "Flush of a ResponseController", "WriteString", "ReadFrom", "Hijack", "101"}

func TestResponseThroughAMiddlewareThatHidesTheServersWriter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		build func(manage middleware, h http.Handler) http.Handler
	}{
		{"outside", func(manage middleware, h http.Handler) http.Handler { return hiding(manage(h)) }},
		{"inside", func(manage middleware, h http.Handler) http.Handler { return manage(hiding(h)) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
				for _, way := range waysToAnswer {
					if row.name == "inside" && slices.Contains(needsMore, way.name) || way.only1 || way.name == "Flush" {
						continue
					}
					t.Run(way.name, func(t *testing.T) {
						b := start(row.build(e.Manager(t).Handler, stage.Handlers{"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
							stage.Number.Update(s, addOne)
							way.answer(w, r)
						}}.Mux()))
						e.Mini.FlushAll()
						a, _ := getTraced(b, "/")
						if a.StatusCode != way.status || len(a.SetCookies()) != 1 || !holds(t, e, `"number":1}`) {
							t.Errorf("got status %d and cookies %v, want %d, one, and the number stored", a.StatusCode, a.SetCookies(), way.status)
						}
					})
				}
			})
		})
	}
}

// TestResponseIsNotBegunByAHijackThatIsNotPossible falls back to an ordinary answer, and
// to a login with it.
func TestResponseIsNotBegunByAHijackThatIsNotPossible(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		around middleware
		h2     bool
	}{"HTTP/2": {asItIs, true}, "a middleware that hides the server's writer": {hiding, false}} {
		var errs heard
		m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.ErrorHandler = errs.handle })
		b := stage.Browse(t, row.around(m.Handler(stage.Handlers{
			"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { io.WriteString(w, s.UserID()) },
			"/upgrade": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				stage.Number.Set(s, 1)
				if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%s: got %v from Hijack, want that it is not supported", name, err)
				}
				s.Login("alice")
				http.Error(w, "plain", http.StatusTeapot)
			},
		}.Mux())), row.h2)
		a, err := b.Try("/upgrade")
		if err != nil || a.StatusCode != http.StatusTeapot || len(a.SetCookies()) != 1 || len(errs.take()) > 0 {
			t.Fatalf("%s: got %v and error %v, want the handler's answer with a cookie", name, a, err)
		}
		if got := b.Get("/").Text; got != "alice" {
			t.Errorf("%s: got user %q afterwards, want alice", name, got)
		}
	}
}

// TestResponseControllerReachesTheServer compares what it says with what it says to
// a handler without sessions.
func TestResponseControllerReachesTheServer(t *testing.T) {
	t.Parallel()
	controls := func(w http.ResponseWriter) string {
		rc := http.NewResponseController(w)
		_, pusher := w.(http.Pusher)
		return fmt.Sprint(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex(), pusher)
	}
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		plain := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, controls(w)) })).Get("/").Text
		kept := start(e.Manager(t).Handler(stage.Handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			stage.Number.Set(s, 1)
			said := controls(w)
			if holds(t, e, "number") {
				t.Error("got the session stored by a control, which sends nothing")
			}
			io.WriteString(w, said)
		}}.Mux())).Get("/")
		if kept.Text != plain || len(kept.SetCookies()) != 1 {
			t.Errorf("got %q and %d cookies, want %q and one", kept.Text, len(kept.SetCookies()), plain)
		}
	})
}

// TestResponseBegunLetsTheHandlerReadOn talks in both directions at once.
func TestResponseBegunLetsTheHandlerReadOn(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		b := start(e.Manager(t).Handler(stage.Handlers{"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			stage.Number.Update(s, addOne)
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex() // HTTP/2 always has it
			for lines := bufio.NewScanner(r.Body); lines.Scan(); {
				fmt.Fprintf(w, "got %s\n", lines.Text())
				_ = rc.Flush()
				stage.Number.Update(s, addOne)
			}
		}}.Mux()))
		body, send := io.Pipe()
		go io.WriteString(send, "0\n")
		res, err := b.HTTP.Post(b.Base+"/", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answers := bufio.NewScanner(res.Body)
		for i := range 3 {
			if want := fmt.Sprint("got ", i); !answers.Scan() || answers.Text() != want {
				t.Fatalf("got %q and error %v, want %q", answers.Text(), answers.Err(), want)
			}
			if i < 2 {
				fmt.Fprintf(send, "%d\n", i+1)
			}
		}
		send.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 || !holds(t, e, `"number":4}`) {
			t.Errorf("got %q and error %v at the end and %v in Redis, want the number 4", rest, err, e.Dump(t))
		}
		if a := (stage.Answer{Response: res}); len(a.SetCookies()) != 1 {
			t.Errorf("got cookies %v, want one", a.SetCookies())
		}
	})
}

// TestResponseOfATunnelHasASession opens one by CONNECT, once the session is stored.
func TestResponseOfATunnelHasASession(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	tunnel := e.Manager(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stage.Number.Set(redsession.FromContext(r.Context()), 1)
		if r.ProtoMajor == 2 {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(flushing{w}, r.Body)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		res := http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header(), ContentLength: -1, Request: &http.Request{Method: http.MethodConnect}}
		_ = res.Write(conn)
		_, _ = io.Copy(conn, io.LimitReader(rw, 4))
	}))
	for name, dial := range map[string]func() (http.Header, io.ReadWriter, error){
		"HTTP/1.1": func() (http.Header, io.ReadWriter, error) { return connect(t, tunnel) },
		"HTTP/2":   func() (http.Header, io.ReadWriter, error) { return connect2(t, tunnel) },
	} {
		e.Mini.FlushAll()
		header, far, err := dial()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if stored := holds(t, e, `"number":1}`); !stored || !strings.HasPrefix(header.Get("Set-Cookie"), "session=") {
			t.Errorf("%s: got stored %v and header %v, want the session and its cookie", name, stored, header)
		}
		echo := make([]byte, 4)
		if _, err := io.WriteString(far, "ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, echo); err != nil || string(echo) != "ping" {
			t.Errorf("%s: got %q and error %v from the tunnel, want ping", name, echo, err)
		}
	}
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	return n, errors.Join(err, http.NewResponseController(f.ResponseWriter).Flush())
}

type readWriter struct {
	io.Reader
	io.Writer
}

// connect opens a tunnel over HTTP/1.1.
func connect(t *testing.T, h http.Handler) (http.Header, io.ReadWriter, error) {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, nil, err
	}
	return res.Header, readWriter{in, conn}, nil
}

// connect2 opens a tunnel over HTTP/2, which is one of its streams.
func connect2(t *testing.T, h http.Handler) (http.Header, io.ReadWriter, error) {
	b := stage.Browse(t, h, true)
	b.HTTP.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	body, send := io.Pipe()
	t.Cleanup(func() { send.Close() })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, b.Base, body)
	if err != nil {
		return nil, nil, err
	}
	res, err := b.HTTP.Do(r)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { res.Body.Close() })
	return res.Header, readWriter{res.Body, send}, nil
}
