// Package redsessionoidc ends sessions when the OpenID provider that the users logged in with
// says so: OpenID Connect Back-Channel Logout 1.0.
//
// Give the options of LoginOptions to the login, and mount BackChannelLogout at the
// address that the provider knows as backchannel_logout_uri:
//
//	options, err := redsessionoidc.LoginOptions(idToken)
//	…
//	session.Login(user, options...)
//
//	mux.Handle("POST /backchannel-logout", redsessionoidc.BackChannelLogout(m, redsessionoidc.Config{Verifier: verifier}))
package redsessionoidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/redsession/redsession"
)

// Sessions ends sessions: a *redsession.Manager, or a *redsession.Admin whose Config has the
// Secrets.
type Sessions interface {
	RevokeTagged(ctx context.Context, tag string) (int, error)
	RevokeUser(ctx context.Context, user string) (int, error)
}

// Config says which provider may end sessions, and whose.
type Config struct {
	// Verifier checks signature, issuer, audience and expiry of logout tokens; required. That
	// of the ID tokens does: provider.Verifier(&oidc.Config{ClientID: …}).
	Verifier *oidc.IDTokenVerifier
	// UserID returns the id that the program passes to Login for a subject of the provider, and
	// "" for one that it does not know. It is asked for a logout token that names a user and no
	// session, and all sessions of that user end. If it is nil, those end that were logged in
	// with LoginOptions.
	UserID func(ctx context.Context, issuer, subject string) (string, error)
	// Logger gets a line for each logout, and for each that is refused; slog.Default() unless
	// set.
	Logger *slog.Logger
	// Now is the clock; time.Now unless set.
	Now func() time.Time
}

// LoginOptions returns what a login with this ID token is found by when the provider ends it:
// a tag for the provider's session ("issuer|sid"), if the token has a sid, and one for the
// subject. The token must have been verified. They take two of the four tags that a login may
// have. The error is that the token's claims cannot be read.
func LoginOptions(token *oidc.IDToken) ([]redsession.LoginOption, error) {
	var claims struct {
		SessionID string `json:"sid"`
	}
	if err := token.Claims(&claims); err != nil {
		return nil, fmt.Errorf("redsessionoidc: reading the claims of an ID token: %w", err)
	}
	options := []redsession.LoginOption{redsession.Tag(subjectTag(token.Issuer, token.Subject))}
	if claims.SessionID != "" {
		options = append(options, redsession.Tag(sessionTag(token.Issuer, claims.SessionID)))
	}
	return options, nil
}

func sessionTag(issuer, sid string) string { return tag(issuer + "|" + sid) }

// subjectTag cannot be a sessionTag, as an issuer is an https URL.
func subjectTag(issuer, subject string) string { return tag("sub:" + issuer + "|" + subject) }

// tag is name, or its hash if that is longer than a tag may be.
func tag(name string) string {
	const longest = 256
	if len(name) <= longest {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// BackChannelLogout answers the provider's logout requests. A logout token with a sid ends
// the sessions of that session of the provider, one without ends those of the subject. Their
// streams end as after any revocation: at once in this process, within about 3 seconds on
// other servers.
//
// It answers 200 once the sessions have ended in Redis, also if there was none, and 400 with a
// JSON object as of OAuth 2.0 if the token is refused or the sessions could not be ended, as the
// specification wants it (2.8); then the log says why. While Redis is away it waits as every
// request does, for up to redsession.Config.OutageWait.
//
// Requests come from the provider's server, with neither cookie nor CSRF token: mount it
// outside of guards. A token that comes again within its time ends what has been logged in
// since; so one that was issued more than ten minutes ago is refused, whatever its expiry says.
//
// It panics if c.Verifier is nil.
func BackChannelLogout(sessions Sessions, c Config) http.Handler {
	if c.Verifier == nil {
		panic("redsessionoidc: BackChannelLogout: Config.Verifier is nil: use provider.Verifier(&oidc.Config{ClientID: …})")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &handler{sessions, c}
}

type handler struct {
	sessions Sessions
	cfg      Config
}

const (
	maxBody = 64 << 10
	// oldest is how long ago a token may have been issued. The specification recommends that
	// it expires within two minutes (4).
	oldest = 10 * time.Minute
)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	token, err := h.verify(w, r)
	if err != nil {
		h.cfg.Logger.WarnContext(r.Context(), "back-channel logout refused", "error", err.Error())
		refuse(w, "invalid_request", "The logout token is not accepted.")
		return
	}
	ended, err := h.end(r.Context(), token)
	if err != nil {
		h.cfg.Logger.ErrorContext(r.Context(), "back-channel logout failed", "issuer", token.Issuer, "error", err.Error())
		refuse(w, "temporarily_unavailable", "The sessions could not be ended. Please try again.")
		return
	}
	h.cfg.Logger.InfoContext(r.Context(), "back-channel logout", "issuer", token.Issuer, "sessions", ended)
	w.WriteHeader(http.StatusOK)
}

// verify returns the logout token that r carries, in a body alone.
func (h *handler) verify(w http.ResponseWriter, r *http.Request) (*oidc.LogoutToken, error) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/x-www-form-urlencoded" {
		return nil, errors.New("the body is no urlencoded form")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return nil, fmt.Errorf("reading the form: %w", err)
	}
	values := r.PostForm["logout_token"]
	if len(values) != 1 {
		return nil, fmt.Errorf("the form has %d logout tokens, want one", len(values))
	}
	token, err := h.cfg.Verifier.VerifyLogout(r.Context(), values[0])
	if err != nil {
		return nil, err
	}
	var claims struct {
		Events map[string]map[string]any `json:"events"`
	}
	if err := token.Claims(&claims); err != nil || claims.Events["http://schemas.openid.net/event/backchannel-logout"] == nil {
		return nil, errors.New("the token's logout event is no JSON object")
	}
	if age := h.cfg.Now().Sub(token.IssuedAt); age > oldest {
		return nil, fmt.Errorf("the token was issued %s ago, want at most %s", age.Round(time.Second), oldest)
	}
	return token, nil
}

// end ends the sessions that token names, and returns how many there were.
func (h *handler) end(ctx context.Context, token *oidc.LogoutToken) (int, error) {
	if token.SessionID != "" {
		return h.sessions.RevokeTagged(ctx, sessionTag(token.Issuer, token.SessionID))
	}
	if h.cfg.UserID == nil {
		return h.sessions.RevokeTagged(ctx, subjectTag(token.Issuer, token.Subject))
	}
	user, err := h.cfg.UserID(ctx, token.Issuer, token.Subject)
	if err != nil {
		return 0, fmt.Errorf("asking for the user of a subject: %w", err)
	}
	if user == "" {
		return 0, nil
	}
	return h.sessions.RevokeUser(ctx, user)
}

// refuse answers 400 as OAuth 2.0 does (RFC 6749 5.2).
func refuse(w http.ResponseWriter, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
}
