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
	return &client{c.t, c.base, &copied}
}

func (c *client) get(path string, fields ...string) reply {
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{err: err}
	}
	return reply{res.StatusCode, strings.TrimSpace(string(body)), res.Header, nil}
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
