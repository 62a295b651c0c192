package compat_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// client is a browser with a cookie jar, at one server.
type client struct {
	t    *testing.T
	base string
	http *http.Client
	csrf string // the token that a page last gave, which its forms send back
}

// reply is what came back: status 0 stands for no response, or one that was cut off.
type reply struct {
	status int
	text   string
	header http.Header
	err    error
}

// protocols are those over which each row is tried.
var protocols = []string{"HTTP/1.1", "HTTP/2", "HTTP/3"}

// start serves h over the protocol and returns a client without cookies.
func start(t *testing.T, protocol string, h http.Handler) *client {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = quiet
	srv.EnableHTTP2 = protocol == "HTTP/2"
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := &client{t: t, base: srv.URL, http: srv.Client()}
	if protocol == "HTTP/3" {
		c.base, c.http = startHTTP3(t, srv, h)
	}
	return c.fresh()
}

func startHTTP3(t *testing.T, srv *httptest.Server, h http.Handler) (base string, _ *http.Client) {
	t.Helper()
	conn := listenPacket(t)
	trusted := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	server := &http3.Server{Handler: h, Logger: quietSlog, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: srv.TLS.Certificates})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(conn)
	}()
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	t.Cleanup(func() {
		_ = transport.Close()
		_ = server.Close()
		_ = conn.Close()
		<-done
	})
	return "https://" + conn.LocalAddr().String(), &http.Client{Transport: transport}
}

// fresh returns a client without cookies.
func (c *client) fresh() *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	copied := *c.http
	copied.Jar = jar
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{t: c.t, base: c.base, http: &copied}
}

func (c *client) get(path string, fields ...string) reply {
	return c.send(http.MethodGet, path, nil, fields...)
}

func (c *client) post(path string, fields ...string) reply {
	return c.send(http.MethodPost, path, nil, fields...)
}

// send does what a browser does that has a page of the site open. If seen is not nil, it is
// given what has come of the body, each time that there is more.
func (c *client) send(method, path string, seen func(string), fields ...string) reply {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	fields = append([]string{"Origin", c.base, "Referer", c.base + "/", "Sec-Fetch-Site", "same-origin", "X-CSRF-Token", c.csrf}, fields...)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	if token := res.Header.Get("X-CSRF-Token"); token != "" {
		c.csrf = token
	}
	if res.Uncompressed {
		res.Header.Set("Content-Encoding", "gzip")
	}
	body, err := read(res.Body, seen)
	if err != nil {
		return reply{err: err}
	}
	return reply{res.StatusCode, strings.TrimSpace(body), res.Header, nil}
}

func read(body io.Reader, seen func(string)) (string, error) {
	if seen == nil {
		all, err := io.ReadAll(body)
		return string(all), err
	}
	var text strings.Builder
	for buf := make([]byte, 512); ; {
		n, err := body.Read(buf)
		text.Write(buf[:n])
		seen(text.String())
		if err == io.EOF {
			return text.String(), nil
		} else if err != nil {
			return text.String(), err
		}
	}
}

// cookies returns those that the jar holds.
func (c *client) cookies() []*http.Cookie {
	u, _ := url.Parse(c.base)
	return c.http.Jar.Cookies(u)
}

// with returns a client whose jar holds cookies.
func (c *client) with(cookies []*http.Cookie) *client {
	other := c.fresh()
	u, _ := url.Parse(c.base)
	for _, k := range cookies {
		k.Path, k.Secure = "/", true
	}
	other.http.Jar.SetCookies(u, cookies)
	return other
}

// session returns the session's cookies among those that a response sets.
func (r reply) session() []*http.Cookie {
	var found []*http.Cookie
	for _, k := range (&http.Response{Header: r.header}).Cookies() {
		if k.Name == "__Host-session" {
			found = append(found, k)
		}
	}
	return found
}
