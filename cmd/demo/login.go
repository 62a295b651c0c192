package main

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"strings"

	"github.com/redsession/redsession"
)

const (
	onlyCode   = redsession.Key[string]("second_factor_code")
	maxName    = 100 // characters of a user's name that are shown again
	loginPath  = "/login"
	logoutPath = "/logout"
)

// loginView is what the login page shows, and keeps after a mistake.
type loginView struct {
	Users        []user
	Username     string
	Remember     bool
	SecondFactor bool
	Next         string
	Notice       string
	Error        string
}

// notices are what the login page can say beforehand. The address holds only
// their names, so that nobody else can put words there.
var notices = map[string]string{
	"login":      "That page is for users: please log in first.",
	"recent":     "That page matters, so it wants your password again: your last login is more than two minutes ago.",
	"logged-out": "You have logged out. The old cookie is of no use to anybody now.",
	"again":      "Please begin with your password.",
}

func (d *demo) loginForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s, why := redsession.FromContext(r.Context()), q.Get("why")
	v := loginView{Next: safeNext(q.Get("next")), Notice: notices[why]}
	switch {
	case s.LoggedIn() && (why == "login" || why == "again"): // meanwhile, perhaps in another tab
		http.Redirect(w, r, v.Next, http.StatusSeeOther)
		return
	case why == "recent":
		v.Username = s.UserID()
	}
	d.showLogin(w, r, http.StatusOK, v)
}

func (d *demo) showLogin(w http.ResponseWriter, r *http.Request, status int, v loginView) {
	v.Users = users
	d.show(w, redsession.FromContext(r.Context()), status, "login", view{Title: "Log in", Path: loginPath, Failed: v.Error != "", Body: v})
}

func (d *demo) login(w http.ResponseWriter, r *http.Request) {
	v := loginView{
		Username:     strings.TrimSpace(r.PostFormValue("username")),
		Remember:     r.PostFormValue("remember") != "",
		SecondFactor: r.PostFormValue("second_factor") != "",
		Next:         safeNext(r.PostFormValue("next")),
	}
	if !authenticate(v.Username, r.PostFormValue("password")) {
		// Not the name: people type their password there.
		slog.Warn("login failed", "remote", r.RemoteAddr)
		v.Error = "The user name or the password is not right."
		if runes := []rune(v.Username); len(runes) > maxName {
			v.Username = string(runes[:maxName])
		}
		d.showLogin(w, r, http.StatusUnauthorized, v)
		return
	}
	s := redsession.FromContext(r.Context())
	var options []redsession.LoginOption
	if v.Remember {
		options = append(options, redsession.RememberFor(rememberLife))
	}
	before := s.ID()
	if v.SecondFactor {
		s.Login(v.Username, append(options, redsession.Pending())...)
		noteChange(s, before, "password")
		onlyCode.Set(s, newCode())
		http.Redirect(w, r, "/second-factor?"+url.Values{"next": {v.Next}}.Encode(), http.StatusSeeOther)
		return
	}
	s.Login(v.Username, options...)
	noteChange(s, before, "login")
	s.Flash("Welcome, " + v.Username + ". Your session has a new id.")
	http.Redirect(w, r, v.Next, http.StatusSeeOther)
}

// secondFactorView is the page that asks for the code, and, as this is a demo,
// shows it.
type secondFactorView struct {
	Code, Next, Error string
}

func (d *demo) secondFactorForm(w http.ResponseWriter, r *http.Request) {
	d.showSecondFactor(w, r, http.StatusOK, secondFactorView{Next: safeNext(r.URL.Query().Get("next"))})
}

func (d *demo) showSecondFactor(w http.ResponseWriter, r *http.Request, status int, v secondFactorView) {
	s := redsession.FromContext(r.Context())
	if s.PendingUserID() == "" {
		http.Redirect(w, r, loginPath+"?"+url.Values{"why": {"again"}, "next": {v.Next}}.Encode(), http.StatusSeeOther)
		return
	}
	v.Code, _ = onlyCode.Get(s)
	d.show(w, s, status, "second-factor", view{Title: "Second factor", Path: "/second-factor", Failed: v.Error != "", Body: v})
}

func (d *demo) secondFactor(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	v := secondFactorView{Next: safeNext(r.PostFormValue("next"))}
	if s.PendingUserID() == "" {
		d.showSecondFactor(w, r, http.StatusOK, v)
		return
	}
	// Take leaves one guess for each code, however many come at once.
	code, ok, err := onlyCode.Take(r.Context(), s)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	given := strings.TrimSpace(r.PostFormValue("code"))
	if !ok || subtle.ConstantTimeCompare([]byte(code), []byte(given)) != 1 {
		slog.Warn("second factor failed", "remote", r.RemoteAddr)
		onlyCode.Set(s, newCode())
		v.Error = "That was not the code. Here is another."
		d.showSecondFactor(w, r, http.StatusUnauthorized, v)
		return
	}
	noteChange(s, s.ID(), "second factor")
	s.Promote()
	s.Flash("Welcome, " + s.UserID() + ". Both factors were right, and your session has a new id.")
	http.Redirect(w, r, v.Next, http.StatusSeeOther)
}

func newCode() string {
	n, _ := rand.Int(rand.Reader, big.NewInt(1_000_000)) // never fails: crypto/rand crashes the program instead
	return fmt.Sprintf("%06d", n)
}

func (d *demo) logout(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	s.Flashes() // would survive, but tells of a login that is over
	s.Logout()
	http.Redirect(w, r, loginPath+"?why=logged-out", http.StatusSeeOther)
}
