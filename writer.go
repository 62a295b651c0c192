package redsession

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/redsession/redsession/internal/clientinfo"
	"github.com/redsession/redsession/internal/sessioncookie"
)

// responseWriter commits the session before the first byte of the response
// leaves, whichever way it leaves.
type responseWriter struct {
	http.ResponseWriter
	session  *Session
	request  *http.Request
	outside  http.Header // what the headers were before the handler
	begun    bool
	hijacked bool
	err      error       // why the handler's response was dropped
	lost     http.Header // what the handler sets then
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
		if !returned {
			w.abandon()
		}
	}()
	next.ServeHTTP(w, r)
	returned = true
	if !w.begun {
		_ = w.begin() // answered there
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
// response is dropped whole and the ErrorHandler answers.
func (w *responseWriter) begin() error {
	if w.begun {
		return w.err
	}
	w.begun = true
	s := w.session
	if w.err = s.commit(w.request.Context(), nil, nil); w.err == nil {
		w.err = s.complete(w.Header())
	}
	if w.err == nil {
		return nil
	}
	s.mu.Lock()
	s.sent = true // the answer is not the handler's any more
	s.mu.Unlock()
	h := w.ResponseWriter.Header()
	clear(h)
	for k, v := range w.outside {
		h[k] = v
	}
	if owed := s.sendCommittedCookie(h); owed != nil {
		w.err = errors.Join(w.err, owed)
	}
	s.m.answer(w.ResponseWriter, w.request, w.err)
	return w.err
}

// complete puts what the session means for the response into its headers. From
// then on a change that needs a cookie is ErrHeadersSent.
func (s *Session) complete(h http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.waitLocked() // for a goroutine of the handler's, which gets the error; its cookie goes along
	s.sent = true
	if s.looked || s.cookie != cookieKeep || len(s.retired) > 0 {
		s.addVary(h, "Cookie")
		if s.m.cfg.Header != "" {
			s.addVary(h, s.m.cfg.Header)
		}
	}
	return s.cookieLocked(h)
}

// sendCommittedCookie sends what an earlier commit of this request has already made true,
// though the handler's response is dropped: a login saved must not be lost.
func (s *Session) sendCommittedCookie(h http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.owed {
		return nil
	}
	return s.cookieLocked(h)
}

func (s *Session) cookieLocked(h http.Header) error {
	for _, l := range s.retired {
		if l.Cookie != s.m.cfg.Cookie.Name || s.cookie == cookieKeep {
			h.Add("Set-Cookie", l.expire(!s.m.cfg.Cookie.InsecurePlainHTTP).String())
		}
	}
	switch {
	case s.cookie == cookieSet && s.base != nil:
		rec := s.base.rec
		tk := sessioncookie.Token{SID: s.base.sid, Idle: rec.Idle, Deadline: rec.Deadline}
		if err := s.m.cookies.Send(h, &s.came, tk, rec.Remember > 0, s.m.cfg.Now()); err != nil {
			return err
		}
	case s.cookie == cookieEnding && s.base != nil:
		rec := s.base.rec
		tk := sessioncookie.Token{SID: s.base.sid, Idle: rec.Idle, Deadline: rec.Deadline}
		if _, err := s.m.cookies.SendEnding(h, &s.came, tk, rec.Remember > 0, s.m.cfg.Now()); err != nil {
			return err
		}
	case s.cookie == cookieExpire:
		s.m.cookies.Expire(h, &s.came)
	case len(s.retired) == 0:
		return nil
	}
	// RFC 9111: a shared cache must not hand this cookie to anybody else.
	h.Set("Cache-Control", "no-store")
	return nil
}

func (s *Session) addVary(h http.Header, name string) {
	if _, ok := h["Vary"]; !ok {
		s.vary[0] = name
		h["Vary"] = s.vary[:1:1]
		return
	}
	for _, v := range h.Values("Vary") {
		if slices.ContainsFunc(strings.Split(v, ","), func(f string) bool {
			f = strings.TrimSpace(f)
			return f == "*" || strings.EqualFold(f, name)
		}) {
			return
		}
	}
	h.Add("Vary", name)
}

// failLate tells of changes that could not be kept once the response had begun.
// The ErrorHandler hears of it, and the connection is cut: the client must not
// take what it got for a success.
func (w *responseWriter) failLate(err error) {
	if !errors.Is(err, ErrHeadersSent) {
		err = errors.Join(err, ErrHeadersSent)
	}
	w.session.m.answer(&discardWriter{header: http.Header{}}, w.request, err)
	_, served := w.request.Context().Value(http.ServerContextKey).(*http.Server)
	if served && !w.hijacked {
		panic(http.ErrAbortHandler)
	}
}

// abandon is for a handler that panicked: nothing more is committed but a
// logout, which its user wants in any case.
func (w *responseWriter) abandon() {
	s := w.session
	s.mu.Lock()
	logout := s.pending.logout
	s.pending = changes{logout: logout, fresh: logout, user: s.pending.user}
	s.fields, s.parsed, s.head = nil, logout, s.m.anonymous()
	s.keepID = true
	s.mu.Unlock()
	if err := s.commit(w.request.Context(), nil, nil); err != nil && !errors.Is(err, ErrHeadersSent) {
		s.m.emit(w.request.Context(), Event{Kind: EventFailed, Err: err, RemoteAddr: clientinfo.RemoteAddr(s.r, s.m.cfg.TrustedHops)})
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
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

func (w *responseWriter) WriteString(text string) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, text)
}

// ReadFrom keeps sendfile working where the server has it.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.ResponseWriter, src)
}

func (w *responseWriter) Flush() { _ = w.FlushError() }

func (w *responseWriter) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack commits first. What the handler then writes by itself has no cookie of
// ours, so it is no time for a timed rotation; a handler that logs in should take
// Set-Cookie from the headers. Where there is nothing to take over, as with HTTP/2,
// the response has not begun: the handler may go on as if it had not asked.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.err == nil && !canHijack(w.ResponseWriter) {
		return nil, nil, http.ErrNotSupported
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

// canHijack tells whether http.ResponseController would find a Hijack.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// Unwrap is for http.ResponseController, which finds the deadlines there.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
