package redsession

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/redsession/redsession/internal/sessioncookie"
)

// Cookie shapes the session cookie (RFC 6265bis). The zero value is the
// safest: a cookie for this host alone, sent over HTTPS alone, out of reach of
// scripts, gone when the browser closes.
type Cookie struct {
	// Name is "__Host-session" unless set; "__Secure-session" with Domain, and
	// "session" with InsecurePlainHTTP.
	Name string
	// Domain lets subdomains send the cookie too. Leave it empty if you can.
	Domain string
	// Path is "/" unless set.
	Path string
	// SameSite is http.SameSiteLaxMode unless set.
	SameSite http.SameSite
	// Partitioned keeps one cookie jar for each top-level site (CHIPS).
	Partitioned bool
	// Persistent keeps the cookie when the browser closes, for what is left of the
	// absolute lifetime, and 400 days at most. RememberFor does so for one login.
	Persistent bool
	// InsecurePlainHTTP sends the cookie over plain HTTP, for development.
	InsecurePlainHTTP bool
}

const (
	maxCookieSize = 4096 // name and value (RFC 6265bis 5.6)
	maxAttribute  = 1024 // of an attribute's value; more is ignored (RFC 6265bis 5.6)
)

// newCodec returns what reads and sends the signed value.
func newCodec(c Config, k *core) *sessioncookie.Codec {
	var keys sessioncookie.Keys
	for _, one := range k.ring {
		keys.Session, keys.Ending = append(keys.Session, one.Cookie), append(keys.Ending, one.Ending)
	}
	return sessioncookie.New(sessioncookie.Attributes(c.Cookie), c.Header, keys)
}

func (c Cookie) withDefaults() Cookie {
	switch {
	case c.Name != "":
	case c.InsecurePlainHTTP:
		c.Name = "session"
	case c.Domain != "":
		c.Name = "__Secure-session"
	default:
		c.Name = "__Host-session"
	}
	c.Path = cmp.Or(c.Path, "/")
	c.SameSite = cmp.Or(c.SameSite, http.SameSiteLaxMode)
	return c
}

func (c Cookie) check() error {
	var errs []error
	refuse := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf("Config.Cookie: "+format, args...))
		}
	}
	has := func(prefix string) bool {
		return len(c.Name) >= len(prefix) && strings.EqualFold(c.Name[:len(prefix)], prefix)
	}
	refuse(!isToken(c.Name), "Name %q is no cookie name: use letters, digits, - and _", c.Name)
	refuse(len(c.Name)+sessioncookie.MaxValueLen > maxCookieSize, "Name has %d bytes, more than browsers accept", len(c.Name))
	host := has("__Host-")
	refuse(host && c.Domain != "", "Name %q forbids Domain: drop one of them", c.Name)
	refuse(host && c.Path != "/", `Name %q demands Path "/", have %q`, c.Name, c.Path)
	refuse((host || has("__Secure-") || has("__Http-")) && c.InsecurePlainHTTP,
		"Name %q demands Secure, which InsecurePlainHTTP removes: leave Name empty for development", c.Name)
	refuse(!strings.HasPrefix(c.Path, "/") || strings.ContainsFunc(c.Path, func(r rune) bool { return r < ' ' || r == ';' || r == 0x7f }),
		`Path %q must begin with "/" and have no semicolon`, c.Path)
	refuse(len(c.Path) > maxAttribute || len(c.Domain) > maxAttribute, "Path or Domain has more than %d bytes, and browsers ignore it then", maxAttribute)
	refuse(c.Domain != "" && (&http.Cookie{Name: "x", Domain: c.Domain}).Valid() != nil, "Domain %q is no domain name", c.Domain)
	switch c.SameSite {
	case http.SameSiteLaxMode, http.SameSiteStrictMode:
	case http.SameSiteNoneMode:
		refuse(c.InsecurePlainHTTP, "SameSite None demands Secure, which InsecurePlainHTTP removes")
	default:
		refuse(true, "SameSite is %d: choose http.SameSiteLaxMode, Strict or None", c.SameSite)
	}
	refuse(c.Partitioned && c.InsecurePlainHTTP, "Partitioned demands Secure, which InsecurePlainHTTP removes")
	return errors.Join(errs...)
}

func checkHeader(name string) error {
	if name == "" {
		return nil
	}
	switch http.CanonicalHeaderKey(name) {
	case "Cookie", "Set-Cookie", "Authorization":
		return fmt.Errorf("Config.Header is %q, which has a meaning of its own: use a name such as X-Session", name)
	}
	if !isToken(name) {
		return fmt.Errorf("Config.Header %q is no header name", name)
	}
	return nil
}

func isToken(name string) bool { return (&http.Cookie{Name: name}).Valid() == nil }
