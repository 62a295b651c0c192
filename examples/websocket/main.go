// Command websocket keeps a socket open that tells the time until the session ends: then
// it closes the socket with code 1008, so that the page knows not to connect again.
//
//	go run ./examples/websocket
package main

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const try = `
Open BASE/ in two browsers, log in with the password rabbit-hole in both, and log
the other one out.
`

// tick is how often the time is told.
const tick = time.Second

//go:embed page
var page embed.FS

var tmpl = template.Must(template.ParseFS(page, "page/index.html"))

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, stopRedis, err := devserver.Config()
	if err != nil {
		return err
	}
	defer stopRedis()
	m, err := redsession.New(c)
	if err != nil {
		return err
	}
	defer m.Close()
	return devserver.Serve(ctx, (&site{m, ctx.Done()}).handler(), try)
}

type site struct {
	sessions *redsession.Manager
	stopping <-chan struct{} // closed when the program is to stop
}

func (t *site) handler() http.Handler {
	mux := http.NewServeMux()
	user := func(h http.HandlerFunc) http.Handler { return t.sessions.RequireLogin(h) }
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("POST /login", login)
	mux.Handle("POST /logout", user(logout))
	mux.Handle("POST /others", user(t.revokeOthers))
	mux.Handle("GET /socket", user(t.socket))
	root := http.NewServeMux()
	root.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, page, "page/"+r.PathValue("file"))
	})
	root.Handle("/", t.sessions.Handler(mux))
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(root, 4<<10))
}

// socket tells the time. websocket.Accept refuses pages of other origins, which
// CrossOriginProtection lets pass, as a handshake is a GET. KeepID says that the response
// must not rotate the session: a handshake takes a cookie, but the page may have closed the
// socket before it arrives.
func (t *site) socket(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	s.KeepID()
	session := s.Context()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // answered
	}
	defer conn.CloseNow()
	gone := conn.CloseRead(r.Context()) // of the request, as a context that ends cuts the connection without a code
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := conn.Write(gone, websocket.MessageText, []byte(time.Now().Format(time.TimeOnly))); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-gone.Done():
			return
		case <-t.stopping:
			_ = conn.Close(websocket.StatusGoingAway, "the server stops") // 1001: connect again
			return
		case <-session.Done():
			code, why := websocket.StatusGoingAway, "connect again"
			if errors.Is(context.Cause(session), redsession.ErrGone) {
				code, why = websocket.StatusPolicyViolation, "logged out" // RFC 6455, 7.4.1
			}
			_ = conn.Close(code, why)
			return
		}
	}
}

func home(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := tmpl.Execute(w, s.UserID()); err != nil {
		log.Print("page: ", err)
	}
}

func login(w http.ResponseWriter, r *http.Request) {
	// cmd/demo shows how to keep passwords; this example has only one.
	if r.PostFormValue("password") != "rabbit-hole" {
		http.Error(w, "The password is not right.", http.StatusUnauthorized)
		return
	}
	redsession.FromContext(r.Context()).Login("alice")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func logout(w http.ResponseWriter, r *http.Request) {
	redsession.FromContext(r.Context()).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (t *site) revokeOthers(w http.ResponseWriter, r *http.Request) {
	if _, err := t.sessions.RevokeOthers(r.Context(), redsession.FromContext(r.Context())); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
