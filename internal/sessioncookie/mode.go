package sessioncookie

import (
	"net/http"
	"strings"
)

// Insecure tells the mode of r: whether it is one of those that Attributes.InsecureWhen names.
// What came by TLS never is, and then nobody is asked. Ask once a request: the answer may
// change.
func (c *Codec) Insecure(r *http.Request) bool { return c.insecure != nil && r.TLS == nil && c.when(r) }

// Name is that of the cookie of requests of a mode.
func (c *Codec) Name(insecure bool) string { return c.face(insecure).attributes.Name }

// Has tells whether name is that of a cookie of ours, in either mode.
func (c *Codec) Has(name string) bool { return name == c.Name(false) || name == c.Name(true) }

// face is the one of that mode. Where none is insecure, there is one mode.
func (c *Codec) face(insecure bool) *face {
	if insecure && c.insecure != nil {
		return c.insecure
	}
	return c.secure
}

// prefixes of names that browsers accept for Secure cookies alone, in any case (RFC 6265bis
// 4.1.3).
var prefixes = []string{"__host-http-", "__host-", "__secure-", "__http-"}

// BareName is name without the prefixes for which browsers demand a Secure cookie, however many
// it begins with.
func BareName(name string) string {
	for i := 0; i < len(prefixes); i++ {
		if p := prefixes[i]; len(name) >= len(p) && strings.EqualFold(name[:len(p)], p) {
			name, i = name[len(p):], -1
		}
	}
	return name
}
