package ginsession

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// writer is what handlers inside Middleware write to. gin's own writer, which is
// embedded, keeps the status until the first byte and knows what was written;
// every byte and every header goes by redsession's, which commits before it
// passes them on to gin's.
type writer struct {
	gin.ResponseWriter
	session http.ResponseWriter // writes to outer
	outer   *outerWriter        // writes to the embedded one
}

// outerWriter is gin's own writer as redsession sees it.
type outerWriter struct {
	gin.ResponseWriter
	begun bool // redsession has committed, and passed a status on
}

func (w *outerWriter) WriteHeader(code int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController, which finds the deadlines there.
func (w *outerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) Header() http.Header { return w.session.Header() }

func (w *writer) Write(p []byte) (int, error) { return w.session.Write(p) }

func (w *writer) WriteString(s string) (int, error) { return io.WriteString(w.session, s) }

// WriteHeaderNow sends the status that WriteHeader, which is gin's, has kept; or
// the one of Config.ErrorHandler, if the commit fails. While a handler panics redsession
// holds the status back, and gin sends it when all handlers are done.
func (w *writer) WriteHeaderNow() {
	if w.Written() {
		return
	}
	if w.session.WriteHeader(w.Status()); w.outer.begun {
		w.ResponseWriter.WriteHeaderNow()
	}
}

func (w *writer) Flush() { _ = http.NewResponseController(w.session).Flush() }

// Hijack asks what is below gin's writer, which claims it everywhere and panics where
// there is nothing to take over, as over HTTP/2.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if below, ok := w.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok {
		if _, hijacks := below.Unwrap().(http.Hijacker); !hijacks {
			return nil, nil, http.ErrNotSupported
		}
	}
	return http.NewResponseController(w.session).Hijack()
}

// Unwrap is for http.ResponseController, which finds the deadlines there.
func (w *writer) Unwrap() http.ResponseWriter { return w.session }

// again is Middleware inside Middleware. After Engine.HandleContext gin's own
// writer has taken the place of w, and gin will send the headers by it as soon as
// the handlers are done.
func (w *writer) again(c *gin.Context) {
	if c.Writer != w.ResponseWriter {
		c.Next()
		return
	}
	c.Writer = w
	c.Next()
	if !w.Written() {
		w.session.WriteHeader(w.Status()) // commits; gin's only keeps the status
	}
}
