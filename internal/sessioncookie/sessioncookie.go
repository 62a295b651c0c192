// Package sessioncookie moves session tokens between clients and the server: the
// signed value that a cookie or a header carries, how all of them are read from a
// request, and how one is sent or made to be forgotten. It asks nobody, and knows
// nothing of what a token leads to.
package sessioncookie

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
)

const (
	// MaxCookies is how many cookies of one name are tried for each request; a browser
	// that nobody planted cookies in sends one or two.
	MaxCookies = 4
	// MaxValueLen is the length that no value exceeds, in bytes; a longer one is not read.
	MaxValueLen = 256

	maxAge = 400 * 24 * 60 * 60 // seconds that browsers keep a cookie (RFC 6265bis 5.5)
)

// Token is what the signed value carries. The times let a load send EXPIRE together
// with GET, and refuse a dead token without asking Redis; the record decides.
type Token struct {
	SID      keyspace.SID
	Idle     int64 // seconds without a hit until the session ends
	Deadline int64 // when it ends whatever happens, in Unix seconds
	// Binding is the id of the binding to a device that the session belongs to, zero for
	// none: who does not show that device's cookie as well is not worth an EXPIRE.
	Binding [BindingLen]byte
}

// BindingLen is the length of a binding's id.
const BindingLen = 8

// Bound tells whether t names a binding.
func (t *Token) Bound() bool { return t.Binding != [BindingLen]byte{} }

// Attributes are those of the cookie, with every default filled in.
type Attributes struct {
	Name              string
	Domain            string // none if empty
	Path              string
	SameSite          http.SameSite
	Partitioned       bool
	Persistent        bool // every cookie is kept when the browser closes
	InsecurePlainHTTP bool // the cookie is not Secure
	// InsecureWhen tells which requests without TLS have a cookie of their own, that is not
	// Secure. Unset, none has.
	InsecureWhen func(*http.Request) bool
}

// Codec reads and sends the tokens of one Manager. It is immutable and safe for
// concurrent use.
type Codec struct {
	header   string // in canonical form; none if empty
	secure   *face
	insecure *face // nil without InsecureWhen
	when     func(*http.Request) bool
}

// face is what a Codec is to the requests of one mode. What one has signed, for the name of
// its cookie, is nothing to the other.
type face struct {
	attributes Attributes
	session    *purpose
	ending     *purpose
}

func newFace(a Attributes, keys Keys) *face {
	return &face{attributes: a, session: newPurpose(a.Name, keys.Session), ending: newPurpose("ending "+a.Name, keys.Ending)}
}

// Keys sign values (HMAC-SHA256). The first of each list signs, all of them verify. Those
// of Session and Ending must be derived for their purpose alone.
type Keys struct{ Session, Ending [][]byte }

// New returns a Codec for cookies with attributes a and, unless it is empty, for the
// header of that name. Without keys no value is ours, and Send fails.
func New(a Attributes, header string, keys Keys) *Codec {
	c := &Codec{header: http.CanonicalHeaderKey(header), secure: newFace(a, keys), when: a.InsecureWhen}
	if c.when != nil {
		a.Name, a.InsecurePlainHTTP = BareName(a.Name), true
		c.insecure = newFace(a, keys)
	}
	return c
}

// Tokens are those that a request brought, in its order: signed by us, not past their
// deadline, and each SID once. The zero value is none.
type Tokens struct {
	list [MaxCookies]Token
	n    int
}

// All returns the tokens. The slice is part of ts.
func (ts *Tokens) All() []Token { return ts.list[:ts.n] }

// add takes tk along. Of two tokens with the same SID it keeps the one that ends last:
// a time that is too long does no harm, as the record decides.
func (ts *Tokens) add(tk Token) {
	for i := range ts.All() {
		if old := &ts.list[i]; old.SID == tk.SID {
			if tk.Deadline > old.Deadline {
				*old = tk
			}
			return
		}
	}
	ts.list[ts.n] = tk
	ts.n++
}

// Request is what a request brought besides tokens that may lead to a session. The
// zero value is a request that brought nothing.
type Request struct {
	Invalid int  // values that nobody of us signed
	Overdue int  // tokens past their deadline
	Cookie  bool // a cookie of our name came, and was looked at
	Header  bool // the header came, and was looked at instead of cookies
	Browser bool // Fetch Metadata says that a browser sent it; false if no header is configured
	// Insecure is the request's mode: it knows the cookie alone that is not Secure.
	Insecure bool
	// Ending are the sessions whose logout an outage or a refusal kept from Redis: the cookie asks whoever
	// gets it to end them, and leads to no session.
	Ending []Token
}

// Read collects the tokens of r that are good at now. The header, where one is
// configured and came, takes the place of every cookie, whatever it holds. An empty
// header asks for the value in the header; a browser's counts as none, since Send gives
// a browser nothing there. Without the header the first MaxCookies cookies of our name
// are looked at; the same value twice is one. The mode, which Insecure has told, decides which
// name is ours.
func (c *Codec) Read(r *http.Request, insecure bool, now time.Time) (req Request, ts Tokens) {
	f := c.face(insecure)
	req.Insecure = f == c.insecure
	if c.header != "" {
		req.Browser = fromBrowser(r.Header)
		if values := r.Header[c.header]; len(values) > 0 && (values[0] != "" || !req.Browser) {
			req.Header = true
			if values[0] != "" {
				f.take(&req, &ts, plain(values[0]), now)
			}
			return req, ts
		}
	}
	var tried [MaxCookies]string
	n := 0
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(textproto.TrimString(pair), "=")
			if name != f.attributes.Name {
				continue
			}
			req.Cookie = true
			// The value is signed, so there is no need to have net/http look at each byte
			// of each cookie: that took a tenth of a hit.
			if value = plain(value); slices.Contains(tried[:n], value) {
				continue
			}
			if n == MaxCookies {
				return req, ts
			}
			tried[n] = value
			n++
			f.take(&req, &ts, value, now)
		}
	}
	return req, ts
}

