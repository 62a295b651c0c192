package response_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestResponsesOnOneConnectionKeepUsersApart(t *testing.T) {
	t.Parallel()
	const users, rounds = 20, 3
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		m := e.Manager(t)
		first := start(m.Handler(stage.LifeHandlers().Mux()))
		h2 := strings.HasPrefix(first.Base, "https")
		first.HTTP.Transport = &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2, MaxConnsPerHost: 1,
		}
		var dialled atomic.Int64
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			if !c.Reused {
				dialled.Add(1)
			}
		}})
		visit := func(b *stage.Browser, path string) stage.Answer {
			r, _ := http.NewRequestWithContext(ctx, "GET", b.Base+path, nil)
			res, err := b.HTTP.Do(r)
			if err != nil {
				t.Error(err)
				return stage.Answer{Response: &http.Response{}}
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			return stage.Answer{Response: res, Text: string(body)}
		}
		var all sync.WaitGroup
		for i := range users {
			all.Go(func() {
				b, name := first.With(strings.Repeat("A", i)), fmt.Sprintf("user%d", i)
				if i%5 != 0 { // the others stay nobody, with a cookie that nobody signed
					visit(b, "/login?user="+name)
				} else {
					name = ""
				}
				for range rounds {
					if a := visit(b, "/who"); a.Text != name || len(a.SetCookies()) != 0 {
						t.Errorf("got user %q and cookies %v, want %q and none", a.Text, a.SetCookies(), name)
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

func TestResponseToASlowReaderFindsItsSessionStored(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		b := start(e.Manager(t).Handler(stage.Handlers{"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			stage.Number.Update(s, addOne)
			block := make([]byte, 64<<10)
			for range largeBody / len(block) {
				w.Write(block)
			}
		}}.Mux()))
		res, err := b.HTTP.Get(b.Base + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil || !holds(t, e, `"number":1}`) {
			t.Errorf("got error %v and Redis holds %v with the first byte of the body, want the number", err, e.Dump(t))
		}
		if n, err := io.Copy(io.Discard, oneByteAtATime{res.Body}); n != largeBody-1 || err != nil {
			t.Errorf("got %d bytes more and error %v, want %d", n, err, largeBody-1)
		}
	})
}

// oneByteAtATime reads in pieces much smaller than those that were sent.
type oneByteAtATime struct{ io.Reader }

func (r oneByteAtATime) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 997)]) }

func TestResponseToASlowSenderKeepsWhatOthersWroteMeanwhile(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
		began := make(chan struct{})
		b := start(e.Manager(t).Handler(stage.Handlers{
			"/": stage.ShowNumber,
			"/add": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				stage.Number.Update(s, addOne)
				if r.Method == http.MethodPost {
					close(began)
				}
				if n, _ := io.Copy(io.Discard, r.Body); r.Method == http.MethodPost && n != 6 {
					t.Errorf("got %d bytes, want 6", n)
				}
			},
		}.Mux()))
		b.Get("/add")
		body, send := io.Pipe()
		done := make(chan error)
		go func() {
			res, err := b.HTTP.Post(b.Base+"/add", "text/plain", body)
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
		io.WriteString(send, "abc")
		<-began
		for range 3 {
			b.Get("/add")
		}
		io.WriteString(send, "def")
		send.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := b.Get("/").Text; got != "5" {
			t.Errorf("got number %s, want 5: one before, three meanwhile, one that took long", got)
		}
	})
}

func TestResponseOfATimeoutWhoseHandlerGoesOn(t *testing.T) {
	t.Parallel()
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
			eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
				m := e.Manager(t)
				answered, ended := make(chan struct{}), make(chan struct{}, 1)
				b := start(row.around(m, stage.Handlers{"/slow": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					defer func() { ended <- struct{}{} }()
					stage.Number.Set(s, 1)
					<-r.Context().Done()
					<-answered
					stage.Number.Set(s, 2) // races with nothing, and needs no cookie if there is one already
					s.Flash("late")
					io.WriteString(w, "nobody reads this")
				}}.Mux()))
				a := b.Get("/slow")
				close(answered)
				<-ended
				if a.StatusCode != http.StatusServiceUnavailable || a.Text != "too slow" || len(a.SetCookies()) != row.cookies {
					t.Errorf("got status %d, body %q and %d cookies, want 503 and %d", a.StatusCode, a.Text, len(a.SetCookies()), row.cookies)
				}
				b.Base, b.HTTP.Transport = stage.Serve(t, m, stage.Handlers{"/": stage.ShowNumber}).URL, nil
				if got := b.With(cookieOf(b, a)).Get("/").Text; got != row.want {
					t.Errorf("got number %s afterwards, want %s", got, row.want)
				}
			})
		})
	}
}

// cookieOf returns the value of the session cookie in a.
func cookieOf(b *stage.Browser, a stage.Answer) string {
	for _, c := range a.SetCookies() {
		return c.Value
	}
	return ""
}
