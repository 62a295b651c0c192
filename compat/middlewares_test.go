package compat_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felixge/httpsnoop"
	chimw "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/csrf"
	"github.com/gorilla/handlers"
	"github.com/justinas/nosurf"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/urfave/negroni/v3"

	"github.com/redsession/redsession"
)

// Middlewares that take more than a line to set up.

func anyOrigin(string) bool { return true }

func timeout(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Hour, "late") }

// chiRecoverer has a log, or it would print the stacks.
func chiRecoverer(next http.Handler) http.Handler {
	recoverer := chimw.Recoverer(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recoverer.ServeHTTP(w, chimw.WithLogEntry(r, quietEntry{}))
	})
}

type quietEntry struct{}

func (quietEntry) Write(int, int, http.Header, time.Duration, any) {}
func (quietEntry) Panic(any, []byte)                               {}

func gorillaLogging(next http.Handler) http.Handler {
	return handlers.CombinedLoggingHandler(io.Discard, next)
}

// tellToken sends the token that a page's forms send back.
func tellToken(next http.Handler, token func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-CSRF-Token", token(r))
		next.ServeHTTP(w, r)
	})
}

func gorillaCSRF(next http.Handler) http.Handler {
	return csrf.Protect(make([]byte, 32), csrf.Path("/"))(tellToken(next, csrf.Token))
}

func noSurf(next http.Handler) http.Handler {
	h := nosurf.New(tellToken(next, nosurf.Token))
	h.SetBaseCookie(http.Cookie{Path: "/", Secure: true, HttpOnly: true})
	return h
}

func gzip(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(1)) // these pages are short
	if err != nil {
		panic(err)
	}
	return wrap(next)
}

func snoop(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httpsnoop.CaptureMetrics(next, w, r) })
}

func metrics(next http.Handler) http.Handler {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"code", "method"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds"}, []string{"code"})
	size := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "size"}, nil)
	return promhttp.InstrumentHandlerCounter(counter,
		promhttp.InstrumentHandlerDuration(took, promhttp.InstrumentHandlerResponseSize(size, next)))
}

func negroniRecovery(next http.Handler) http.Handler {
	rec := negroni.NewRecovery()
	rec.Logger, rec.PrintStack, rec.LogStack = quiet, false, false
	n := negroni.New(rec)
	n.UseHandler(next)
	return n
}

// behindProxy serves the program by a server of its own, and a proxy in front of that.
func behindProxy(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
	return proxyTo(t, m.Handler(h))
}

// proxying passes requests on to a server of its own, which is lent their sessions: what its
// handlers change is changed while the proxy answers.
func proxying(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
	const field = "X-Exchange"
	var (
		exchanges sync.Map
		count     atomic.Int64
	)
	proxy := proxyTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := exchanges.Load(r.Header.Get(field))
		h.ServeHTTP(w, r.WithContext(lent{r.Context(), from.(context.Context)}))
	}))
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strconv.FormatInt(count.Add(1), 10)
		exchanges.Store(name, r.Context())
		defer exchanges.Delete(name)
		r.Header.Set(field, name)
		proxy.ServeHTTP(w, r)
	}))
}

// lent is a context with the values of another.
type lent struct {
	context.Context
	from context.Context
}

func (l lent) Value(key any) any {
	if v := l.Context.Value(key); v != nil {
		return v
	}
	return l.from.Value(key)
}

func proxyTo(t *testing.T, h http.Handler) http.Handler {
	backend := httptest.NewUnstartedServer(h)
	backend.Config.ErrorLog = quiet
	backend.Start()
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: backend.Client().Transport, ErrorLog: quiet,
	}
}
