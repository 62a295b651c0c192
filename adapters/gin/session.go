// Package ginsession brings redsession's sessions to gin.
//
//	r := gin.New()
//	r.Use(gin.Logger(), gin.Recovery(), ginsession.Middleware(m))
//	r.GET("/", func(c *gin.Context) {
//		c.String(200, "Hello, %s.", ginsession.FromContext(c).UserID())
//	})
//	r.Group("/account", ginsession.RequireLogin(m)).POST("/password", ginsession.RequireRecentLogin(m, time.Minute), change)
//
// The order matters. gin.Recovery belongs before Middleware: then a handler that
// panics commits nothing but a logout. Inside, it answers 500 like any handler, and
// what had been changed before the panic is kept. What compresses or buffers
// responses belongs after Middleware, whose answers it then leaves alone. Handlers
// before Middleware have no session, nor have routes without it that
// Engine.HandleContext leads to.
package ginsession

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
)

// FromContext returns the session of c's request. It panics where
// redsession.FromContext does: when Middleware is not in the chain, or
// Config.Skip skipped the request.
func FromContext(c *gin.Context) *redsession.Session {
	return redsession.FromContext(c.Request.Context())
}

// RequireLogin is m.RequireLogin for gin. It belongs after Middleware.
func RequireLogin(m *redsession.Manager) gin.HandlerFunc { return guard(m.RequireLogin) }

// RequireRecentLogin is m.RequireRecentLogin for gin. It belongs after
// Middleware, and panics if max is not positive.
func RequireRecentLogin(m *redsession.Manager, max time.Duration) gin.HandlerFunc {
	return guard(m.RequireRecentLogin(max))
}

// RequireLevel is m.RequireLevel for gin. It belongs after Middleware, and panics if level
// is not 1 to 3.
func RequireLevel(m *redsession.Manager, level int) gin.HandlerFunc {
	return guard(m.RequireLevel(level))
}

// RequireProof is m.RequireProof for gin. It belongs after Middleware, and panics if max is
// under a minute, or if Config.DeviceBinding is not enabled.
func RequireProof(m *redsession.Manager, max time.Duration) gin.HandlerFunc {
	return guard(m.RequireProof(max))
}

// CSRF is m.CSRF for gin: it protects the handlers after it from cross-site request forgery.
// It belongs after Middleware, by Engine.Use for all routes.
func CSRF(m *redsession.Manager) gin.HandlerFunc { return guard(m.CSRF) }

func guard(mw func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		mw(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			passed = true
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

// Middleware is m.Handler for gin: it loads the session of each request, and
// commits its changes before gin sends the first byte, aborts and the pages for
// unknown routes included. If that fails, what the handlers wrote is dropped, and
// Config.ErrorHandler answers.
func Middleware(m *redsession.Manager) gin.HandlerFunc {
	return func(c *gin.Context) {
		if w, ok := c.Request.Context().Value(writerKey{m}).(*writer); ok {
			w.again(c)
			return
		}
		x := &exchange{c: c, outer: outerWriter{ResponseWriter: c.Writer}, request: c.Request, key: writerKey{m}}
		defer x.leave()
		m.Handler(x).ServeHTTP(&x.outer, c.Request)
		if !x.passed {
			c.Abort()
		}
	}
}

// writerKey finds the writer in the request's context. Each Manager has its own.
type writerKey struct{ m *redsession.Manager }

// exchange is a request on its way through Middleware.
type exchange struct {
	c       *gin.Context
	outer   outerWriter
	request *http.Request
	key     writerKey
	passed  bool // the handlers were called
}

// ServeHTTP calls the handlers that are inside.
func (x *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.passed = true
	if w != http.ResponseWriter(&x.outer) { // otherwise Config.Skip skipped the request
		mine := &writer{ResponseWriter: x.outer.ResponseWriter, session: w, outer: &x.outer}
		x.c.Writer = mine
		x.c.Request = r.WithContext(context.WithValue(r.Context(), x.key, mine))
	}
	x.c.Next()
}

// leave gives handlers outside what they had. A change that they made to the
// session would never be committed. Uploaded files of our copy of the request are removed, as
// the server knows of its own request alone.
func (x *exchange) leave() {
	inner := x.c.Request
	x.c.Writer, x.c.Request = x.outer.ResponseWriter, x.request
	if inner.MultipartForm != nil && x.request.MultipartForm == nil {
		_ = inner.MultipartForm.RemoveAll()
	}
}
