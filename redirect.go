package redsession

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/redsession/redsession/internal/returnpath"
)

// nextField is the parameter that holds the way back from a login.
const nextField = "next"

// loginRedirect is what RedirectToLogin returns. ReturnTo knows the login by it.
type loginRedirect struct{ *url.URL }

// RedirectToLogin returns a handler for Config.Unauthorized: it sends who opens a page to the
// login at path, with the address of the page in the parameter next, for ReturnTo. That is a GET
// with Sec-Fetch-Mode: navigate or, from a client without Fetch Metadata, one that accepts
// text/html. All else is 401, as fetch and forms cannot do anything with a login page; what a POST
// asked for is not kept. A request for the login itself is 401 too, rather than a redirect
// without end. An address that ReturnTo would not accept is left out.
//
// The path, with a query or without, is as the browser sees it, as is the way back: behind a
// proxy that takes off a prefix, the login must be named with the prefix, and a handler outside
// of Handler must put it back before http.Request.RequestURI; what http.StripPrefix takes off
// inside the program is kept by itself. It panics if path is not a path of this origin.
// RedirectToLogin is safe for concurrent use.
func RedirectToLogin(path string) http.Handler {
	login, err := url.Parse(path)
	if err != nil || !(returnpath.Rule{}).Accepts(path) {
		panic(fmt.Sprintf("redsession: RedirectToLogin(%q): want a path of this site, such as /login", path))
	}
	return loginRedirect{login}
}

func (l loginRedirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	here := sameAddress(r)
	if !opensPage(r) || returnpath.Same(pathOf(here), l.Path) {
		answerUnauthorized(w, r)
		return
	}
	to, query := *l.URL, l.Query()
	if path, values, there := strings.Cut(here, "?"); there { // the same in a query, and more often accepted
		here = path + "?" + strings.ReplaceAll(values, "%20", "+")
	}
	if waysBack(r.Context(), l.Path).Accepts(here) {
		query.Set(nextField, here)
	}
	to.RawQuery = query.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// opensPage tells whether a browser is going to show the response as a page.
func opensPage(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	if mode := r.Header.Values("Sec-Fetch-Mode"); len(mode) > 0 {
		return mode[0] == "navigate"
	}
	for _, accept := range r.Header.Values("Accept") {
		for media := range strings.SplitSeq(accept, ",") {
			media, _, _ = strings.Cut(media, ";")
			if strings.EqualFold(strings.TrimSpace(media), "text/html") {
				return true
			}
		}
	}
	return false
}

// ReturnTo returns where to send the browser after a login: the parameter next of r, from a
// form or else from the query, if it is one that RedirectToLogin could have made, and fallback
// otherwise, unchecked.
//
// Whoever writes a link to the login chooses next. So it is accepted only as a path of this
// origin: at most 2 kB, beginning with one slash, without a backslash, control character or
// space as it is and after one unescaping, without empty and dot segments; and neither the
// login, which is the address of r and the path of RedirectToLogin in Config.Unauthorized, nor
// below DeviceBinding.Path. (OWASP ASVS 3.7.2; CWE-601.)
//
// A urlencoded body is parsed by r.ParseForm; of a multipart body it sees what was parsed before.
func ReturnTo(r *http.Request, fallback string) string {
	_ = r.ParseForm() // of what cannot be parsed nothing is taken
	next := r.PostForm.Get(nextField)
	if next == "" {
		next = r.URL.Query().Get(nextField)
	}
	if waysBack(r.Context(), pathOf(sameAddress(r)), r.URL.Path).Accepts(next) {
		return next
	}
	return fallback
}

// waysBack is the rule for a request whose login is one of these, and for all Managers that
// handle it.
func waysBack(ctx context.Context, logins ...string) returnpath.Rule {
	ru := returnpath.Rule{Logins: logins}
	for s := range sessionsOf(ctx) {
		if l, ok := s.m.cfg.Unauthorized.(loginRedirect); ok {
			ru.Logins = append(ru.Logins, l.Path)
		}
		if b := s.m.cfg.DeviceBinding; b.Enabled {
			ru.Below = append(ru.Below, b.Path)
		}
	}
	return ru
}

// sessionsOf yields the sessions of a request, of all Managers in the chain, the innermost first.
func sessionsOf(ctx context.Context) func(yield func(*Session) bool) {
	return func(yield func(*Session) bool) {
		for {
			s, ok := Lookup(ctx)
			if !ok || !yield(s) {
				return
			}
			x, ok := s.r.Context().(*exchange)
			if !ok {
				return
			}
			ctx = x.Context
		}
	}
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Path
}
