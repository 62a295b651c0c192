package redsession_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

func TestOneConnectionKeepsItsUsersApart(t *testing.T) {
	const users, rounds = 20, 3
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		m := e.manager(t)
		first := start(m.Handler(life().mux()))
		h2 := strings.HasPrefix(first.base, "https")
		first.http.Transport = &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2, MaxConnsPerHost: 1,
		}
		var dialled atomic.Int64
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			if !c.Reused {
				dialled.Add(1)
			}
		}})
		visit := func(b *browser, path string) answer {
			r, _ := http.NewRequestWithContext(ctx, "GET", b.base+path, nil)
			res, err := b.http.Do(r)
			if err != nil {
				t.Error(err)
				return answer{Response: &http.Response{}}
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			return answer{res, string(body)}
		}
		var all sync.WaitGroup
		for i := range users {
			all.Go(func() {
				b, name := first.with(strings.Repeat("A", i)), fmt.Sprintf("user%d", i)
				if i%5 != 0 { // the others stay nobody, with a cookie that nobody signed
					visit(b, "/login?user="+name)
				} else {
					name = ""
				}
				for range rounds {
					if a := visit(b, "/who"); a.body != name || len(a.setCookies()) != 0 {
						t.Errorf("got user %q and cookies %v, want %q and none", a.body, a.setCookies(), name)
					}
				}
			})
		}
		all.Wait()
		if n := dialled.Load(); n != 1 {
			t.Errorf("got %d connections, want one that all share", n)
		}
	})
}

func TestSlowReaderFindsItsSessionStored(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		b := start(e.manager(t).Handler(handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			number.Update(s, addOne)
			block := make([]byte, 64<<10)
			for range largeBody / len(block) {
				w.Write(block)
			}
		}}.mux()))
		res, err := b.http.Get(b.base + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil || !e.holds(t, `"number":1}`) {
			t.Errorf("got error %v and Redis holds %v with the first byte of the body, want the number", err, e.dump(t))
		}
		if n, err := io.Copy(io.Discard, oneByteAtATime{res.Body}); n != largeBody-1 || err != nil {
			t.Errorf("got %d bytes more and error %v, want %d", n, err, largeBody-1)
		}
	})
}

// oneByteAtATime reads in pieces much smaller than those that were sent.
type oneByteAtATime struct{ io.Reader }

func (r oneByteAtATime) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 997)]) }

func TestSlowSenderKeepsWhatOthersWroteMeanwhile(t *testing.T) {
	eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
		began := make(chan struct{})
		b := start(e.manager(t).Handler(handlers{
			"/": showNumber,
			"/add": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				number.Update(s, addOne)
				if r.Method == http.MethodPost {
					close(began)
				}
				if n, _ := io.Copy(io.Discard, r.Body); r.Method == http.MethodPost && n != 6 {
					t.Errorf("got %d bytes, want 6", n)
				}
			},
		}.mux()))
		b.get("/add")
		body, send := io.Pipe()
		done := make(chan error)
		go func() {
			res, err := b.http.Post(b.base+"/add", "text/plain", body)
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
		io.WriteString(send, "abc")
		<-began
		for range 3 {
			b.get("/add")
		}
		io.WriteString(send, "def")
		send.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := b.get("/").body; got != "5" {
			t.Errorf("got number %s, want 5: one before, three meanwhile, one that took long", got)
		}
	})
}

func TestTimeoutOfAHandlerThatGoesOnChangingItsSession(t *testing.T) {
	const soon = 10 * time.Millisecond // the handler waits for it however long it takes
	for _, row := range []struct {
		name    string
		around  func(*redsession.Manager, http.Handler) http.Handler
		cookies int    // of a first visit that timed out
		want    string // the number after it
	}{
		{"TimeoutHandler inside", func(m *redsession.Manager, h http.Handler) http.Handler {
			return m.Handler(http.TimeoutHandler(h, soon, "too slow"))
		}, 1, "1"},
		// It has thrown away the headers, so the client never hears of its session.
		{"TimeoutHandler outside", func(m *redsession.Manager, h http.Handler) http.Handler {
			return http.TimeoutHandler(m.Handler(h), soon, "too slow")
		}, 0, "0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, e *env, start func(http.Handler) *browser) {
				m := e.manager(t)
				answered, ended := make(chan struct{}), make(chan struct{}, 1)
				b := start(row.around(m, handlers{"/slow": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					defer func() { ended <- struct{}{} }()
					number.Set(s, 1)
					<-r.Context().Done()
					<-answered
					number.Set(s, 2) // races with nothing, and needs no cookie if there is one already
					s.Flash("late")
					io.WriteString(w, "nobody reads this")
				}}.mux()))
				a := b.get("/slow")
				close(answered)
				<-ended
				if a.StatusCode != http.StatusServiceUnavailable || a.body != "too slow" || len(a.setCookies()) != row.cookies {
					t.Errorf("got status %d, body %q and %d cookies, want 503 and %d", a.StatusCode, a.body, len(a.setCookies()), row.cookies)
				}
				b.base, b.http.Transport = serve(t, m, handlers{"/": showNumber}).URL, nil
				if got := b.with(b.cookieOf(a)).get("/").body; got != row.want {
					t.Errorf("got number %s afterwards, want %s", got, row.want)
				}
			})
		})
	}
}

