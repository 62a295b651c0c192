// Package csrf tells from a request who made it, as far as that protects from cross-site
// request forgery: whether it may change something, whether it is of this site, and which
// tokens it brings. It knows nothing of sessions and of what makes a token right.
package csrf

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	// Header carries a token.
	Header = "X-CSRF-Token"
	// Field is that of a urlencoded body.
	Field = "csrf_token"
	// MaxBody is how long a body may be for a token to be looked for in it.
	MaxBody = 1 << 20

	maxTokens = 4 // that are tried of one request
)

// Kind is what a request may do.
type Kind int

// A handshake is that of a websocket. A browser lets the pages of every site begin one, sends
// the cookies along, and can give it no header (CWE-1385).
const (
	Safe Kind = iota
	Handshake
	Unsafe
)

// overrides are the fields by which some programs take another method than the request's.
var overrides = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// KindOf tells what r may do. Its method is taken for safe as http.CrossOriginProtection does,
// unless a field of the header may make it another one.
func KindOf(r *http.Request) Kind {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	case http.MethodConnect: // of HTTP/2 and HTTP/3 (RFC 8441)
		if r.Header.Get(":protocol") == "websocket" {
			return Handshake
		}
		return Unsafe
	default:
		return Unsafe
	}
	for _, name := range overrides {
		if _, there := r.Header[name]; there {
			return Unsafe
		}
	}
	if r.Method == http.MethodGet && slices.ContainsFunc(r.Header["Upgrade"], func(v string) bool { return strings.Contains(strings.ToLower(v), "websocket") }) {
		return Handshake
	}
	return Safe
}

var protection http.CrossOriginProtection // safe for concurrent use

// CrossOrigin returns an error if r was made by a page of another origin and may do something.
func CrossOrigin(r *http.Request, k Kind) error {
	switch {
	case k == Safe:
		return nil
	case r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions:
		return protection.Check(&http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL})
	}
	return protection.Check(r)
}

// Tokens returns the tokens that r brings, at most four: those of the header, or else those of
// a urlencoded body of at most MaxBody bytes. The query has none, which ends in logs and in
// Referer, nor has a multipart body, which is parsed at any cost. The body can be read again.
func Tokens(r *http.Request) []string {
	var tokens []string
	for _, line := range r.Header[http.CanonicalHeaderKey(Header)] {
		for t := range strings.SplitSeq(line, ",") {
			if t = strings.TrimSpace(t); t != "" {
				tokens = append(tokens, t)
			}
		}
	}
	if len(tokens) == 0 {
		tokens = fromBody(r)
	}
	return tokens[:min(len(tokens), maxTokens)]
}

func fromBody(r *http.Request) []string {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" || r.ContentLength > MaxBody {
		return nil
	}
	if tokens := r.PostForm[Field]; len(tokens) > 0 { // somebody has parsed the body before
		return tokens
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	read, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failed{err}
	}
	r.Body = &replayed{io.MultiReader(bytes.NewReader(read), rest), r.Body}
	if err != nil || len(read) > MaxBody {
		return nil
	}
	form, _ := url.ParseQuery(string(read)) // what can be read of it, as net/http does
	return form[Field]
}

// replayed is a body of which a part was read.
type replayed struct {
	io.Reader
	io.Closer
}

type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }
