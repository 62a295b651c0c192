package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redsession/redsession"
)

const (
	recentLogin  = 2 * time.Minute // the age of a login that opens /secret
	rememberLife = 30 * 24 * time.Hour
	maxBody      = 16 << 10 // bytes of a form; the longest real one has a few hundred
)

// demo is the site: its pages, and what stands in front of them.
type demo struct {
	sessions    *redsession.Manager
	redis       *place
	pages       map[string]*page
	outage      *outage
	sampler     *sampler
	latencies   latencies
	slowRunning atomic.Int64
	now         func() time.Time
	pin         string // of the certificate, "" without one
}

// newDemo returns the site with its sessions where c says, which is p.
func newDemo(c redsession.Config, p *place) (*demo, error) {
	d := &demo{redis: p, outage: newOutage(), now: time.Now}
	if c.Now != nil {
		d.now = c.Now
	}
	c.Skip = needsNoSession
	c.Unauthorized = http.HandlerFunc(d.unauthorized)
	c.ErrorHandler = d.fail
	c.OnEvent = d.outage.watch
	var err error
	if d.pages, err = parsePages(); err != nil {
		return nil, err
	}
	if d.sessions, err = redsession.New(c); err != nil {
		return nil, err
	}
	d.sampler = &sampler{sessions: d.sessions, redis: p}
	return d, nil
}

// handler returns the whole site. What is outside the session's handler counts
// for its error pages too.
func (d *demo) handler() http.Handler {
	csrf := http.NewCrossOriginProtection()
	csrf.SetDenyHandler(http.HandlerFunc(d.crossOrigin))
	inside := d.sessions.Handler(d.forms(d.routes()))
	return secureHeaders(d.latencies.measure(http.MaxBytesHandler(csrf.Handler(inside), maxBody)))
}

func (d *demo) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.home)
	mux.HandleFunc("GET /", d.notFound)
	mux.HandleFunc("GET /static/{file}", d.static)
	mux.HandleFunc("GET /healthz", d.health)
	mux.HandleFunc("GET /outage", d.outageState)

	mux.HandleFunc("GET /operations", d.operations)
	mux.HandleFunc("GET /operations/live", d.operationsLive)
	mux.HandleFunc("POST "+switchPath, d.switchRedis)

	mux.HandleFunc("GET /cart", d.cart)
	mux.HandleFunc("POST /cart", d.addToCart)
	mux.HandleFunc("POST /cart/empty", d.emptyCart)

	mux.HandleFunc("GET /login", d.loginForm)
	mux.HandleFunc("POST /login", d.login)
	mux.HandleFunc("GET /second-factor", d.secondFactorForm)
	mux.HandleFunc("POST /second-factor", d.secondFactor)
	mux.HandleFunc("POST "+logoutPath, d.logout)

	user := func(h http.HandlerFunc) http.Handler { return d.sessions.RequireLogin(h) }
	mux.Handle("GET /account", user(d.account))
	mux.Handle("POST /account/rotate", user(d.rotate))
	mux.Handle("POST "+slowPath, user(d.slow))
	mux.Handle("GET /devices", user(d.devices))
	mux.Handle("POST /devices/revoke", user(d.revokeDevice))
	mux.Handle("POST /devices/revoke-others", user(d.revokeOthers))
	mux.Handle("GET /stolen", user(d.stolen))
	mux.HandleFunc("GET /stolen/who", d.stolenWho)
	mux.Handle("GET /secret", d.sessions.RequireRecentLogin(recentLogin)(http.HandlerFunc(d.secret)))
	return mux
}

// needsNoSession is Config.Skip: what has nothing to do with the user neither
// costs Redis anything nor gets a cookie. The switch must work for those, too,
// whose session cannot be loaded while Redis is away.
func needsNoSession(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/outage", "/operations/live", switchPath:
		return true
	}
	return strings.HasPrefix(r.URL.Path, "/static/")
}

// secureHeaders allows the pages what they need and nothing else: nothing from
// elsewhere, and no script or style inside a page.
func secureHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

func (d *demo) static(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	http.ServeFileFS(w, r, files, "static/"+r.PathValue("file"))
}

// health tells a load balancer that this program serves, also while Redis is away: a
// balancer that took it out would take out the pages that it still shows from memory.
func (d *demo) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// unauthorized is Config.Unauthorized: a browser that wants a page is sent to
// log in and then back, all else is 401.
func (d *demo) unauthorized(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		d.answer(w, r, http.StatusUnauthorized, "Please log in", "Your login has ended, so nothing was changed. Log in and try again.")
		return
	}
	s := redsession.FromContext(r.Context())
	q := url.Values{"next": {r.URL.RequestURI()}}
	switch {
	case s.PendingUserID() != "":
		http.Redirect(w, r, "/second-factor?"+q.Encode(), http.StatusSeeOther)
		return
	case s.LoggedIn():
		q.Set("why", "recent")
	default:
		q.Set("why", "login")
	}
	http.Redirect(w, r, "/login?"+q.Encode(), http.StatusSeeOther)
}

// safeNext returns next if it is a path of this site, and else the account
// page: a link to the login page must not lead to another site afterwards.
func safeNext(next string) string {
	const fallback = "/account"
	// Browsers take \ for / and drop control characters before they look.
	unusual := func(r rune) bool { return r == '\\' || r <= ' ' || r == 0x7f }
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsFunc(next, unusual) || len(next) > 500 {
		return fallback
	}
	if u, err := url.Parse(next); err != nil || u.IsAbs() || u.Host != "" {
		return fallback
	}
	return next
}

func (d *demo) crossOrigin(w http.ResponseWriter, r *http.Request) {
	slog.Warn("refused a request that another site sent", "method", r.Method, "path", r.URL.Path)
	d.show(w, nil, http.StatusForbidden, "message", view{
		Title: "Not from here",
		Body:  "Another site sent this request in your name, so nothing was done.",
	})
}

// fail is Config.ErrorHandler, and answers the errors of handlers. It leaves
// the session alone: that is what failed.
func (d *demo) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, v := http.StatusInternalServerError, view{
		Title: "Something went wrong",
		Body:  "Nothing was changed. The log of the demo says more.",
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, redsession.ErrGone):
		status, v.Title = http.StatusConflict, "Your session has ended"
		v.Body = "It ended while this request was on its way: by a login, a logout, or from another device. Nothing was changed."
	case errors.Is(err, redsession.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		status, v.Title = http.StatusServiceUnavailable, "Back in a moment"
		v.Body = "Redis does not answer. Nobody is logged out by that; please try again."
		switch {
		case r.URL.Path == logoutPath:
			v.Body = "Redis does not answer, so your session has not ended there yet. This server no longer serves it, and ends it as soon as Redis is back; " +
				"your browser has a cookie now by which any other server does so."
		case r.Method == http.MethodPost: // Redis may have gone between the change and its answer
			v.Body = "Redis does not answer. Nobody is logged out by that, but what you sent is not known to be done: look, and try again."
		}
	case errors.As(err, &tooLarge):
		status, v.Title = http.StatusRequestEntityTooLarge, "That is too long"
	case errors.Is(err, errForm):
		status, v.Title = http.StatusBadRequest, "That form cannot be read"
	default:
		slog.Error("answering with status 500", "error", err)
	}
	d.show(w, nil, status, "message", v)
}

func (d *demo) notFound(w http.ResponseWriter, r *http.Request) {
	d.answer(w, r, http.StatusNotFound, "There is no such page", "Perhaps the address has a typing error.")
}

// answer shows a page that has nothing but a message.
func (d *demo) answer(w http.ResponseWriter, r *http.Request, status int, title, message string) {
	d.show(w, redsession.FromContext(r.Context()), status, "message", view{Title: title, Path: r.URL.Path, Body: message})
}
