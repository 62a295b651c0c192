package response_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// largeBody is more than any buffer on the way holds.
const largeBody = 1 << 20

// way is a request and how a handler answers it.
type way struct {
	name, method string
	body         int // bytes that the client sends
	header       http.Header
	only1        bool // HTTP/2 does not have it
	panics       bool // before anything is stored, perhaps: a proxy answers for it, a buffer keeps what it wrote
	answer       func(w http.ResponseWriter, r *http.Request)
}

// moreWays are those that waysToAnswer does not have.
func moreWays(t *testing.T) []way {
	t.Helper()
	name := filepath.Join(t.TempDir(), "large.txt")
	if err := os.WriteFile(name, bytes.Repeat([]byte("0123456789abcdef"), largeBody/16), 0o600); err != nil {
		t.Fatal(err)
	}
	return []way{
		{name: "io.Copy of a file", answer: func(w http.ResponseWriter, _ *http.Request) {
			if f, err := os.Open(name); err == nil {
				defer f.Close()
				io.Copy(w, f)
			}
		}},
		{name: "ServeFile", answer: func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }},
		{name: "a range of a file", header: http.Header{"Range": {"bytes=100000-1000000"}}, answer: func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }},
		{name: "a file not modified", header: http.Header{"If-Modified-Since": {"Fri, 01 Jan 2100 00:00:00 GMT"}}, answer: func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }},
		{name: "HEAD of a file", method: "HEAD", answer: func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }},
		{name: "HEAD with a body all the same", method: "HEAD", answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }},
		{name: "a Content-Length", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		}},
		{name: "pieces, each flushed", answer: answerPieces},
		{name: "unannounced trailers", answer: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hello")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
			w.Header().Add(http.TrailerPrefix+"X-Sum", "2")
		}},
		{name: "a large body there and back", method: "POST", body: largeBody, answer: func(w http.ResponseWriter, r *http.Request) {
			sent, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, "too large", http.StatusRequestEntityTooLarge)
				return
			}
			w.Write(sent)
		}},
		{name: "a body that nobody reads", method: "PUT", body: 1 << 10, answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }},
		{name: "100-continue", method: "POST", body: 10, header: http.Header{"Expect": {"100-continue"}}, answer: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(w, r.Body)
		}},
		{name: "100-continue refused", method: "POST", body: 10, header: http.Header{"Expect": {"100-continue"}}, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		}},
		{name: "a panic", panics: true, answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{name: "a panic after the first bytes", panics: true, answer: func(w http.ResponseWriter, r *http.Request) {
			answerPieces(w, r)
			panic(http.ErrAbortHandler)
		}},
	}
}

func answerPieces(w http.ResponseWriter, _ *http.Request) {
	for i := range 3 {
		fmt.Fprintf(w, "piece %d\n", i)
		_ = http.NewResponseController(w).Flush()
	}
}

func allWays(t *testing.T) []way {
	t.Helper()
	ways := moreWays(t)
	for _, w := range waysToAnswer {
		if asserting := []string{"Flush", "WriteString", "ReadFrom"}; !slices.Contains(asserting, w.name) { // not every writer here has those methods
			next := way{name: w.name, only1: w.only1, answer: w.answer}
			if w.status == http.StatusSwitchingProtocols { // a proxy wants it asked for
				next.header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"test"}}
			}
			ways = append(ways, next)
		}
	}
	return ways
}

// seen is what the client gets, without what a session may add to it.
type seen struct {
	status  int
	header  http.Header
	early   []int
	body    string
	trailer http.Header
	broken  bool
}

func (s seen) String() string {
	return fmt.Sprintf("status %d after %v, header %v, %d bytes of body, trailer %v, broken %v", s.status, s.early, s.header, len(s.body), s.trailer, s.broken)
}

func (s seen) equal(o seen) bool {
	return s.status == o.status && maps.EqualFunc(s.header, o.header, slices.Equal) && slices.Equal(s.early, o.early) &&
		s.body == o.body && maps.EqualFunc(s.trailer, o.trailer, slices.Equal) && s.broken == o.broken
}

