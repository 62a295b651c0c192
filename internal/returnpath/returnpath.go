// Package returnpath decides whether a login may send a browser back to an address that came
// with the request: whoever wrote the link to the login chose it (CWE-601).
package returnpath

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLen is how long a way back may be, in bytes.
const MaxLen = 2048

// Rule says where a way back must not lead to, by paths as the browser sees them.
type Rule struct {
	Logins []string // pages that ask for a login: the browser would go round in circles
	Below  []string // paths with all below them
}

// slashes look like one, and become one where text is normalised (NFKC).
const slashes = "⁄∕⧸⧵／＼﹨"

// Accepts tells whether next is a path of this origin, with a query and a fragment or without,
// that no browser, proxy or router takes for another: it begins with one slash, as it is and
// after one unescaping has no backslash, control character or space, and its path has no empty
// and no dot segments.
func (ru Rule) Accepts(next string) bool {
	if len(next) > MaxLen || !strings.HasPrefix(next, "/") {
		return false
	}
	plain, err := url.PathUnescape(next)
	if err != nil || !harmless(next) || !harmless(plain) {
		return false
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Opaque != "" || u.Host != "" || u.User != nil {
		return false
	}
	clean := path.Clean(u.Path)
	if clean != u.Path && clean+"/" != u.Path {
		return false
	}
	for _, login := range ru.Logins {
		if Same(clean, login) {
			return false
		}
	}
	for _, below := range ru.Below {
		if n := len(below); len(clean) >= n && strings.EqualFold(clean[:n], below) && (len(clean) == n || clean[n] == '/') {
			return false
		}
	}
	return true
}

func harmless(text string) bool {
	return utf8.ValidString(text) && !strings.HasPrefix(text, "//") &&
		!strings.ContainsFunc(text, func(r rune) bool {
			return r == '\\' || unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune(slashes, r)
		})
}

// Same tells whether two paths may name one page.
func Same(a, b string) bool { return strings.EqualFold(path.Clean("/"+a), path.Clean("/"+b)) }
