package redsession

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// responseWriter commits the session before the first byte of the response
// leaves, whichever way it leaves.
type responseWriter struct {
	http.ResponseWriter
	session  *Session
	request  *http.Request
	outside  http.Header // what the headers were before the handler
	begun    bool
	unsent   bool // the handler has returned and nothing has left: a framework may yet answer by this writer
	hijacked bool
	held     *heldResponse // what is written while a panic runs
	err      error         // why the handler's response was dropped
	lost     http.Header   // what the handler sets then
}

// Header returns the headers of the response, and of none once that was dropped:
// a trailer set later must not end up in the ErrorHandler's answer.
func (w *responseWriter) Header() http.Header {
	if w.err == nil {
		return w.ResponseWriter.Header()
	}
	if w.lost == nil {
		w.lost = make(http.Header)
	}
	return w.lost
}

// serve runs next and then commits what is left.
func (w *responseWriter) serve(next http.Handler, r *http.Request) {
	w.request = r
	if h := w.Header(); len(h) > 0 {
		w.outside = h.Clone()
	}
	returned := false
	defer func() {
		w.session.close(returned && w.unsent)
		if returned {
			return
		}
		if w.abandon(); w.err != nil {
			w.swallow(recover())
		}
	}()
	next.ServeHTTP(w.claiming(), r)
	returned = true
	w.release()
	if !w.begun {
		w.unsent = w.begin() == nil // else it is answered
		return
	}
	if w.err != nil {
		return
	}
	if err := w.session.commit(r.Context(), nil, nil); err != nil {
		w.failLate(err)
	}
}

// begin commits and completes the headers. If the commit fails, the handler's
// response is dropped whole and the ErrorHandler answers. After the handler has returned
// without a byte, what writes first is its framework, whose own changes are committed too.
func (w *responseWriter) begin() error {
	s := w.session
	switch {
	case w.unsent:
		w.unsent = false
		if !s.reopen() {
			w.err = s.complete(w.Header()) // the framework may have read the session since, or set fields for caches
			s.close(false)
			return w.err
		}
	case w.begun:
		return w.err
	}
	w.begun = true
	if w.err = s.commit(w.request.Context(), nil, nil); w.err == nil {
		w.err = s.complete(w.Header())
	}
	if w.err == nil {
		return nil
	}
	s.mu.Lock()
	s.sent = true // the answer is not the handler's any more
	s.mu.Unlock()
	if owed := s.sendCommittedCookie(w.restoreHeaders()); owed != nil {
		w.err = errors.Join(w.err, owed)
	}
	s.m.answer(w.ResponseWriter, w.request, w.err)
	return w.err
}

// restoreHeaders drops what the handler has made of the headers, but for the cookies of
// what Managers within have committed.
func (w *responseWriter) restoreHeaders() http.Header {
	h := w.ResponseWriter.Header()
	clear(h)
	maps.Copy(h, w.outside.Clone())
	w.session.sendInnerCookies(h)
	return h
}

// reopen lets a commit set a cookie again, as the headers have not left, and tells whether
// there is something to commit.
func (s *Session) reopen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.pending.any()
	s.sent = s.sent && !changed
	return changed
}

// phase is how far a request has come.
type phase uint8

const (
	running phase = iota
	unsent        // the handler has returned, and nothing has left: its framework may go on until the request ends
	over
)

// close says that the handler has returned.
func (s *Session) close(isUnsent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over = over; isUnsent {
		s.over = unsent
	}
}

// warnOfLate says once, in the log, that something changes a session whose request has ended:
// nobody commits that any more.
func (s *Session) warnOfLate(change, key string) {
	s.mu.Lock()
	late := s.over == over || s.over == unsent && s.r.Context().Err() != nil
	s.mu.Unlock()
	if late && s.m.lateTold.CompareAndSwap(false, true) {
		s.m.cfg.Logger.Warn("a session was changed after its request had ended, as by a goroutine of the handler's: that is lost unless Save is called",
			"change", change, "key", key, "method", s.r.Method, "path", s.r.URL.Path)
	}
}

