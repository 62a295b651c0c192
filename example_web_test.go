package redsession_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/redsession/redsession"
)

func ExampleManager_CSRF() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		s.Login("alice")
		fmt.Fprint(w, s.CSRFToken()) // in a page: <input type="hidden" name="csrf_token" value="…">
	})
	mux.HandleFunc("POST /pay", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "paid ", r.FormValue("amount")) })
	app := visit(m.Handler(m.CSRF(mux)))
	defer app.server.Close()
	post := func(path string, form url.Values) string {
		res, err := app.client.PostForm(app.server.URL+path, form)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		var text strings.Builder
		_ = res.Write(&text)
		_, body, _ := strings.Cut(text.String(), "\r\n\r\n")
		return body
	}
	token := post("/login", nil) // nobody has logged in: a login form needs no token
	fmt.Println(post("/pay", url.Values{"amount": {"5"}, "csrf_token": {token}}))
	fmt.Print(post("/pay", url.Values{"amount": {"5"}}))
	// Output:
	// paid 5
	// This request is not allowed from here. Please load the page again.
}

func ExampleRedirectToLogin() {
	cfg := exampleConfig()
	cfg.Unauthorized = redsession.RedirectToLogin("/login")
	m, err := redsession.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	h := m.Handler(m.RequireLogin(http.NotFoundHandler()))
	for _, mode := range []string{"navigate", "cors"} { // somebody opens a page; a script fetches one
		r := httptest.NewRequest("GET", "/orders?page=2", nil)
		r.Header.Set("Sec-Fetch-Mode", mode)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Location"))
	}
	// Output:
	// 303 "/login?next=%2Forders%3Fpage%3D2"
	// 401 ""
}

func ExampleReturnTo() {
	for _, next := range []string{"/orders?page=2", "//evil.example", "https://evil.example/", `/\evil.example`, "/login"} {
		r := httptest.NewRequest("POST", "/login?"+url.Values{"next": {next}}.Encode(), nil)
		fmt.Println(redsession.ReturnTo(r, "/"))
	}
	// Output:
	// /orders?page=2
	// /
	// /
	// /
	// /
}

func ExampleFlashKey() {
	m := exampleManager()
	defer m.Close()
	type notice struct{ Level, Text string }
	const notices = redsession.FlashKey[notice]("notice")
	mux := http.NewServeMux()
	mux.HandleFunc("/save", func(_ http.ResponseWriter, r *http.Request) {
		notices.Add(m.FromContext(r.Context()), notice{"success", "Saved."})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, n := range notices.Take(m.FromContext(r.Context())) {
			fmt.Fprintf(w, "%s: %s", n.Level, n.Text)
		}
	})
	app := visit(m.Handler(mux))
	defer app.server.Close()
	app.get("/save")
	fmt.Println(app.get("/"))
	fmt.Println(app.get("/"))
	// Output:
	// 200 success: Saved.
	// 200
}

func ExampleManager_ForwardAuth() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.Handle("/auth", m.ForwardAuth(func(s *redsession.Session, h http.Header) { h.Set("X-User", s.UserID()) }))
	mux.Handle("/login", m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		m.FromContext(r.Context()).Login("alice")
	})))
	app := visit(mux)
	defer app.server.Close()
	ask := func() { // what the proxy does before it passes a request on
		res, err := app.client.Get(app.server.URL + "/auth")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer res.Body.Close()
		fmt.Printf("%d %q\n", res.StatusCode, res.Header.Get("X-User"))
	}
	ask()
	app.get("/login")
	ask()
	// Output:
	// 401 ""
	// 200 "alice"
}

// A program that people run behind a proxy with TLS and at home without.
func ExampleCookie_insecureWhen() {
	cfg := exampleConfig()
	cfg.Cookie = redsession.Cookie{InsecureWhen: func(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") != "https" }}
	m, err := redsession.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { m.FromContext(r.Context()).Login("alice") }))
	for _, proto := range []string{"https", ""} {
		r := httptest.NewRequest("POST", "/login", nil)
		r.Header.Set("X-Forwarded-Proto", proto)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		c := w.Result().Cookies()[0]
		fmt.Printf("%q: %s, Secure %v\n", proto, c.Name, c.Secure)
	}
	// Output:
	// "https": __Host-session, Secure true
	// "": session, Secure false
}
