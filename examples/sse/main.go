// Command sse streams the time to a page as server-sent events until the session
// ends: the page lists the user's devices, and logging one out there ends the
// stream of that device within seconds, whichever server has it.
//
//	go run ./examples/sse
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const try = `
  curl -c jar -d password=rabbit-hole BASE/login
  curl -b jar -N BASE/events  # leave it running, and in another window:
  curl -c jar2 -d password=rabbit-hole BASE/login
  curl -b jar2 -d '' BASE/devices/others  # ends the stream of the first

Or log in with two browsers, and log one out on the page of the other.
`

const (
	tick      = time.Second
	sendLimit = 10 * time.Second // for one event; a client that reads nothing is cut off
)

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
	stopping <-chan struct{} // closed when the program is to stop, so that streams end
}

func (t *site) handler() http.Handler {
	mux := http.NewServeMux()
	user := func(h http.HandlerFunc) http.Handler { return t.sessions.RequireLogin(h) }
	mux.HandleFunc("GET /{$}", t.home)
	mux.HandleFunc("POST /login", login)
	mux.Handle("POST /logout", user(logout))
	mux.Handle("GET /events", user(t.events))
	mux.Handle("POST /devices/revoke", user(t.revoke))
	mux.Handle("POST /devices/others", user(t.revokeOthers))
	root := http.NewServeMux()
	root.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, page, "page/"+r.PathValue("file"))
	})
	root.Handle("/", t.sessions.Handler(mux))
	return http.NewCrossOriginProtection().Handler(secureHeaders(http.MaxBytesHandler(root, 4<<10)))
}

func secureHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// events sends the time, and "ended" once the session has.
func (t *site) events(w http.ResponseWriter, r *http.Request) {
	ctx := redsession.FromContext(r.Context()).Context()
	rc := http.NewResponseController(w)
	send := func(event, data string) error {
		// The server's WriteTimeout is for a whole response; this one has no end.
		if err := rc.SetWriteDeadline(time.Now().Add(sendLimit)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data); err != nil {
			return err
		}
		return rc.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := send("time", time.Now().Format(time.TimeOnly)); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-t.stopping:
			return // the browser connects again by itself, to another server
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), redsession.ErrGone) {
				_ = send("ended", "logged out")
			}
			return
		}
	}
}

func (t *site) home(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	v := struct {
		User, ID string
		Flashes  []string
		Devices  []redsession.Info
	}{User: s.UserID(), ID: s.ID(), Flashes: s.Flashes()}
	if s.LoggedIn() {
		var err error
		if v.Devices, err = t.sessions.Sessions(r.Context(), v.User); err != nil {
			unavailable(w)
			return
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := tmpl.Execute(w, v); err != nil {
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

func (t *site) revoke(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	ended, err := t.sessions.RevokeOf(r.Context(), s.UserID(), r.PostFormValue("id"))
	t.revoked(w, r, err, ended)
}

func (t *site) revokeOthers(w http.ResponseWriter, r *http.Request) {
	n, err := t.sessions.RevokeOthers(r.Context(), redsession.FromContext(r.Context()))
	t.revoked(w, r, err, n > 0)
}

func (t *site) revoked(w http.ResponseWriter, r *http.Request, err error, some bool) {
	if err != nil {
		unavailable(w)
		return
	}
	message := "There was no such device."
	if some {
		message = "Logged out there; its stream ends within 3 seconds."
	}
	redsession.FromContext(r.Context()).Flash(message)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func unavailable(w http.ResponseWriter) {
	http.Error(w, "Please try again in a moment.", http.StatusServiceUnavailable)
}
