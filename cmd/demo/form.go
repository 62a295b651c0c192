package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/redsession/redsession"
)

// tokenField is the form field that holds the session's CSRF token.
const tokenField = "csrf"

var errForm = errors.New("form cannot be read")

// forms reads the form of each POST before next sees it. Once there is a user,
// only a page of this very login can have made it; before, the protection
// against other origins, which stands in front of all this, has to do, so that
// nothing need be stored for a visitor who only looks.
func (d *demo) forms(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		if err := parse(r); err != nil {
			d.fail(w, r, err)
			return
		}
		s, ok := redsession.Lookup(r.Context())
		if ok && hasUser(s) && !s.VerifyCSRF(r.PostFormValue(tokenField)) {
			slog.Warn("refused a form without the token of its session", "path", r.URL.Path)
			d.answer(w, r, http.StatusForbidden, "This form is too old",
				"It is from before your last login, so nothing was changed. Load the page again and repeat what you did.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hasUser tells whether the session belongs to a user, if only half-way.
func hasUser(s *redsession.Session) bool { return s.LoggedIn() || s.PendingUserID() != "" }

// parse reads the form of r. Its errors are for fail.
func parse(r *http.Request) error {
	err := r.ParseForm()
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", errForm, err)
}
