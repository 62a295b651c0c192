package compat_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/julienschmidt/httprouter"
	"github.com/labstack/echo/v4"
	echomw "github.com/labstack/echo/v4/middleware"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
)

// frameworks mount the actions as their users would.
var frameworks = []row{
	{name: "chi", mount: func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(m.Handler)
		r.Handle("/*", h)
		return r
	}},
	{name: "gorilla/mux", mount: func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		r := mux.NewRouter()
		r.Use(m.Handler)
		r.PathPrefix("/").Handler(h)
		return r
	}},
	{name: "httprouter", mount: func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		r := httprouter.New()
		r.Handler(http.MethodGet, "/:page", h)
		return m.Handler(r)
	}},
	{name: "gin", mount: func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		gin.SetMode(gin.TestMode)
		e := gin.New()
		e.Use(ginsession.Middleware(m))
		e.GET("/*path", gin.WrapH(h))
		return e
	}},
	{name: "gin with Recovery outside", mount: func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		gin.SetMode(gin.TestMode)
		e := gin.New()
		e.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }), ginsession.Middleware(m))
		e.GET("/*path", gin.WrapH(h))
		return e
	}, not: map[string]exception{"late failure": {seen: "200, a success", why: swallowed, protocols: []string{"HTTP/3"}}}},
	{name: "echo", mount: mountEcho(false)},
	{name: "echo with Recover inside", mount: mountEcho(true), not: map[string]exception{"panic": {seen: "kept", why: recovered}}},
	{name: "grpc-gateway", mount: func(t *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		gw := runtime.NewServeMux()
		if err := gw.HandlePath(http.MethodGet, "/{page}", func(w http.ResponseWriter, r *http.Request, _ map[string]string) { h.ServeHTTP(w, r) }); err != nil {
			t.Fatal(err)
		}
		return m.Handler(gw)
	}},
}

func mountEcho(recovering bool) func(*testing.T, *redsession.Manager, http.Handler) http.Handler {
	return func(_ *testing.T, m *redsession.Manager, h http.Handler) http.Handler {
		e := echo.New()
		e.Logger.SetOutput(quiet.Writer())
		e.Use(echo.WrapMiddleware(m.Handler))
		if recovering {
			e.Use(echomw.Recover())
		}
		e.GET("/*", echo.WrapHandler(h))
		return e
	}
}
