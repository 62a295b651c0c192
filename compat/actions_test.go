package compat_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/redsession/redsession"
)

const number = redsession.Key[int]("number")

func addOne(n int) int { return n + 1 }

// modified is when the file of actions was.
var modified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// actions is the program around which everything else is put. Each path does one thing.
func actions(m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	on := func(path string, fn func(w http.ResponseWriter, r *http.Request, s *redsession.Session)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fn(w, r, m.FromContext(r.Context())) })
	}
	on("/get", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		n, _ := number.Get(s)
		fmt.Fprintf(w, "%s %d", s.UserID(), n)
	})
	on("/set", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		number.Update(s, addOne)
		n, _ := number.Get(s)
		fmt.Fprintf(w, "%s %d", s.UserID(), n)
	})
	on("/login", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Login("alice")
		io.WriteString(w, "welcome")
	})
	on("/logout", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Logout()
		io.WriteString(w, "goodbye")
	})
	on("/file", func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		number.Update(s, addOne)
		http.ServeContent(w, r, "file.txt", modified, strings.NewReader(strings.Repeat("0123456789", 1000)))
	})
	on("/flush", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		io.WriteString(w, "one,")
		if err := http.NewResponseController(w).Flush(); err != nil {
			w.Header().Set("X-Flush", "no")
		}
		number.Update(s, addOne)
		io.WriteString(w, "two")
	})
	on("/hijack", hijack)
	on("/panic", func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		number.Update(s, addOne)
		panic("broken template")
	})
	on("/early", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		_ = m.Revoke(context.Background(), s.ID())
		number.Update(s, addOne)
		io.WriteString(w, "done")
	})
	on("/late", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		io.WriteString(w, "done")
		_ = http.NewResponseController(w).Flush()
		_ = m.Revoke(context.Background(), s.ID())
		number.Update(s, addOne)
	})
	on("/interfaces", func(w http.ResponseWriter, _ *http.Request, _ *redsession.Session) {
		io.WriteString(w, interfaces(w))
	})
	return mux
}

// hijack takes the connection over, after a change of the session.
func hijack(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
	number.Update(s, addOne)
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

// interfaces is what a handler finds by type assertions.
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
	return strings.Join(found, " ")
}
