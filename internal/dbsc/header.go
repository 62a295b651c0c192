package dbsc

import (
	"encoding/json"
	"net/url"
)

// maxSessionIDLen bounds a Sec-Secure-Session-Id field in bytes. Ours has 52, or 54 with
// quotes.
const maxSessionIDLen = 128

// SessionID returns the identifier in a Sec-Secure-Session-Id field, bare or in double
// quotes, and whether it has the form of ours.
func SessionID(header string) (identifier string, ok bool) {
	if len(header) > maxSessionIDLen {
		return "", false
	}
	identifier = bare(header)
	if _, _, ok = SplitIdentifier(identifier); !ok {
		return "", false
	}
	return identifier, true
}

// RegistrationHeader returns the value of a Secure-Session-Registration field that asks a
// browser to register a key at path, which is decoded as in url.URL.Path, and to sign
// challenge, which must be one of Signer.Challenge.
func RegistrationHeader(path, challenge string) string {
	return "(" + es256 + " " + rs256 + `);path="` + escaped(path) + `";challenge="` + challenge + `"`
}

// ChallengeHeader returns the value of a Secure-Session-Challenge field: the challenge that
// the browser is to sign in its next refresh of the session with that identifier. Both must
// be ours, and so need no escapes.
func ChallengeHeader(challenge, identifier string) string {
	return `"` + challenge + `";id="` + identifier + `"`
}

// escaped makes path one of a URL. It has no quotes and no backslashes then, and fits the
// strings of structured fields, which are ASCII.
func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// Instructions tell a browser how to keep a session (W3C draft, session instructions). They
// are valid for the origin that sends them.
type Instructions struct {
	Identifier string
	RefreshURL string // where it is refreshed: a path, decoded as in url.URL.Path
	CookieName string // of the bound cookie
	// CookieAttributes are those of its Set-Cookie without Max-Age and Expires, which browsers
	// refuse here. Where they differ from those of the cookie, every request is a refresh.
	CookieAttributes string
	Excluded         []string // paths, decoded too, where requests do not wait for a refresh, and all below them
	// AnyInitiator lets a request that another site began wait for a refresh. Without it the
	// request comes without the bound cookie. With SameSite=None it tells other sites by the
	// time it takes whether the user has a session.
	AnyInitiator bool
}

type (
	instructions struct {
		Identifier string       `json:"session_identifier"`
		RefreshURL string       `json:"refresh_url"`
		Scope      scope        `json:"scope"`
		Credential []credential `json:"credentials"`
		Initiators []string     `json:"allowed_refresh_initiators,omitempty"`
	}
	scope struct {
		IncludeSite bool   `json:"include_site"`
		Rules       []rule `json:"scope_specification,omitempty"`
	}
	rule struct { // of every host of the scope, which is one
		Type string `json:"type"`
		Path string `json:"path"`
	}
	credential struct {
		Type       string `json:"type"`
		Name       string `json:"name"`
		Attributes string `json:"attributes"`
	}
)

// JSON returns the body of an answer to a registration or a refresh.
func (i Instructions) JSON() []byte {
	out := instructions{
		Identifier: i.Identifier, RefreshURL: escaped(i.RefreshURL),
		Credential: []credential{{Type: "cookie", Name: i.CookieName, Attributes: i.CookieAttributes}},
	}
	for _, path := range i.Excluded {
		out.Scope.Rules = append(out.Scope.Rules, rule{Type: "exclude", Path: escaped(path)})
	}
	if i.AnyInitiator {
		out.Initiators = []string{"*"}
	}
	b, _ := json.Marshal(out) // strings and slices of them always encode
	return b
}
