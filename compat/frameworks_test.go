package compat_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo4mw "github.com/labstack/echo/v4/middleware"
	"github.com/labstack/echo/v5"
	echomw "github.com/labstack/echo/v5/middleware"
	"google.golang.org/genproto/googleapis/api/httpbody"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
)

func init() { gin.SetMode(gin.TestMode) }

// frameworks mount the program as their users would, and answer in their own way.
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
		r.Handler(http.MethodPost, "/:page", h)
		return m.Handler(r)
	}},
	{name: "gin", mount: mountGin()},
	{name: "gin with Recovery outside", mount: mountGin(ginRecovery)},
	{name: "echo v5", mount: mountEcho(false, false)},
	{name: "echo v5 with Recover inside", mount: mountEcho(true, false), not: map[string]exception{"panic": {seen: "kept", why: recovered}}},
	{name: "echo v5, all done by its error handler", mount: mountEcho(false, true)},
	{name: "echo v4", mount: mountEcho4(false)},
	{name: "echo v4 with Recover inside", mount: mountEcho4(true), not: map[string]exception{"panic": {seen: "kept", why: recovered}}},
	{name: "huma", mount: mountHuma},
	{name: "grpc-gateway", mount: mountGateway},
}

var ginRecovery = gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) })

// mountGin puts each of around before the sessions.
func mountGin(around ...gin.HandlerFunc) func(*testing.T, *redsession.Manager, http.Handler) http.Handler {
	return func(_ *testing.T, m *redsession.Manager, _ http.Handler) http.Handler {
		e := gin.New()
		e.Use(around...)
		e.Use(ginsession.Middleware(m))
		for _, one := range actions(m) {
			e.Handle(one.method, one.path, func(c *gin.Context) { c.String(http.StatusOK, one.do(ginsession.FromContext(c))) })
		}
		for path, h := range raw(m) {
			e.Any(path, gin.WrapF(h))
		}
		return e
	}
}

// mountEcho lets the actions be done by handlers, or by the error handler, which runs after
// all middlewares.
func mountEcho(recovering, byErrors bool) func(*testing.T, *redsession.Manager, http.Handler) http.Handler {
	return func(_ *testing.T, m *redsession.Manager, _ http.Handler) http.Handler {
		e := echo.New()
		e.Logger = quietSlog
		e.Use(echo.WrapMiddleware(m.Handler))
		if recovering {
			e.Use(echomw.Recover())
		}
		if byErrors {
			e.HTTPErrorHandler = func(c *echo.Context, err error) {
				_ = c.String(http.StatusOK, err.(undone).do(m.FromContext(c.Request().Context())))
			}
		}
		for _, one := range actions(m) {
			e.Add(one.method, one.path, func(c *echo.Context) error {
				if byErrors {
					return undone{one}
				}
				return c.String(http.StatusOK, one.do(m.FromContext(c.Request().Context())))
			})
		}
		for path, h := range raw(m) {
			e.Any(path, echo.WrapHandler(h))
		}
		return e
	}
}

// undone is an action that is left to the error handler.
type undone struct{ action }

func (undone) Error() string { return "not done yet" }

func mountEcho4(recovering bool) func(*testing.T, *redsession.Manager, http.Handler) http.Handler {
	return func(_ *testing.T, m *redsession.Manager, _ http.Handler) http.Handler {
		e := echo4.New()
		e.Logger.SetOutput(quiet.Writer())
		e.Use(echo4.WrapMiddleware(m.Handler))
		if recovering {
			e.Use(echo4mw.Recover())
		}
		for _, one := range actions(m) {
			e.Add(one.method, one.path, func(c echo4.Context) error {
				return c.String(http.StatusOK, one.do(m.FromContext(c.Request().Context())))
			})
		}
		for path, h := range raw(m) {
			e.Any(path, echo4.WrapHandler(h))
		}
		return e
	}
}

// mountHuma answers by operations, which panic if the response cannot be written.
func mountHuma(_ *testing.T, m *redsession.Manager, _ http.Handler) http.Handler {
	type answer struct {
		Type string `header:"Content-Type"`
		Body []byte
	}
	mux := http.NewServeMux()
	api := humago.New(mux, huma.DefaultConfig("shop", "1"))
	for _, one := range actions(m) {
		huma.Register(api, huma.Operation{Method: one.method, Path: one.path}, func(ctx context.Context, _ *struct{}) (*answer, error) {
			return &answer{"text/plain", []byte(one.do(m.FromContext(ctx)))}, nil
		})
	}
	for path, h := range raw(m) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			huma.Register(api, huma.Operation{Method: method, Path: path}, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
				return &huma.StreamResponse{Body: func(ctx huma.Context) {
					r, w := humago.Unwrap(ctx)
					h(w, r)
				}}, nil
			})
		}
	}
	return m.Handler(mux)
}

// mountGateway answers as the code does that grpc-gateway generates for a server in the same
// process.
func mountGateway(t *testing.T, m *redsession.Manager, _ http.Handler) http.Handler {
	gw := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{}}))
	handle := func(method, path string, h http.HandlerFunc) {
		if err := gw.HandlePath(method, path, func(w http.ResponseWriter, r *http.Request, _ map[string]string) { h(w, r) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range actions(m) {
		handle(one.method, one.path, func(w http.ResponseWriter, r *http.Request) {
			_, marshaler := runtime.MarshalerForRequest(gw, r)
			ctx, err := runtime.AnnotateIncomingContext(r.Context(), gw, r, "/shop.v1.Cart"+one.path)
			if err != nil {
				runtime.HTTPError(ctx, gw, marshaler, w, r, err)
				return
			}
			body := &httpbody.HttpBody{ContentType: "text/plain", Data: []byte(one.do(m.FromContext(ctx)))}
			runtime.ForwardResponseMessage(runtime.NewServerMetadataContext(ctx, runtime.ServerMetadata{}), gw, marshaler, w, r, body)
		})
	}
	for path, h := range raw(m) {
		handle(http.MethodGet, path, h)
		handle(http.MethodPost, path, h)
	}
	return m.Handler(gw)
}
