package response_test

import (
	"compress/gzip"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// middleware puts something around a handler.
type middleware func(http.Handler) http.Handler

// arrangements put the middleware that keeps sessions, manage, among others.
var arrangements = []struct {
	name  string
	build func(t *testing.T, manage middleware, h http.Handler) http.Handler
}{
	{"alone", func(_ *testing.T, manage middleware, h http.Handler) http.Handler { return manage(h) }},
	{"StripPrefix outside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler {
		return http.StripPrefix("/app", manage(h))
	}},
	{"StripPrefix inside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler {
		return manage(http.StripPrefix("/app", h))
	}},
	{"TimeoutHandler outside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler {
		return http.TimeoutHandler(manage(h), time.Hour, "")
	}},
	{"TimeoutHandler inside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler {
		return manage(http.TimeoutHandler(h, time.Hour, ""))
	}},
	{"MaxBytesHandler outside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler {
		return http.MaxBytesHandler(manage(h), largeBody-1)
	}},
	{"MaxBytesHandler inside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler {
		return manage(http.MaxBytesHandler(h, largeBody-1))
	}},
	{"gzip outside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler { return compressed(manage(h)) }},
	{"gzip inside", func(_ *testing.T, manage middleware, h http.Handler) http.Handler { return manage(compressed(h)) }},
	{"ReverseProxy in front", func(t *testing.T, manage middleware, h http.Handler) http.Handler { return proxyTo(t, manage(h)) }},
	{"ReverseProxy as the handler", func(t *testing.T, manage middleware, h http.Handler) http.Handler { return manage(proxyTo(t, h)) }},
}

// proxyTo returns a reverse proxy in front of a server of its own.
func proxyTo(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = quiet
	srv.Start()
	t.Cleanup(srv.Close)
	target, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorLog: quiet, FlushInterval: -1, Transport: srv.Client().Transport,
	}
}

// compressed compresses responses as gzip middlewares do.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		z := &zipWriter{ResponseWriter: w}
		next.ServeHTTP(z, r)
		if z.gz != nil {
			_ = z.gz.Close()
		}
	})
}

type zipWriter struct {
	http.ResponseWriter
	gz    *gzip.Writer
	begun bool
}

func (z *zipWriter) WriteHeader(code int) {
	if final := code >= 200 || code == http.StatusSwitchingProtocols; final && !z.begun {
		z.begun = true
		if code >= 200 && code != http.StatusNoContent && code != http.StatusNotModified {
			z.Header().Del("Content-Length")
			z.Header().Set("Content-Encoding", "gzip")
			z.gz = gzip.NewWriter(z.ResponseWriter)
		}
	}
	z.ResponseWriter.WriteHeader(code)
}

func (z *zipWriter) Write(p []byte) (int, error) {
	if !z.begun {
		if z.Header().Get("Content-Type") == "" {
			z.Header().Set("Content-Type", http.DetectContentType(p))
		}
		z.WriteHeader(http.StatusOK)
	}
	if z.gz == nil {
		return z.ResponseWriter.Write(p)
	}
	return z.gz.Write(p)
}

func (z *zipWriter) FlushError() error {
	if !z.begun {
		z.WriteHeader(http.StatusOK)
	}
	if z.gz != nil {
		_ = z.gz.Flush()
	}
	return http.NewResponseController(z.ResponseWriter).Flush()
}

func (z *zipWriter) Unwrap() http.ResponseWriter { return z.ResponseWriter }
