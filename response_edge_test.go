package redsession_test

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
)

// bare is the writer of a middleware that hides what the server's can, as many do.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header         { return b.w.Header() }
func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }
func (b bare) WriteHeader(code int)        { b.w.WriteHeader(code) }

func hiding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(bare{w}, r) })
}

// needsMore are ways to answer that a bare writer does not have.
var needsMore = []string{"Flush", "Flush of a ResponseController", "WriteString", "ReadFrom", "Hijack", "101"}

func TestAMiddlewareThatHidesTheServersWriter(t *testing.T) {
	for _, row := range []struct {
		name  string
		build func(manage middleware, h http.Handler) http.Handler
	}{
		{"outside", func(manage middleware, h http.Handler) http.Handler { return hiding(manage(h)) }},
		{"inside", func(manage middleware, h http.Handler) http.Handler { return manage(hiding(h)) }},
	} {
		eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
			for _, way := range waysToAnswer {
				if row.name == "inside" && slices.Contains(needsMore, way.name) || way.only1 {
					continue
				}
				b := start(row.build(e.manager(t).Handler, handlers{"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					number.Update(s, addOne)
					way.answer(w, r)
				}}.mux()))
				e.mini.FlushAll()
				a, _ := b.getTraced("/")
				if a.StatusCode != way.status || len(a.setCookies()) != 1 || !e.holds(t, `"number":1}`) {
					t.Errorf("%s, %s: got status %d and cookies %v, want %d, one, and the number stored", row.name, way.name, a.StatusCode, a.setCookies(), way.status)
				}
			}
		})
	}
}

// TestAHijackThatIsNotPossibleBeginsNoResponse falls back to an ordinary answer, and
// to a login with it.
func TestAHijackThatIsNotPossibleBeginsNoResponse(t *testing.T) {
	for name, row := range map[string]struct {
		around middleware
		h2     bool
	}{"HTTP/2": {asItIs, true}, "a middleware that hides the server's writer": {hiding, false}} {
		var errs heard
		m := newMini(t).manager(t, func(c *redsession.Config) { c.ErrorHandler = errs.handle })
		b := browse(t, row.around(m.Handler(handlers{
			"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { io.WriteString(w, s.UserID()) },
			"/upgrade": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				number.Set(s, 1)
				if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%s: got %v from Hijack, want that it is not supported", name, err)
				}
				s.Login("alice")
				http.Error(w, "plain", http.StatusTeapot)
			},
		}.mux())), row.h2)
		a, err := b.try("/upgrade")
		if err != nil || a.StatusCode != http.StatusTeapot || len(a.setCookies()) != 1 || len(errs.take()) > 0 {
			t.Fatalf("%s: got %v and error %v, want the handler's answer with a cookie", name, a, err)
		}
		if got := b.get("/").body; got != "alice" {
			t.Errorf("%s: got user %q afterwards, want alice", name, got)
		}
	}
}

// TestAResponseControllerReachesTheServer compares what it says with what it says to
// a handler without sessions.
func TestAResponseControllerReachesTheServer(t *testing.T) {
	controls := func(w http.ResponseWriter) string {
		rc := http.NewResponseController(w)
		_, pusher := w.(http.Pusher)
		return fmt.Sprint(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex(), pusher)
	}
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		plain := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, controls(w)) })).get("/").body
		kept := start(e.manager(t).Handler(handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			number.Set(s, 1)
			said := controls(w)
			if e.holds(t, "number") {
				t.Error("got the session stored by a control, which sends nothing")
			}
			io.WriteString(w, said)
		}}.mux())).get("/")
		// Server push is not offered: no browser takes it any more.
		if want := strings.Replace(plain, "true", "false", 1); kept.body != want || len(kept.setCookies()) != 1 {
			t.Errorf("got %q and %d cookies, want %q and one", kept.body, len(kept.setCookies()), want)
		}
	})
}

// TestReadingOnAfterTheResponseHasBegun talks in both directions at once.
func TestReadingOnAfterTheResponseHasBegun(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		b := start(e.manager(t).Handler(handlers{"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			number.Update(s, addOne)
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex() // HTTP/2 always has it
			for lines := bufio.NewScanner(r.Body); lines.Scan(); {
				fmt.Fprintf(w, "got %s\n", lines.Text())
				_ = rc.Flush()
				number.Update(s, addOne)
			}
		}}.mux()))
		body, send := io.Pipe()
		go io.WriteString(send, "0\n")
		res, err := b.http.Post(b.base+"/", "text/plain", body)
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
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 || !e.holds(t, `"number":4}`) {
			t.Errorf("got %q and error %v at the end and %v in Redis, want the number 4", rest, err, e.dump(t))
		}
		if a := (answer{Response: res}); len(a.setCookies()) != 1 {
			t.Errorf("got cookies %v, want one", a.setCookies())
		}
	})
}

// TestATunnelHasASession opens one by CONNECT, once the session is stored.
func TestATunnelHasASession(t *testing.T) {
	e := newMini(t)
	tunnel := e.manager(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number.Set(redsession.FromContext(r.Context()), 1)
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
		e.mini.FlushAll()
		header, far, err := dial()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if stored := e.holds(t, `"number":1}`); !stored || !strings.HasPrefix(header.Get("Set-Cookie"), "session=") {
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
	b := browse(t, h, true)
	b.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	body, send := io.Pipe()
	t.Cleanup(func() { send.Close() })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, b.base, body)
	if err != nil {
		return nil, nil, err
	}
	res, err := b.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { res.Body.Close() })
	return res.Header, readWriter{res.Body, send}, nil
}
