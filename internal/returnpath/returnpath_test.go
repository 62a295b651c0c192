package returnpath_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/returnpath"
)

var rule = returnpath.Rule{Logins: []string{"/login", "/en/login"}, Below: []string{"/session-binding"}}

var good = []string{
	"/", "/account", "/account/", "/a/b.html?x=1&y=2", "/search?q=a+b", "/search?q=http://elsewhere.example/", "/%C3%A9t%C3%A9", "/été",
	"/@alice", "/a:b", "/javascript:alert(1)", "/account#settings", "/a%2Fb", "/login/code", "/loginx", "/session-bindings", "/.well-known/x", "/...", "/a..b",
	"/;@evil.example", "/" + strings.Repeat("a", returnpath.MaxLen-1), "/%252f%252fevil.example", "/evil.example", "/?//evil.example", "/#//evil.example",
}

// Values that a link to the login might carry.
var hostile = []struct{ name, value string }{
	{"nothing", ""},
	{"another site", "https://evil.example/"},
	{"another site, without a slash", "evil.example"},
	{"another site, in capitals", "HTTPS://EVIL.EXAMPLE"},
	{"another site, by the scheme of the page", "//evil.example"},
	{"three slashes", "///evil.example"},
	{"four slashes", "////evil.example"},
	{"a scheme and one slash", "https:/evil.example"},
	{"a scheme without a slash", "https:evil.example"},
	{"a script", "javascript:alert(1)"},
	{"data", "data:text/html,<script>alert(1)</script>"},
	{"a slash and a backslash", `/\evil.example`},
	{"a backslash and a slash", `\/evil.example`},
	{"two backslashes", `\\evil.example`},
	{"a backslash further on", `/a\..\\evil.example`},
	{"an escaped backslash", "/%5cevil.example"},
	{"an escaped backslash in capitals", "/%5Cevil.example"},
	{"an escaped backslash in the query", "/a?next=%5c%5cevil.example"},
	{"escaped slashes", "/%2f%2fevil.example"},
	{"one escaped slash", "/%2fevil.example"},
	{"slashes escaped from the first one on", "%2f%2fevil.example"},
	{"a tab between slashes", "/\t/evil.example"},
	{"an escaped tab between slashes", "/%09/evil.example"},
	{"a line feed between slashes", "/\n/evil.example"},
	{"an escaped line feed", "/%0a/evil.example"},
	{"a carriage return and a line feed for a header", "/%0d%0aSet-Cookie:%20a=b"},
	{"a NUL", "/\x00/evil.example"},
	{"an escaped NUL", "/a%00b"},
	{"DEL", "/a\x7fb"},
	{"a space before the slash", " /account"},
	{"a space after the slash", "/ /evil.example"},
	{"an escaped space", "/a%20b"},
	{"a space of Unicode", "/\u00a0/evil.example"},
	{"a control character of Latin-1", "/\u0085/evil.example"},
	{"an escaped line separator", "/%e2%80%a8/evil.example"},
	{"a character without width", "/\u200b/evil.example"},
	{"text from right to left", "/\u202eelpmaxe.live"},
	{"a byte order mark", "\ufeff//evil.example"},
	{"a dot segment before two slashes", "/.//evil.example"},
	{"an upward segment before two slashes", "/..//evil.example"},
	{"upward segments at the end", "/a/../..//evil.example"},
	{"escaped dots before two slashes", "/%2e%2e//evil.example"},
	{"one escaped dot before two slashes", "/%2e//evil.example"},
	{"two slashes further on", "/a//evil.example"},
	{"two slashes at the end", "/a//"},
	{"an upward segment", "/a/../b"},
	{"a fullwidth slash", "/／evil.example"},
	{"fullwidth slashes", "／／evil.example"},
	{"an escaped fullwidth slash", "/%ef%bc%8fevil.example"},
	{"a division slash", "/∕evil.example"},
	{"a fullwidth backslash", "/＼evil.example"},
	{"user information", "@evil.example"},
	{"user information behind two slashes", "//account@evil.example"},
	{"a port", ":80/evil.example"},
	{"a query alone", "?next=/account"},
	{"a fragment alone", "#/account"},
	{"a relative path", "account"},
	{"an upward path", "../account"},
	{"an escape that ends early", "/a%2"},
	{"an escape that is none", "/%zzevil.example"},
	{"a percent sign alone", "/100%"},
	{"bytes that are not UTF-8", "/\xff\xfe"},
	{"an escaped byte that is not UTF-8", "/%ff"},
	{"an overlong escaped slash", "/%c0%afevil.example"},
	{"more than 2 kB", "/" + strings.Repeat("a", returnpath.MaxLen)},
	{"the login", "/login"},
	{"the login with a way back", "/login?next=/login"},
	{"the login with a fragment", "/login#x"},
	{"the login with a slash", "/login/"},
	{"the login in capitals", "/LOGIN"},
	{"the login, escaped", "/%6cogin"},
	{"the login by a dot segment", "/./login"},
	{"the login by an upward segment", "/a/../login"},
	{"another login", "/en/login?x=1"},
	{"device binding", "/session-binding"},
	{"below device binding", "/session-binding/refresh/x"},
	{"below device binding, escaped", "/session%2dbinding/bounce.js"},
	{"below device binding, by an escaped slash", "/session-binding%2fbounce.js"},
}

func TestWaysBack(t *testing.T) {
	t.Parallel()
	for _, next := range good {
		if !rule.Accepts(next) {
			t.Errorf("%q is refused, want it accepted", next)
		}
	}
	for _, row := range hostile {
		if rule.Accepts(row.value) {
			t.Errorf("%s: %q is accepted, want it refused", row.name, row.value)
		}
	}
	if none := (returnpath.Rule{}); !none.Accepts("/login") || none.Accepts("//evil.example") {
		t.Error("want a rule without paths to refuse other origins alone")
	}
}

// asBrowser resolves next as a browser does (WHATWG URL): tabs and line feeds are dropped, control characters and spaces
// around it too, and a backslash is a slash.
func asBrowser(next string) (*url.URL, error) {
	next = strings.TrimFunc(next, func(r rune) bool { return r <= ' ' })
	next = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(next)
	base := &url.URL{Scheme: "https", Host: "app.example", Path: "/login"}
	u, err := url.Parse(next)
	if err != nil {
		return nil, err
	}
	return base.ResolveReference(u), nil
}

// What is accepted stays on the origin, however often somebody on the way unescapes or cleans the path.
func FuzzWaysBackStayOnTheOrigin(f *testing.F) {
	for _, next := range good {
		f.Add(next)
	}
	for _, row := range hostile {
		f.Add(row.value)
	}
	f.Fuzz(func(t *testing.T, next string) {
		if !rule.Accepts(next) {
			return
		}
		for round := range 2 {
			u, err := asBrowser(next)
			if err != nil || u.Scheme != "https" || u.Host != "app.example" || u.User != nil {
				t.Fatalf("%q leads to %v, %v, want it to stay on the origin", next, u, err)
			}
			if strings.HasPrefix(u.String(), "https://app.example//") {
				t.Fatalf("%q leads to %v, want no two slashes", next, u)
			}
			if p := strings.ToLower(u.Path); round == 0 && (p == "/login" || strings.HasPrefix(p, "/session-binding/")) {
				t.Fatalf("%q leads to %v, want neither the login nor what is below device binding", next, u)
			}
			plain, err := url.PathUnescape(next)
			if err != nil {
				t.Fatalf("%q: %v", next, err)
			}
			next = plain
			if strings.ContainsAny(next, "%") { // once more is somebody else's
				return
			}
		}
	})
}
