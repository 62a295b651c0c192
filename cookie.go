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
	// InsecureWhen tells which requests come over plain HTTP, for programs that some run behind
	// TLS and others without, or the same one both ways. These have a cookie of their own, without
	// Secure, whose name is Name without its prefix: "session" unless Name is set. Whoever is on
	// the way can read and plant it. All else has the Secure cookie. A request by TLS
	// (http.Request.TLS) always does, and the function is not asked. Behind a proxy that ends
	// TLS, the function must go by what that proxy sets, whatever the client has sent:
	//
	//	func(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") != "https" }
	//
	// The two lead to different sessions, also in Config.Header: a value that was signed for the
	// one mode is nothing to the other. Over HTTPS the insecure cookie is never read, so that a
	// login there takes none of its values along; a logout there makes the browser forget it and
	// does not end its session. Over plain HTTP the Secure cookie is neither read, sent nor expired.
	// Nothing is bound to devices over plain HTTP: Config.DeviceBinding has no endpoints there,
	// which are 404, offers nothing, and what DeviceBinding.Require or RequireProof asks for is
	// refused. Old cookies (Config.Adopt) are taken over in both modes, but for the Secure ones,
	// those whose names have a prefix, over plain HTTP.
	//
	// The function is asked at most once for each request, before anything is read, from several
	// goroutines at once. If it panics, so does Handler, and nothing has been read or sent. New refuses it with
	// InsecurePlainHTTP, Domain, Partitioned, SameSite None, and a Name without a prefix, by which browsers
	// tell the cookies apart. The sources are RFC 6265bis 4.1.3 and OWASP ASVS 3.3.1.
	InsecureWhen func(*http.Request) bool
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
	return errors.Join(append(errs, c.checkInsecureWhen())...)
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
// such as a rate limiter's 429: the browser would drop its key.
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
