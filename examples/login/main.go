// Command login is a login, a logout and a page that only users see, with the way back to the
// page that was asked for. Nothing is missing but the users: authenticate has only one.
//
//	export REDSESSION_URL=redis://localhost:6379 REDSESSION_SECRETS=$(openssl rand -base64 32)
//	REDSESSION_INSECURE=true go run ./examples/login
package main

import (
	"html/template"
	"log"
	"net/http"

	"github.com/redsession/redsession"
)

var (
	form = template.Must(template.New("").Parse(`<!doctype html><title>Log in</title><form method="post">
<input type="hidden" name="next" value="{{.}}"><input name="user"><input name="password" type="password"><button>Log in</button></form>`))
	page = template.Must(template.New("").Parse(`<!doctype html><title>Home</title><p>Hello, {{.UserID}}</p><form method="post" action="/logout">
<input type="hidden" name="csrf_token" value="{{.CSRFToken}}"><button>Log out</button></form>`))
)

func main() {
	cfg, err := redsession.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	cfg.Unauthorized = redsession.RedirectToLogin("/login")
	m, err := redsession.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", handler(m)))
}

func handler(m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		_ = form.Execute(w, redsession.ReturnTo(r, "/"))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := r.FormValue("user")
		if !authenticate(user, r.FormValue("password")) {
			http.Error(w, "The user or the password is wrong.", http.StatusForbidden)
			return
		}
		m.FromContext(r.Context()).Login(user)
		http.Redirect(w, r, redsession.ReturnTo(r, "/"), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		m.FromContext(r.Context()).Logout()
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
	mux.Handle("GET /", m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, m.FromContext(r.Context()))
	})))
	return m.Handler(m.CSRF(mux))
}

func authenticate(user, password string) bool { return user == "alice" && password == "rabbit-hole" }