// take counts a plain value where it belongs.
func (f *face) take(req *Request, ts *Tokens, value string, now time.Time) {
	tk, ok := f.session.decode(value)
	if !ok {
		if tk, ok = f.ending.decode(value); ok {
			if tk.Deadline > now.Unix() {
				req.Ending = append(req.Ending, tk)
			} else {
				req.Overdue++
			}
			return
		}
	}
	switch {
	case !ok:
		req.Invalid++
	case tk.Deadline <= now.Unix():
		req.Overdue++
	default:
		ts.add(tk)
	}
}

// Find calls fn with the value of each cookie of r whose name is prefix and then rest, until
// fn returns true. It allocates nothing.
func Find(r *http.Request, prefix, rest string, fn func(value string) bool) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(textproto.TrimString(pair), "=")
			if len(name) == len(prefix)+len(rest) && strings.HasPrefix(name, prefix) && name[len(prefix):] == rest && fn(value) {
				return
			}
		}
	}
}

// fromBrowser tells whether h has Fetch Metadata, in whatever field: a script can
// neither set nor remove these. A browser sends them over HTTPS and to localhost.
func fromBrowser(h http.Header) bool {
	if _, there := h["Sec-Fetch-Site"]; there {
		return true
	}
	for name := range h {
		if strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

// Send gives the client that sent req the token t. It adds a Set-Cookie field to h, or
// sets the header, or both: who came with the header gets the header alone, who came
// with a cookie the cookie alone, and who came with neither gets both.
//
// A browser gets the cookie alone in any case, also for a session that came by the
// header: a script in a page reads the fields of an answer, and could read there the
// value that an HttpOnly cookie keeps from it.
//
// The cookie is kept when the browser closes if persistent or Attributes.Persistent
// says so: until the deadline, and for 400 days at most. The error is that of a Codec
// without keys.
func (c *Codec) Send(h http.Header, req *Request, t Token, persistent bool, now time.Time) error {
	f := c.face(req.Insecure)
	value, err := f.session.encode(t)
	if err != nil {
		return fmt.Errorf("signing session cookie: %w", err)
	}
	if !req.Header || req.Browser {
		cookie := f.cookie(value)
		if persistent || f.attributes.Persistent {
			cookie.MaxAge = int(max(1, min(t.Deadline-now.Unix(), maxAge))) // 0 would be no Max-Age
		}
		h.Add("Set-Cookie", cookie.String())
	}
	if c.header != "" && !req.Browser && !req.Cookie {
		h.Set(c.header, value)
	}
	return nil
}

// SendEnding puts an ending cookie in the place of the session's: it carries the SID of a
// session that is to end, signed for that purpose alone, so that any server that gets it
// can end the session, and none takes it for one. It reports false, and sends nothing, to
// who came with the header, where there is no room for it.
func (c *Codec) SendEnding(h http.Header, req *Request, t Token, persistent bool, now time.Time) (sent bool, err error) {
	if req.Header {
		return false, nil
	}
	f := c.face(req.Insecure)
	value, err := f.ending.encode(t)
	if err != nil {
		return false, fmt.Errorf("signing ending cookie: %w", err)
	}
	cookie := f.cookie(value)
	if persistent || f.attributes.Persistent {
		cookie.MaxAge = int(max(1, min(t.Deadline-now.Unix(), maxAge)))
	}
	h.Add("Set-Cookie", cookie.String())
	return true, nil
}

// Expire makes the client that sent req forget its token. Who came with the header
// gets the header empty, and keeps its cookies, which were not looked at.
func (c *Codec) Expire(h http.Header, req *Request) {
	if req.Header {
		h.Set(c.header, "")
		return
	}
	c.face(req.Insecure).expire(h)
}

// ExpireStray makes the client that sent r, which was read as req, forget the cookie of
// insecure requests, if that came with a secure one. It looks at no value.
func (c *Codec) ExpireStray(h http.Header, r *http.Request, req *Request) {
	if c.insecure == nil || req.Insecure || req.Header {
		return
	}
	Find(r, c.insecure.attributes.Name, "", func(string) bool {
		c.insecure.expire(h)
		return true
	})
}

func (f *face) expire(h http.Header) {
	cookie := f.cookie("")
	cookie.MaxAge, cookie.Expires = -1, time.Unix(1, 0)
	h.Add("Set-Cookie", cookie.String())
}

// cookie has the attributes that make a browser put one cookie in the place of another.
func (f *face) cookie(value string) *http.Cookie {
	a := f.attributes
	return &http.Cookie{
		Name: a.Name, Value: value, Path: a.Path, Domain: a.Domain,
		Secure: !a.InsecurePlainHTTP, HttpOnly: true, SameSite: a.SameSite, Partitioned: a.Partitioned,
	}
}
