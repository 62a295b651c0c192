package response_test

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
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
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
		other := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.Cookie.Name = "other" })
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

func TestResponseBesideOtherMiddlewares(t *testing.T) {
	t.Parallel()
	for _, row := range neighbours {
		t.Run(row.name, func(t *testing.T) {
			m := stage.NewMini(t).Manager(t)
			srv := httptest.NewServer(row.wrap(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				stage.Number.Update(redsession.FromContext(r.Context()), addOne)
				io.WriteString(w, "hello")
			})))
			t.Cleanup(srv.Close)
			b := stage.NewBrowser(t, srv)
			first, early := getTraced(b, "/a/b/")
			if len(first.SetCookies()) != 1 || first.Text != "hello" || !slices.Equal(first.Header.Values("Cache-Control"), []string{"no-store"}) {
				t.Errorf("got body %q and header %v, want hello, one cookie and no-store", first.Text, first.Header)
			}
			if slices.ContainsFunc(early, func(h http.Header) bool { return h.Get("Set-Cookie") != "" }) {
				t.Errorf("got a cookie with early hints, %v", early)
			}
			b.Get("/a/b/")
			direct := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{"/": stage.ShowNumber}))
			if got := direct.With(b.Cookie()).Get("/").Text; got != "2" {
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

func TestResponseOfATimedOutHandler(t *testing.T) {
	t.Parallel()
	var timedOut chan struct{} // closed when the client has its 503
	timeout := func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Millisecond, "late") }
	for _, row := range []struct {
		name string
		wrap func(*redsession.Manager, http.Handler) http.Handler
		want error // of a Save that needs a cookie
	}{
		{"outside", func(m *redsession.Manager, h http.Handler) http.Handler { return timeout(m.Handler(h)) }, redsession.ErrUnavailable},
		{"inside", func(m *redsession.Manager, h http.Handler) http.Handler { return m.Handler(timeout(h)) }, redsession.ErrHeadersSent},
	} {
		t.Run(row.name, func(t *testing.T) {
			timedOut = make(chan struct{})
			saved := make(chan error)
			h := row.wrap(stage.NewMini(t).Manager(t), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-timedOut
				stage.Number.Set(redsession.FromContext(r.Context()), 1)
				saved <- redsession.FromContext(r.Context()).Save(r.Context())
			}))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			close(timedOut)
			if err := <-saved; w.Code != 503 || w.Header().Get("Set-Cookie") != "" || !errors.Is(err, row.want) {
				t.Errorf("got status %d, cookie %q and error %v, want 503, none and %v", w.Code, w.Header().Get("Set-Cookie"), err, row.want)
			}
		})
	}
}

func TestResponseContextOfOuterMiddlewareIsVisible(t *testing.T) {
	t.Parallel()
	type key struct{}
	m := stage.NewMini(t).Manager(t)
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
