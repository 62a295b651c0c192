package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/redsession/redsession"
)

const (
	bindingPath     = "/session-binding" // where browsers find the endpoints
	bindingLifetime = 10 * time.Minute
)

type stolenView struct {
	Secure, Bound bool
	Session, Both string // what a thief would type, with one cookie and with both
	Chromium      string // what opens the page in a browser that can
	Lifetime      time.Duration
	Later         time.Duration // when both cookies are surely of no use
}

// stolen shows the cookies of the session, so that they can be copied into another program.
// No real site may do so: they are HttpOnly to keep scripts from them.
func (d *demo) stolen(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	bound := s.DeviceBound()
	if err := s.Save(r.Context()); err != nil {
		d.fail(w, r, err)
		return
	}
	if s.DeviceBound() != bound { // it begins with this request, and its cookie is a new one
		http.Redirect(w, r, "/stolen", http.StatusSeeOther)
		return
	}
	v := stolenView{Secure: r.TLS != nil, Bound: s.DeviceBound(), Lifetime: bindingLifetime, Later: bindingLifetime + time.Minute}
	var session, all []string
	for _, c := range r.Cookies() {
		if !strings.Contains(c.Name, "session") {
			continue
		}
		all = append(all, c.Name+"="+c.Value)
		if !strings.Contains(c.Name, "-bound-") {
			session = append(session, c.Name+"="+c.Value)
		}
	}
	scheme := "http"
	if v.Secure {
		scheme = "https"
	}
	command := func(cookies []string) string {
		return fmt.Sprintf("curl -k -H 'Cookie: %s' %s://%s/stolen/who", strings.Join(cookies, "; "), scheme, r.Host)
	}
	v.Session, v.Both = command(session), command(all)
	v.Chromium = "chromium --user-data-dir=$(mktemp -d) --enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting --ignore-certificate-errors-spki-list=" + d.pin + " https://" + r.Host + "/stolen"
	d.show(w, s, http.StatusOK, "stolen", view{Title: "A stolen cookie", Path: "/stolen", Body: v})
}

// stolenWho tells a thief who they are.
func (d *demo) stolenWho(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	switch {
	case s.LoggedIn():
		fmt.Fprintf(w, "You are %s.\n", s.UserID())
	case s.Locked():
		http.Error(w, "You are nobody: this session belongs to a device that has not proved itself.", http.StatusUnauthorized)
	default:
		http.Error(w, "You are nobody.", http.StatusUnauthorized)
	}
}