// failLate tells of changes that could not be kept once the response had begun.
// The ErrorHandler hears of it, and the connection is cut: the client must not
// take what it got for a success. A middleware may swallow the panic that cuts it, so that
// whatever would be written from now on is made to fail first. Where there is no
// connection, as in a test with a recorder, the ErrorHandler alone hears of it.
func (w *responseWriter) failLate(err error) {
	if !errors.Is(err, ErrHeadersSent) {
		err = errors.Join(err, ErrHeadersSent)
	}
	w.session.m.answer(&discardWriter{header: http.Header{}}, w.request, err)
	if w.hijacked {
		return
	}
	ctx := w.request.Context()
	served := ctx.Value(http.ServerContextKey) != nil || ctx.Value(http.LocalAddrContextKey) != nil
	cut := breakConnection(w.ResponseWriter)
	if !cut && served { // a middleware that keeps the response back: announce more than it has
		w.ResponseWriter.Header().Set("Content-Length", strconv.Itoa(math.MaxInt))
	}
	if cut || served {
		panic(http.ErrAbortHandler)
	}
}

// breakConnection makes the end of the response fail, and with it the response: over
// HTTP/1.1 the connection, over HTTP/2 and HTTP/3 the stream. quic-go ends a stream well
// unless a write has failed, so one is made to.
func breakConnection(w http.ResponseWriter) bool {
	rc := http.NewResponseController(w)
	if rc.SetWriteDeadline(time.Unix(1, 0)) == nil {
		_, _ = w.Write([]byte{0}) // arrives nowhere
		return true
	}
	conn, _, err := rc.Hijack()
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// swallow ends a panic p of a handler whose response was dropped, as when a framework
// panics because Write failed: the ErrorHandler's answer must arrive. What p says of
// anything else goes to the log.
func (w *responseWriter) swallow(p any) {
	if err, ok := p.(error); p == nil || ok && (errors.Is(err, http.ErrAbortHandler) || errors.Is(err, w.err)) {
		return
	}
	w.session.m.cfg.Logger.Error("a handler panicked after its session could not be committed",
		"panic", fmt.Sprint(p), "method", w.request.Method, "path", w.request.URL.Path, "stack", string(debug.Stack()))
}

// abandon is for a handler that panicked: nothing more is committed but a
// logout, which its user wants in any case.
func (w *responseWriter) abandon() {
	s := w.session
	if w.held != nil { // its headers went with it, such as those of a compressor
		w.restoreHeaders()
	}
	s.mu.Lock()
	logout := s.pending.logout
	s.pending = changes{logout: logout, fresh: logout, user: s.pending.user}
	s.fields, s.parsed, s.head = nil, logout, s.m.anonymous()
	s.keepID = true
	s.mu.Unlock()
	if err := s.commit(w.request.Context(), nil, nil); err != nil && !errors.Is(err, ErrHeadersSent) {
		s.note(Event{Kind: EventFailed, Err: err})
		s.tell()
		return
	}
	if !w.begun { // a middleware around us may yet answer
		_ = s.complete(w.Header())
	}
}

// discardWriter is what the ErrorHandler gets when there is nothing to answer any more.
type discardWriter struct{ header http.Header }

func (d *discardWriter) Header() http.Header         { return d.header }
func (d *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (d *discardWriter) WriteHeader(int)             {}

func (w *responseWriter) WriteHeader(code int) {
	if w.holding() {
		w.held.WriteHeader(code)
		return
	}
	if informational := code >= 100 && code < 200 && code != http.StatusSwitchingProtocols; informational {
		if !w.begun {
			w.ResponseWriter.WriteHeader(code)
		}
		return
	}
	if w.begin() == nil {
		w.ResponseWriter.WriteHeader(code)
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.holding() {
		return w.held.Write(p)
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

func (w *responseWriter) WriteString(text string) (int, error) {
	if w.holding() {
		return w.held.Write([]byte(text))
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, text)
}

// ReadFrom keeps sendfile working where the server has it.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.holding() {
		return io.Copy(w.held, src)
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError is what an http.ResponseController calls, also where there is no Flush.
func (w *responseWriter) FlushError() error {
	if !flushes(w.ResponseWriter) {
		return http.ErrNotSupported
	}
	if w.holding() {
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// hijack commits first. What the handler then writes by itself has no cookie of
// ours, so it is no time for a timed rotation; a handler that logs in should take
// Set-Cookie from the headers.
func (w *responseWriter) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.holding() {
		return nil, nil, errHeld
	}
	w.session.mu.Lock()
	w.session.keepID = true
	w.session.mu.Unlock()
	if err := w.begin(); err != nil {
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = err == nil
	return conn, rw, err
}

// Unwrap is for http.ResponseController, which finds the deadlines there.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
