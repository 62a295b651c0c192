package redsession

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/sessioncookie"
)

// Cookie shapes the session cookie (RFC 6265bis). The zero value is the
// safest: a cookie for this host alone, sent over HTTPS alone, out of reach of
// scripts, gone when the browser closes.
type Cookie struct {
	// Name is "__Host-session" unless set; "__Secure-session" with Domain, and
	// "session" with InsecurePlainHTTP. With Domain it must begin with "__Secure-" or
	// "__Http-", which browsers take over HTTPS alone (OWASP ASVS 3.3.1).
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
	refuse(c.Domain != "" && !c.InsecurePlainHTTP && !host && !has("__Secure-") && !has("__Http-"),
		`Name %q with Domain lacks the prefix "__Secure-", without which a page over plain HTTP, or of a subdomain, can plant the cookie: leave Name empty, or set %q`, c.Name, "__Secure-"+c.Name)
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

// DeviceBinding makes a copied cookie useless: in browsers that have Device Bound Session
// Credentials (W3C draft), a session belongs to a key that never leaves the device. Such a
// session has a second cookie, which lives for minutes and which the browser renews by a
// proof that it has the key. Whoever has the session's cookie alone is locked out, and whoever
// has copied both is within Lifetime. Other browsers go on as without.
//
// A browser makes six proofs in nine minutes for all sites of one registrable domain: keep
// the number of applications × 9 / (Lifetime − 2 minutes) + logins at most six in nine
// minutes. Nothing in front of Handler may answer its endpoints with a status of 400 to 499,
// such as a rate limiter's 429: the browser would drop its key. Handler has to get them: it belongs
// around a router whose own middlewares do not run for paths without a route, such as gorilla/mux.
type DeviceBinding struct {
	Enabled bool
	// Path is where browsers find the endpoints, which Handler answers itself:
	// "/session-binding" unless set. It is the path as the browser sees it, also if something
	// in front takes off a prefix. Several Managers need different ones.
	Path string
	// Lifetime is how long the second cookie lives: 10 minutes unless set, at least 8.
	Lifetime time.Duration
	// Require tells which requests need a bound session; guards refuse others with
	// Config.Forbidden. Browsers that cannot bind are shut out of these.
	Require func(*http.Request) bool
}

func (d DeviceBinding) withDefaults() DeviceBinding {
	d.Path = cmp.Or(d.Path, defaultBindingPath)
	d.Lifetime = cmp.Or(d.Lifetime, defaultLifetime)
	return d
}

func (c Config) checkBinding() error {
	d := c.DeviceBinding
	if !d.Enabled {
		if d.Require != nil {
			return errors.New("Config.DeviceBinding.Require needs Enabled")
		}
		return nil
	}
	var errs []error
	refuse := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf("Config.DeviceBinding"+format, args...))
		}
	}
	u, err := url.Parse(d.Path)
	refuse(err != nil || !strings.HasPrefix(d.Path, "/") || d.Path == "/" || u.Path != d.Path || path.Clean(d.Path) != d.Path || strings.ContainsAny(d.Path, "\"\\;,%"),
		`.Path %q must be a path such as "/session-binding", without a slash at its end`, d.Path)
	refuse(d.Lifetime < leastLifetime, ".Lifetime %s is under %s: browsers would run out of proofs", d.Lifetime, leastLifetime)
	refuse(d.Lifetime > 24*time.Hour, ".Lifetime %s is over a day: a copied cookie would work for so long", d.Lifetime)
	refuse(c.Cookie.Partitioned, " and Cookie.Partitioned exclude each other: a browser binds a session to one site")
	refuse(c.Cookie.Domain != "", " and Cookie.Domain exclude each other: a browser binds a session to one host")
	refuse(c.Cookie.Path != "/", ` needs Cookie.Path "/", have %q`, c.Cookie.Path)
	return errors.Join(errs...)
}
