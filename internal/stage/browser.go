package stage

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redsession/redsession"
)

// Handlers maps a path to what its handler does with the session.
type Handlers map[string]func(w http.ResponseWriter, r *http.Request, s *redsession.Session)

// Serve starts an HTTP server whose handlers run inside m.
func Serve(t *testing.T, m *redsession.Manager, hs Handlers) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(m.Handler(hs.Mux()))
	t.Cleanup(srv.Close)
	return srv
}

// Mux serves hs; it must be inside a Manager.
func (hs Handlers) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range hs {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { h(w, r, redsession.FromContext(r.Context())) })
	}
	return mux
}

// Browser is a client with a cookie jar.
type Browser struct {
	T    *testing.T
	Base string
	HTTP *http.Client
}

// NewBrowser returns a browser without a cookie on srv. It follows no redirect and trusts any certificate.
func NewBrowser(t *testing.T, srv *httptest.Server) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{t, srv.URL, &http.Client{
		Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer is a response with its body read.
type Answer struct {
	*http.Response
	Text string
}

// Get fetches path. It may be called by several goroutines; it fails the test
// if there is no response at all.
func (b *Browser) Get(path string) Answer {
	b.T.Helper()
	a, err := b.Try(path)
	if err != nil {
		b.T.Error(err)
		return Answer{Response: &http.Response{Header: http.Header{}}}
	}
	return a
}

// Try is Get, and returns the error.
func (b *Browser) Try(path string) (Answer, error) {
	res, err := b.HTTP.Get(b.Base + path)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	sinkCookies(res)
	body, err := io.ReadAll(res.Body)
	return Answer{res, string(body)}, err
}

// Cookie returns the value of the session cookie in the jar, "" if there is none.
func (b *Browser) Cookie() string {
	u, err := url.Parse(b.Base)
	if err != nil {
		b.T.Fatal(err)
	}
	for _, c := range b.HTTP.Jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "session") {
			return c.Value
		}
	}
	return ""
}

// With returns a browser of its own whose jar holds cookie as the session.
func (b *Browser) With(cookie string) *Browser {
	b.T.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.T.Fatal(err)
	}
	u, _ := url.Parse(b.Base)
	jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: cookie, Path: "/"}})
	return &Browser{b.T, b.Base, &http.Client{Jar: jar, Transport: b.HTTP.Transport, CheckRedirect: b.HTTP.CheckRedirect}}
}

// SetCookies returns the session's Set-Cookie headers of a response.
func (a Answer) SetCookies() []*http.Cookie {
	var found []*http.Cookie
	for _, c := range a.Cookies() {
		if strings.HasSuffix(c.Name, "session") {
			found = append(found, c)
		}
	}
	return found
}

// Fresh returns a browser of its own without a cookie.
func (b *Browser) Fresh() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.T.Fatal(err)
	}
	client := *b.HTTP
	client.Jar = jar
	return &Browser{b.T, b.Base, &client}
}

// Browse starts a server that does not log panics and returns its browser.
func Browse(t *testing.T, h http.Handler, h2 bool) *Browser {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(srv.Close)
	if !h2 {
		srv.Start()
		return NewBrowser(t, srv)
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	b := NewBrowser(t, srv)
	b.HTTP.Transport = srv.Client().Transport
	return b
}

// FirstByte calls opening before the first byte of a final response passes.
type FirstByte struct {
	http.ResponseWriter
	Opening func()
	open    bool
}

func (f *FirstByte) pass() {
	if !f.open {
		f.open = true
		f.Opening()
	}
}

// Write calls Opening first.
func (f *FirstByte) Write(p []byte) (int, error) { f.pass(); return f.ResponseWriter.Write(p) }

// WriteHeader calls Opening first, unless code is informational.
func (f *FirstByte) WriteHeader(code int) {
	if code >= 200 || code == http.StatusSwitchingProtocols {
		f.pass()
	}
	f.ResponseWriter.WriteHeader(code)
}

// FlushError calls Opening first.
func (f *FirstByte) FlushError() error {
	f.pass()
	return http.NewResponseController(f.ResponseWriter).Flush()
}

// ReadFrom calls Opening first.
func (f *FirstByte) ReadFrom(src io.Reader) (int64, error) {
	f.pass()
	return io.Copy(f.ResponseWriter, src)
}

// Unwrap leads a hijacker past it.
// Unwrap leads a ResponseController on.
func (f *FirstByte) Unwrap() http.ResponseWriter { return f.ResponseWriter }