// askInWay sends what way w wants and returns what came back, and how many cookies of ours.
func askInWay(b *stage.Browser, w way, i int) (got seen, cookies int) {
	b.T.Helper()
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(b.T.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code != http.StatusContinue { // a proxy may say so or not
				got.early = append(got.early, code)
			}
			return nil
		},
	}), w.method, fmt.Sprintf("%s/app/%d", b.Base, i), bytes.NewReader(bytes.Repeat([]byte("x"), w.body)))
	if err != nil {
		b.T.Fatal(err)
	}
	maps.Copy(r.Header, w.header)
	res, err := b.HTTP.Do(r)
	if err != nil {
		return seen{broken: true}, 0
	}
	defer res.Body.Close()
	got.status = res.StatusCode
	if got.status != http.StatusSwitchingProtocols { // there the body ends with the connection
		body, err := io.ReadAll(res.Body)
		got.body, got.broken = string(body), err != nil
	}
	got.header, got.trailer = res.Header, res.Trailer
	cookies = len(stage.Answer{Response: res}.SetCookies())
	for _, name := range []string{"Date", "Set-Cookie", "Vary", "Cache-Control", "Connection"} {
		delete(got.header, name)
	}
	if got.header.Get("Content-Length") == "0" { // a proxy says so or not, as the end reaches it with the beginning or after
		delete(got.header, "Content-Length")
	}
	return got, cookies
}

func TestResponseIsThatOfTheHandlerAloneInAnyArrangement(t *testing.T) {
	t.Parallel()
	ways := allWays(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		fmt.Sscan(path.Base(r.URL.Path), &i)
		ways[i].answer(w, r)
	})
	for _, a := range arrangements {
		t.Run(a.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
				var visit atomic.Int64
				plain := start(a.build(t, asItIs, h))
				managed := start(a.build(t, managing(t, e, e.Manager(t), &visit), h))
				for i, w := range ways {
					if w.only1 && strings.HasPrefix(plain.Base, "https") {
						continue
					}
					e.Mini.FlushAll()
					managed.HTTP.Jar, _ = cookiejar.New(nil)
					compare(t, e, w, i, plain, managed, &visit)
				}
			})
		})
	}
}

// managing keeps sessions, adds one to the number in each and wants it stored
// before the response begins.
func managing(t *testing.T, e *stage.Env, m *redsession.Manager, visit *atomic.Int64) middleware {
	return func(next http.Handler) http.Handler {
		kept := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stage.Number.Update(redsession.FromContext(r.Context()), addOne)
			next.ServeHTTP(w, r)
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kept.ServeHTTP(&stage.FirstByte{ResponseWriter: w, Opening: func() {
				if want := fmt.Sprintf(`"number":%d}`, visit.Load()); !holds(t, e, want) {
					t.Errorf("got the first byte of %s before Redis holds %s", r.URL.Path, want)
				}
			}}, r)
		})
	}
}

// holds tells whether the one record in Redis has text in it.
func holds(t *testing.T, e *stage.Env, text string) bool {
	t.Helper()
	dump := e.Dump(t)
	return len(dump) == 1 && strings.Contains(strings.Join(slices.Collect(maps.Values(dump)), ""), text)
}

// compare visits managed twice, a new session and a stored one.
func compare(t *testing.T, e *stage.Env, w way, i int, plain, managed *stage.Browser, visit *atomic.Int64) {
	t.Helper()
	want, _ := askInWay(plain, w, i)
	for n := int64(1); n <= 2; n++ {
		visit.Store(n)
		got, cookies := askInWay(managed, w, i)
		if !got.equal(want) {
			t.Errorf("%s, visit %d:\n got %s\nwant %s", w.name, n, got, want)
		}
		stored := holds(t, e, fmt.Sprintf(`"number":%d}`, n))
		if !stored && !w.panics {
			t.Errorf("%s, visit %d: Redis does not hold the number %d", w.name, n, n)
		}
		if got.status == 0 {
			return // nothing came, so there is nobody to come again
		}
		if due := stored && n == 1; cookies != map[bool]int{true: 1}[due] {
			t.Errorf("%s, visit %d: got %d cookies, want one exactly if a new session was stored", w.name, n, cookies)
		}
	}
}
