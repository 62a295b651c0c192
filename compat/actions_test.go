package compat_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

const number = redsession.Key[int]("number")

func addOne(n int) int { return n + 1 }

// modified is when the file of raw was.
var modified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// action is what a handler does with the session and says then, so that a framework can
// answer in its own way.
type action struct {
	method, path string
	do           func(s *redsession.Session) string
}

// actions are those that need no response writer.
func actions(m *redsession.Manager) []action {
	return []action{
		{"POST", "/set", func(s *redsession.Session) string { number.Update(s, addOne); return "set" }},
		{"GET", "/get", func(s *redsession.Session) string {
			n, _ := number.Get(s)
			return strings.TrimSpace(fmt.Sprintf("%s %d", s.UserID(), n))
		}},
		{"POST", "/login", func(s *redsession.Session) string { s.Login("alice"); return "welcome" }},
		{"POST", "/logout", func(s *redsession.Session) string { s.Logout(); return "goodbye" }},
		{"POST", "/early", func(s *redsession.Session) string { changeAfterEnd(m, s); return "done" }},
		{"POST", "/panic", func(s *redsession.Session) string { number.Update(s, addOne); panic("broken template") }},
	}
}

// changeAfterEnd changes a session that another request has ended meanwhile.
func changeAfterEnd(m *redsession.Manager, s *redsession.Session) {
	_ = m.Revoke(context.Background(), s.ID())
	number.Update(s, addOne)
}

// raw are the handlers that need the response writer itself.
func raw(m *redsession.Manager) map[string]http.HandlerFunc {
	late := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "done")
		if r.URL.Path == "/late-flushed" {
			_ = http.NewResponseController(w).Flush()
		}
		changeAfterEnd(m, m.FromContext(r.Context()))
	}
	return map[string]http.HandlerFunc{
		"/late":         late,
		"/late-flushed": late,
		"/file": func(w http.ResponseWriter, r *http.Request) {
			number.Update(m.FromContext(r.Context()), addOne)
			http.ServeContent(w, r, "file.txt", modified, strings.NewReader(strings.Repeat("0123456789", 1000)))
		},
		"/flush": func(w http.ResponseWriter, r *http.Request) { flush(w, r, m.FromContext(r.Context())) },
		"/hijack": func(w http.ResponseWriter, r *http.Request) {
			number.Update(m.FromContext(r.Context()), addOne)
			hijack(w)
		},
		"/interfaces": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, interfaces(w)) },
	}
}

// program answers all of them by net/http.
func program(m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	for _, one := range actions(m) {
		mux.HandleFunc(one.method+" "+one.path, func(w http.ResponseWriter, r *http.Request) {
			text := one.do(m.FromContext(r.Context()))
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, text)
		})
	}
	for path, h := range raw(m) {
		mux.HandleFunc(path, h)
	}
	return mux
}

// gates has a channel for each request to /flush, which is closed once its client has the
// first piece, or has waited for that long enough.
var gates sync.Map

// flush sends one piece, and the other when the client has the first.
func flush(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
	number.Update(s, addOne)
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "one,")
	if http.NewResponseController(w).Flush() == nil {
		pass(r.Context(), r.URL.Query().Get("gate"))
	}
	io.WriteString(w, "two")
}

func pass(ctx context.Context, gate string) {
	open, _ := gates.Load(gate)
	select {
	case <-open.(chan struct{}):
	case <-ctx.Done():
	}
}

// hijack takes the connection over and answers by itself.
func hijack(w http.ResponseWriter) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no connection to take over", http.StatusNotImplemented)
		return
	}
	defer conn.Close()
	res := http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Set-Cookie": w.Header()["Set-Cookie"]}, Body: io.NopCloser(strings.NewReader("raw")), ContentLength: 3}
	_ = res.Write(buf)
	_ = buf.Flush()
}

// interfaces is what a handler finds by type assertions, and whether an
// http.ResponseController can set deadlines; flush and hijack try the rest of that. It needs no session.
func interfaces(w http.ResponseWriter) string {
	var found []string
	if _, ok := w.(http.Flusher); ok {
		found = append(found, "Flusher")
	}
	if _, ok := w.(http.Hijacker); ok {
		found = append(found, "Hijacker")
	}
	if _, ok := w.(http.Pusher); ok {
		found = append(found, "Pusher")
	}
	if _, ok := w.(io.ReaderFrom); ok {
		found = append(found, "ReaderFrom")
	}
	if http.NewResponseController(w).SetWriteDeadline(time.Time{}) == nil {
		found = append(found, "Deadlines")
	}
	return strings.Join(found, " ")
}
