package compat_test

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	chimw "github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httplog/v3"
	"github.com/gorilla/csrf"
	"github.com/gorilla/handlers"
	"github.com/justinas/alice"
	"github.com/justinas/nosurf"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	sloghttp "github.com/samber/slog-http"
	"github.com/unrolled/secure"
	"github.com/urfave/negroni/v3"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/felixge/httpsnoop"

	"github.com/redsession/redsession"
)

// row is one neighbour of Handler in one place.
type row struct {
	name string
	// mount puts h, the actions, and m.Handler together.
	mount func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler
	// not says which cells are not ok, and why that is so and must be.
	not map[string]exception
}

// exception is what is seen in a cell instead of ok, over which protocols, and why. Without
// protocols it is all.
type exception struct {
	seen, why string
	protocols []string
}

type middleware = func(http.Handler) http.Handler

func outside(mw middleware) func(*testing.T, *redsession.Manager, http.Handler) http.Handler {
	return func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler { return mw(m.Handler(h)) }
}

func inside(mw middleware) func(*testing.T, *redsession.Manager, http.Handler) http.Handler {
	return func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler { return m.Handler(mw(h)) }
}

var (
	quiet     = log.New(io.Discard, "", 0)
	quietSlog = slog.New(slog.DiscardHandler)
)

const (
	recovered  = "A recoverer inside makes a response like any other of a panic, with what was changed before it."
	buffers    = "The middleware keeps the response back and has no connection to hand out."
	overStream = "HTTP/2 and HTTP/3 have no connection for one request."
	swallowed  = "quic-go resets a stream for a panic alone, which this recoverer swallows; over HTTP/1.1 and HTTP/2 the response is cut off all the same."
)

// middlewares are put outside and inside of Handler. kept tells whether one of them, inside,
// recovers panics.
var middlewares = []struct {
	name string
	mw   middleware
	kept bool
	not  map[string]exception
}{
	{name: "chi Recoverer", mw: chimw.Recoverer, kept: true},
	{name: "chi Timeout", mw: chimw.Timeout(time.Hour)},
	{name: "chi Compress", mw: chimw.Compress(5)},
	{name: "chi Logger", mw: chimw.RequestLogger(&chimw.DefaultLogFormatter{Logger: quiet, NoColor: true})},
	{name: "chi RequestID", mw: chimw.RequestID},
	{name: "chi StripSlashes", mw: chimw.StripSlashes},
	{name: "chi Throttle", mw: chimw.Throttle(100)},
	{name: "go-chi/httplog", mw: httplog.RequestLogger(quietSlog, &httplog.Options{RecoverPanics: true}), kept: true},
	{
		name: "gorilla/handlers RecoveryHandler", mw: handlers.RecoveryHandler(handlers.RecoveryLogger(quiet)), kept: true,
		not: map[string]exception{"late failure": {seen: "200, a success", why: swallowed, protocols: []string{"HTTP/3"}}},
	},
	{name: "gorilla/handlers CompressHandler", mw: handlers.CompressHandler},
	{name: "gorilla/handlers LoggingHandler", mw: func(next http.Handler) http.Handler { return handlers.LoggingHandler(io.Discard, next) }},
	{name: "gorilla/handlers CORS", mw: handlers.CORS()},
	{name: "gorilla/csrf", mw: csrf.Protect(make([]byte, 32))},
	{name: "nosurf", mw: nosurf.NewPure},
	{name: "rs/cors", mw: cors.Default().Handler},
	{name: "unrolled/secure", mw: secure.New().Handler},
	{name: "gzhttp", mw: func(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }},
	{name: "httpsnoop", mw: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httpsnoop.CaptureMetrics(next, w, r) })
	}},
	{name: "otelhttp", mw: otelhttp.NewMiddleware("server")},
	{name: "promhttp", mw: func(next http.Handler) http.Handler {
		counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"code"})
		size := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "size"}, nil)
		return promhttp.InstrumentHandlerCounter(counter, promhttp.InstrumentHandlerResponseSize(size, next))
	}},
	{name: "samber/slog-http", mw: sloghttp.New(quietSlog)},
	{name: "negroni Recovery and Logger", mw: func(next http.Handler) http.Handler {
		rec := negroni.NewRecovery()
		rec.Logger, rec.PrintStack, rec.LogStack = quiet, false, false
		n := negroni.New(rec)
		n.UseHandler(next)
		return n
	}, kept: true},
	{name: "alice", mw: func(next http.Handler) http.Handler {
		return alice.New(chimw.SetHeader("X-Site", "shop"), chimw.GetHead).Then(next)
	}},
	{
		name: "http.TimeoutHandler", mw: func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Hour, "late") },
		not: map[string]exception{"hijack": {seen: "no connection", why: buffers}},
	},
	{name: "http.MaxBytesHandler", mw: func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 1<<20) }},
	{name: "http.CrossOriginProtection", mw: http.NewCrossOriginProtection().Handler},
	{name: "http.AllowQuerySemicolons", mw: http.AllowQuerySemicolons},
}

// rows is the whole table: middlewares in both places, then what is mounted in a way of its own.
func rows() []row {
	list := []row{{name: "nothing", mount: outside(func(next http.Handler) http.Handler { return next })}}
	for _, one := range middlewares {
		in := one.not
		if one.kept { // inside it does not see the panic that cuts a connection
			in = map[string]exception{"panic": {seen: "kept", why: recovered}}
		}
		list = append(list, row{one.name + ", outside", outside(one.mw), one.not}, row{one.name + ", inside", inside(one.mw), in})
	}
	list = append(list,
		row{name: "httputil.ReverseProxy in front", mount: behindProxy, not: map[string]exception{
			"hijack":       {seen: ok, why: "Behind the proxy it is HTTP/1.1."},
			"late failure": {seen: "200, a success", why: "Under a server that is not net/http's, httputil.ReverseProxy does not pass on that its backend cut the response off.", protocols: []string{"HTTP/3"}},
		}},
		row{name: "two Managers", mount: func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
			other := newManager(t, func(c *redsession.Config) { c.Cookie.Name = "__Host-other" })
			return other.Handler(m.Handler(h))
		}},
	)
	return append(list, frameworks...)
}

// behindProxy serves the actions by a server of their own, and a proxy in front of that.
func behindProxy(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
	backend := httptest.NewUnstartedServer(m.Handler(h))
	backend.Config.ErrorLog = quiet
	backend.StartTLS()
	t.Cleanup(backend.Close)
	target, _ := url.Parse(backend.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: backend.Client().Transport, ErrorLog: quiet}
	return proxy
}
