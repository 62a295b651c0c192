// Command login is examples/login with scs: what each takes to be right is counted beside the
// other. What scs leaves to the program are the way to the login and back, the guard, the cookie's
// attributes, and what caches may do; like the other it asks browsers who sent a form, but it has no
// token of the session besides.
package main

import (
	"html/template"
	"log"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

var (
	form = template.Must(template.New("").Parse(`<!doctype html><title>Log in</title><form method="post">
<input type="hidden" name="next" value="{{.}}"><input name="user"><input name="password" type="password"><button>Log in</button></form>`))
	page = template.Must(template.New("").Parse(`<!doctype html><title>Home</title><p>Hello, {{.}}</p><form method="post" action="/logout">
<button>Log out</button></form>`))
)

func main() {
	opts, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	m := scs.New()
	m.Store = goredisstore.New(redis.NewClient(opts))
	m.Cookie.Name = "__Host-session"
	m.Cookie.Secure = true
	m.HashTokenInStore = true
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", handler(m)))
}

func handler(m *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		_ = form.Execute(w, returnTo(r))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := r.FormValue("user")
		if !authenticate(user, r.FormValue("password")) {
			http.Error(w, "The user or the password is wrong.", http.StatusForbidden)
			return
		}
		if err := m.RenewToken(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		m.Put(r.Context(), "user", user)
		http.Redirect(w, r, returnTo(r), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
	mux.Handle("GET /", requireLogin(m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, m.GetString(r.Context(), "user"))
	})))
	return m.LoadAndSave(http.NewCrossOriginProtection().Handler(mux))
}

func requireLogin(m *scs.SessionManager, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case m.GetString(r.Context(), "user") != "":
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate":
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			http.Error(w, "Please log in.", http.StatusUnauthorized)
		}
	})
}

func returnTo(r *http.Request) string {
	next := r.FormValue("next")
	u, err := url.Parse(next)
	if err != nil || len(next) > 2048 || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(next, "/") ||
		strings.ContainsFunc(u.Path, func(r rune) bool { return r == '\\' || r <= ' ' || r == 0x7f }) ||
		path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") && u.Path != "/" || path.Clean(u.Path) == "/login" {
		return "/"
	}
	return next
}

func authenticate(user, password string) bool { return user == "alice" && password == "rabbit-hole" }
