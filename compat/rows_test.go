package compat_test

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"testing"
	"time"

	chimw "github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httplog/v3"
	"github.com/gorilla/handlers"
	"github.com/justinas/alice"
	"github.com/rs/cors"
	sloghttp "github.com/samber/slog-http"
	"github.com/unrolled/secure"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/redsession/redsession"
)

// row is one neighbour of Handler in one place.
type row struct {
	name string
	// mount puts h, the actions, and m.Handler together.
	mount func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler
	// shows is a header of a page by which a middleware is seen at work.
	shows string
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

// noConnection is what a handler is told that wants to take one over.
const noConnection = "no connection"

const (
	recovered  = "A recoverer inside makes a response like any other of a panic, with what was changed before it."
	buffers    = "The middleware keeps the response back to its end, and has no connection to hand out."
	passesOn   = "The program behind the proxy panicked, not the one with the session."
	overStream = "HTTP/2 and HTTP/3 have no connection for one request."
)

// middlewares are put outside and inside of Handler. kept tells whether one of them, inside,
// recovers panics.
var middlewares = []struct {
	name  string
	mw    middleware
	kept  bool
	shows string
	not   map[string]exception
}{
	{name: "chi Recoverer", mw: chiRecoverer, kept: true},
	{name: "chi Timeout", mw: chimw.Timeout(time.Hour)},
	{name: "chi Compress", mw: chimw.Compress(5), shows: "Content-Encoding"},
	{name: "chi Logger", mw: chimw.RequestLogger(&chimw.DefaultLogFormatter{Logger: quiet, NoColor: true})},
	{name: "chi ClientIPFromRemoteAddr", mw: chimw.ClientIPFromRemoteAddr},
	{name: "chi RequestID", mw: chimw.RequestID},
	{name: "chi StripSlashes", mw: chimw.StripSlashes},
	{name: "chi Throttle", mw: chimw.Throttle(100)},
	{name: "go-chi/httplog", mw: httplog.RequestLogger(quietSlog, &httplog.Options{RecoverPanics: true}), kept: true},
	{name: "gorilla/handlers RecoveryHandler", mw: handlers.RecoveryHandler(handlers.RecoveryLogger(quiet)), kept: true},
	{name: "gorilla/handlers CompressHandler", mw: handlers.CompressHandler, shows: "Content-Encoding"},
	{name: "gorilla/handlers LoggingHandler", mw: gorillaLogging},
	{name: "gorilla/handlers CORS", mw: handlers.CORS(handlers.AllowedOriginValidator(anyOrigin), handlers.AllowCredentials()), shows: "Access-Control-Allow-Origin"},
	{name: "gorilla/csrf", mw: gorillaCSRF, shows: "X-CSRF-Token"},
	{name: "nosurf", mw: noSurf, shows: "X-CSRF-Token"},
	{name: "rs/cors", mw: cors.New(cors.Options{AllowOriginFunc: anyOrigin, AllowCredentials: true}).Handler, shows: "Access-Control-Allow-Origin"},
	{name: "unrolled/secure", mw: secure.New(secure.Options{FrameDeny: true, SSLRedirect: true}).Handler, shows: "X-Frame-Options"},
	{name: "gzhttp", mw: gzip, shows: "Content-Encoding"},
	{name: "httpsnoop", mw: snoop},
	{name: "otelhttp", mw: otelhttp.NewMiddleware("server")},
	{name: "promhttp", mw: metrics},
	{name: "samber/slog-http", mw: sloghttp.NewWithConfig(quietSlog, sloghttp.Config{WithResponseBody: true})},
	{name: "negroni Recovery", mw: negroniRecovery, kept: true},
	{name: "alice", mw: alice.New(chimw.SetHeader("X-Site", "shop"), chimw.GetHead).Then, shows: "X-Site"},
	{
		name: "http.TimeoutHandler", mw: timeout,
		not: map[string]exception{"flush": {seen: keptBack, why: buffers}, "hijack": {seen: noConnection, why: buffers}},
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
		list = append(list, row{one.name + ", outside", outside(one.mw), one.shows, one.not}, row{one.name + ", inside", inside(one.mw), one.shows, in})
	}
	list = append(list,
		row{name: "httputil.ReverseProxy in front", mount: behindProxy, not: map[string]exception{
			"hijack":        {seen: ok, why: "Behind the proxy it is HTTP/1.1."},
			"late, flushed": {seen: "200, a success", why: "Under a server that is not net/http's, httputil.ReverseProxy does not pass on that its backend cut the response off.", protocols: []string{"HTTP/3"}},
		}},
		row{name: "httputil.ReverseProxy as the handler", mount: proxying, not: map[string]exception{
			"hijack": {seen: ok, why: "Behind the proxy it is HTTP/1.1."},
			"panic":  {seen: "kept", why: passesOn},
		}},
		row{name: "two Managers", mount: func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
			other := newManager(t, func(c *redsession.Config) { c.Cookie.Name = "__Host-other" })
			return other.Handler(m.Handler(h))
		}},
	)
	return append(list, frameworks...)
}
