package redsession_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// neighbours are what stands around Handler in real programs.
var neighbours = []struct {
	name string
	wrap func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler
}{
	{"http.TimeoutHandler outside", func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		return http.TimeoutHandler(m.Handler(h), time.Hour, "late")
	}},
	{"http.TimeoutHandler inside", func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		return m.Handler(http.TimeoutHandler(h, time.Hour, "late"))
	}},
	{"http.StripPrefix outside", func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		return http.StripPrefix("/a", m.Handler(http.StripPrefix("/b", h)))
	}},
	{"gzip outside", func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler { return zipping(m.Handler(h)) }},
	{"gzip inside", func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler { return m.Handler(zipping(h)) }},
	{"itself", func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler { return m.Handler(m.Handler(h)) }},
	{"another Manager", func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		other := newMini(t).manager(t, func(c *redsession.Config) { c.Cookie.Name = "other" })
		return other.Handler(m.Handler(h))
	}},
	{"httputil.ReverseProxy inside", func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public")
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "hel")
			w.(http.Flusher).Flush()
			io.WriteString(w, "lo")
		}))
		t.Cleanup(backend.Close)
		target, _ := url.Parse(backend.URL)
		proxy := httputil.NewSingleHostReverseProxy(target)
		return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(httptest.NewRecorder(), r)
			proxy.ServeHTTP(w, r)
		}))
	}},
}

func TestNeighbours(t *testing.T) {
	for _, row := range neighbours {
		t.Run(row.name, func(t *testing.T) {
			m := newMini(t).manager(t)
			srv := httptest.NewServer(row.wrap(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				number.Update(redsession.FromContext(r.Context()), addOne)
				io.WriteString(w, "hello")
			})))
			t.Cleanup(srv.Close)
			b := newBrowser(t, srv)
			first, early := b.getTraced("/a/b/")
			if len(first.setCookies()) != 1 || first.body != "hello" || !slices.Equal(first.Header.Values("Cache-Control"), []string{"no-store"}) {
				t.Errorf("got body %q and header %v, want hello, one cookie and no-store", first.body, first.Header)
			}
			if slices.ContainsFunc(early, func(h http.Header) bool { return h.Get("Set-Cookie") != "" }) {
				t.Errorf("got a cookie with early hints, %v", early)
			}
			b.get("/a/b/")
			direct := newBrowser(t, serve(t, m, handlers{"/": showNumber}))
			if got := direct.with(b.cookie()).get("/").body; got != "2" {
				t.Errorf("got number %s, want 2", got)
			}
		})
	}
}

// zipping is what gzip middlewares do.
func zipping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		next.ServeHTTP(&zipped{w, z}, r)
	})
}

type zipped struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func (z *zipped) Write(p []byte) (int, error) { return z.zip.Write(p) }

func TestTimedOutHandler(t *testing.T) {
	var timedOut chan struct{} // closed when the client has its 503
	timeout := func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Millisecond, "late") }
	for _, row := range []struct {
		name string
		wrap func(*redsession.Manager, http.Handler) http.Handler
		want error // of a Save that needs a cookie
	}{
		{"outside", func(m *redsession.Manager, h http.Handler) http.Handler { return timeout(m.Handler(h)) }, nil},
		{"inside", func(m *redsession.Manager, h http.Handler) http.Handler { return m.Handler(timeout(h)) }, redsession.ErrHeadersSent},
	} {
		timedOut = make(chan struct{})
		saved := make(chan error)
		h := row.wrap(newMini(t).manager(t), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-timedOut
			number.Set(redsession.FromContext(r.Context()), 1)
			saved <- redsession.FromContext(r.Context()).Save(r.Context())
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		close(timedOut)
		if err := <-saved; w.Code != 503 || w.Header().Get("Set-Cookie") != "" || !errors.Is(err, row.want) {
			t.Errorf("%s: got status %d, cookie %q and error %v, want 503, none and %v", row.name, w.Code, w.Header().Get("Set-Cookie"), err, row.want)
		}
	}
}

func TestHandlerAppliedTwiceLoadsOnce(t *testing.T) {
	m, sent := newMini(t).counted(t)
	h := m.Handler(m.Handler(accountHandlers.mux()))
	cookie := issue(t, m, "/login")
	sent.take()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "session="+cookie)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got, want := sent.take(), "GET EXPIRE in 1"; got != want || w.Body.String() != `"alice" []` {
		t.Errorf("got commands %q and session %s, want %q and alice", got, w.Body, want)
	}
}

func TestSkippedRequestHasNoSession(t *testing.T) {
	m, sent := newMini(t).counted(t, func(c *redsession.Config) { c.Skip = func(r *http.Request) bool { return r.URL.Path == "/static" } })
	cookie := issue(t, m, "/login")
	sent.take()
	r := httptest.NewRequest("GET", "/static", nil)
	r.Header.Set("Cookie", "session="+cookie)
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if s, ok := redsession.Lookup(r.Context()); ok || s != nil {
			t.Errorf("got session %v, want none", s)
		}
		defer func() {
			text, _ := recover().(string)
			if !strings.Contains(text, "Handler") || !strings.Contains(text, "Skip") {
				t.Errorf("got panic %q from FromContext, want one that names Handler and Skip", text)
			}
		}()
		redsession.FromContext(r.Context())
	})).ServeHTTP(w, r)
	if got := sent.take(); got != " in 0" || len(w.Header()) != 0 {
		t.Errorf("got commands %q and header %v, want none", got, w.Header())
	}
}

func TestContextOfOuterMiddlewareIsVisible(t *testing.T) {
	type key struct{}
	m := newMini(t).manager(t)
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "outer"))
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Context().Value(key{}); got != "outer" {
			t.Errorf("got value %v, want outer", got)
		}
		cancel()
		if err := r.Context().Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v from the context, want it cancelled with the outer one", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
}
