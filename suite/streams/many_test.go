package streams_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// TestStreamsWaitCheaplyAndEndWithTheirSessions opens server-sent events that
// say nothing: REDSESSION_STREAMS of them, each of another user (go test -run
// StreamsWait -v ./suite/streams). It shows what one costs beside a handler without sessions. The
// connections are in memory: few machines allow 20,000 open files.
func TestStreamsWaitCheaplyAndEndWithTheirSessions(t *testing.T) {
	count := 50
	if v := os.Getenv("REDSESSION_STREAMS"); v != "" {
		var err error
		if count, err = strconv.Atoi(v); err != nil || count < 1 {
			t.Fatalf("REDSESSION_STREAMS is %q, want a number", v)
		}
	}
	e := stage.NewEnv(redistest.Start(t).URL, nil)
	m := e.Manager(t)
	plain := openStreams(t, count, make([]string, count), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stream(w, r.Context()) }))
	plain.close()
	page := m.Handler(stage.Handlers{
		"/login": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			stage.Fill(s)
			s.Login(r.FormValue("user"))
		},
		"/stream": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { stream(w, s.Context()) },
	}.Mux())
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