// cookieOf returns the value of the session cookie in a.
func (b *browser) cookieOf(a answer) string {
	for _, c := range a.setCookies() {
		return c.Value
	}
	return ""
}

// TestStreamsWaitCheaplyAndEndWithTheirSessions opens server-sent events that
// say nothing: REDSESSION_STREAMS of them, each of another user (go test -run
// StreamsWait -v). It shows what one costs beside a handler without sessions. The
// connections are in memory: few machines allow 20,000 open files.
func TestStreamsWaitCheaplyAndEndWithTheirSessions(t *testing.T) {
	count := 50
	if v := os.Getenv("REDSESSION_STREAMS"); v != "" {
		var err error
		if count, err = strconv.Atoi(v); err != nil || count < 1 {
			t.Fatalf("REDSESSION_STREAMS is %q, want a number", v)
		}
	}
	e := &env{url: redistest.Start(t).URL, clock: newClock(), events: &eventLog{}}
	m := e.manager(t)
	plain := openStreams(t, count, make([]string, count), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stream(w, r.Context()) }))
	plain.close()
	page := m.Handler(handlers{
		"/login": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			fill(s)
			s.Login(r.FormValue("user"))
		},
		"/stream": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { stream(w, s.Context()) },
	}.mux())
	cookies := make([]string, count)
	for i := range cookies {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/login?user=u%d", i), nil))
		cookies[i], _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
	}
	kept := openStreams(t, count, cookies, page)
	began := time.Now()
	if n, err := m.RevokeAll(t.Context()); n != count || err != nil {
		t.Errorf("got %d sessions revoked and error %v, want %d", n, err, count)
	}
	revoked := time.Since(began)
	for _, c := range kept.connections {
		if last, err := io.ReadAll(c.answer); err != nil || !strings.Contains(string(last), "over") {
			t.Fatalf("got %q and error %v at the end of a stream, want it to end in order", last, err)
		}
	}
	t.Logf("%d streams: %d bytes each (heap %d, stacks %d), without sessions %d (%d, %d), both ends of the connection included; "+
		"all revoked after %s, all streams ended %s later",
		count, kept.heap+kept.stack, kept.heap, kept.stack, plain.heap+plain.stack, plain.heap, plain.stack, revoked, time.Since(began)-revoked)
	kept.close()
}

// stream sends one event and waits for the end of ctx.
func stream(w http.ResponseWriter, ctx context.Context) {
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, "data: hello\n\n")
	_ = http.NewResponseController(w).Flush()
	<-ctx.Done()
	io.WriteString(w, "data: over\n\n")
}

// streams are open and idle. What one of them costs is in bytes.
type streams struct {
	server      *http.Server
	connections []*streamClient
	heap, stack int64
}

type streamClient struct {
	net.Conn
	answer *bufio.Reader
}

// openStreams opens one stream for each cookie and waits for the first event of
// each. A client has no more memory than it needs, since that counts as well.
func openStreams(t *testing.T, count int, cookies []string, h http.Handler) *streams {
	t.Helper()
	listener := &pipes{accept: make(chan net.Conn), over: make(chan struct{})}
	ss := &streams{server: &http.Server{Handler: h, ReadHeaderTimeout: time.Hour}}
	go func() { _ = ss.server.Serve(listener) }() // until close
	t.Cleanup(ss.close)
	ss.connections = make([]*streamClient, 0, count)
	heap, stack := memory()
	for _, cookie := range cookies {
		conn, far := net.Pipe()
		listener.accept <- far
		c := &streamClient{conn, bufio.NewReaderSize(conn, 64)}
		ss.connections = append(ss.connections, c)
		fmt.Fprintf(conn, "GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: %s\r\n\r\n", cookie)
	}
	for _, c := range ss.connections {
		for line := ""; !strings.HasPrefix(line, "data: hello"); {
			var err error
			if line, err = c.answer.ReadString('\n'); err != nil || strings.HasPrefix(line, "HTTP/1.1") && !strings.Contains(line, "200") {
				t.Fatalf("got %q and error %v, want a stream", line, err)
			}
		}
		c.answer.ReadString('\n') // the empty line that ends the event
	}
	nowHeap, nowStack := memory()
	ss.heap, ss.stack = (nowHeap-heap)/int64(count), (nowStack-stack)/int64(count)
	return ss
}

func (ss *streams) close() {
	for _, c := range ss.connections {
		c.Close()
	}
	ss.connections = nil
	_ = ss.server.Close()
}

// pipes is a listener whose connections need no file.
type pipes struct {
	accept chan net.Conn
	over   chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// memory returns what is in use after a collection.
func memory() (heap, stack int64) {
	runtime.GC()
	runtime.GC() // what was freed by finalizers, and pools
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc), int64(s.StackInuse)
}
