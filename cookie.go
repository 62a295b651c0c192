package redsession

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession/internal/record"
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
	maxCookies    = 4                    // tried for each request; a real browser sends one
	maxCookieAge  = 400 * 24 * time.Hour // what browsers cap at (RFC 6265bis 5.5)
	maxCookieSize = 4096                 // name and value (RFC 6265bis 5.6)
	maxAttribute  = 1024                 // of an attribute's value; more is ignored (RFC 6265bis 5.6)
	sidLen        = 32
	ticketLen     = sidLen + 4 + 8
	maxUserAgent  = 160 // bytes kept; enough to tell the devices of one user apart
	maxTicketText = 256 // a signed ticket has 140 characters; no need to decode more
)

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
	refuse(len(c.Name)+maxTicketText > maxCookieSize, "Name has %d bytes, more than browsers accept", len(c.Name))
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

// sid is the secret that only the cookie holds: 256 bits of crypto/rand.
type sid [sidLen]byte

// ticket is what the signed cookie carries. The times let a load send EXPIRE
// together with GET, and refuse a dead cookie without asking Redis.
type ticket struct {
	sid      sid
	idle     int64 // seconds
	deadline int64 // Unix seconds
}

// transport moves tickets between requests and responses.
type transport struct {
	cookie Cookie
	header string
	ring   record.Ring
	codec  *securecookie.SecureCookie // of the newest secret
}

func newTransport(c Config, ring record.Ring) *transport {
	t := &transport{cookie: c.Cookie, header: c.Header, ring: ring}
	t.codec = securecookie.New(ring[0].Cookie, nil).SetSerializer(securecookie.NopEncoder{}).MaxLength(maxTicketText)
	return t
}

// tickets are those that are signed by us and not past their deadline.
type tickets struct {
	list [maxCookies]ticket
	n    int
}

// arrival is what else a request brought.
type arrival struct {
	invalid  int  // cookies of our name that nobody of us signed
	overdue  int  // tickets past their deadline
	cookie   bool // a cookie of our name came
	byHeader bool // the header came
	browser  bool // the request says that it comes from one (Fetch Metadata)
}

// read collects the tickets of r. It asks nobody.
func (t *transport) read(r *http.Request, now time.Time) (a arrival, ts tickets) {
	if t.header != "" {
		a.browser = r.Header.Get("Sec-Fetch-Site") != ""
		if values, ok := r.Header[http.CanonicalHeaderKey(t.header)]; ok {
			a.byHeader = true
			if len(values) > 0 && values[0] != "" {
				t.take(&a, &ts, values[0], now)
			}
			return a, ts
		}
	}
	n := 0
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(textproto.TrimString(pair), "=")
			if name != t.cookie.Name {
				continue
			}
			if a.cookie = true; n == maxCookies {
				return a, ts
			}
			n++
			// The value is signed, so there is no need to have net/http look at each byte
			// of each cookie: that took a tenth of a hit.
			t.take(&a, &ts, value, now)
		}
	}
	return a, ts
}

func (t *transport) take(a *arrival, ts *tickets, value string, now time.Time) {
	switch tk, ok := t.decode(value); {
	case !ok:
		a.invalid++
	case tk.deadline <= now.Unix():
		a.overdue++
	default:
		ts.list[ts.n] = tk
		ts.n++
	}
}

// decode reads what securecookie wrote: base64url of "date|base64url of the
// ticket|HMAC". It agrees with securecookie's Decode on every value, but keeps the
// state of the HMAC between requests, which saves 12 allocations. The age check
// is left out: the ticket's own deadline and the record decide.
func (t *transport) decode(value string) (tk ticket, ok bool) {
	var text, signed [maxTicketText]byte
	if len(value) > len(text) {
		return tk, false
	}
	n, err := base64.URLEncoding.Decode(signed[:], text[:copy(text[:], value)])
	if err != nil || n <= sha256.Size {
		return tk, false
	}
	body, sum := signed[:n-sha256.Size-1], signed[n-sha256.Size:n]
	_, payload, found := bytes.Cut(body, []byte{'|'})
	if !found || signed[len(body)] != '|' || !t.signed(body, sum) {
		return tk, false
	}
	b := text[:]
	if n, err = base64.URLEncoding.Decode(b, payload); err != nil || n != ticketLen {
		return tk, false
	}
	copy(tk.sid[:], b)
	tk.idle = int64(binary.BigEndian.Uint32(b[sidLen:]))
	tk.deadline = int64(binary.BigEndian.Uint64(b[sidLen+4:]))
	return tk, true
}

func (t *transport) signed(body, sum []byte) bool {
	for _, k := range t.ring {
		if k.Signed(t.cookie.Name, body, sum) {
			return true
		}
	}
	return false
}

func (t *transport) encode(tk ticket) (string, error) {
	b := make([]byte, 0, ticketLen)
	b = append(b, tk.sid[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(min(tk.idle, 1<<32-1)))
	b = binary.BigEndian.AppendUint64(b, uint64(tk.deadline))
	return t.codec.Encode(t.cookie.Name, b)
}

// send gives the client tk. A client that came with the header gets the header
// alone, one that came with a cookie the cookie alone, and one that came with
// neither gets both, unless it is a browser: a script there must not read from
// a response what the cookie keeps from it.
func (t *transport) send(h http.Header, a *arrival, tk ticket, persistent bool, now time.Time) error {
	value, err := t.encode(tk)
	if err != nil {
		return fmt.Errorf("encoding cookie: %w", err)
	}
	if !a.byHeader {
		c := t.base(value)
		if persistent {
			left := time.Duration(tk.deadline-now.Unix()) * time.Second
			c.MaxAge = int(min(left, maxCookieAge) / time.Second)
		}
		h.Add("Set-Cookie", c.String())
	}
	if t.header != "" && !a.cookie && (a.byHeader || !a.browser) {
		h.Set(t.header, value)
	}
	return nil
}

// expire makes the client forget its ticket.
func (t *transport) expire(h http.Header, a *arrival) {
	if a.byHeader {
		h.Set(t.header, "")
		return
	}
	c := t.base("")
	c.MaxAge, c.Expires = -1, time.Unix(1, 0)
	h.Add("Set-Cookie", c.String())
}

func (t *transport) base(value string) *http.Cookie {
	return &http.Cookie{
		Name: t.cookie.Name, Value: value,
		Path: t.cookie.Path, Domain: t.cookie.Domain,
		Secure: !t.cookie.InsecurePlainHTTP, HttpOnly: true,
		SameSite: t.cookie.SameSite, Partitioned: t.cookie.Partitioned,
	}
}

// remoteAddr is the client's address. Only as many entries of X-Forwarded-For
// are believed as proxies stand in front, since a client may send its own.
func remoteAddr(r *http.Request, hops int) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if hops > 0 {
		entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		entry := strings.TrimSpace(entries[max(0, len(entries)-hops)])
		if addr, err := netip.ParseAddr(entry); err == nil {
			host = addr.String()
		}
	}
	return strings.ToValidUTF8(host, "")
}

func userAgent(r *http.Request) string {
	agent := r.UserAgent()
	return strings.ToValidUTF8(agent[:min(len(agent), maxUserAgent)], "")
}
