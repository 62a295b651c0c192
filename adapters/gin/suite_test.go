package ginsession_test

import (
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

const visits = redsession.Key[int]("visits")

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultErrorWriter = io.Discard
	os.Exit(m.Run())
}

// engine returns gin with handlers for all routes.
func engine(use ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(use...)
	return r
}

// serve starts a server, of HTTP/2 if h2.
func serve(t *testing.T, h http.Handler, h2 bool) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if h2 {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// browser is a client with a cookie jar that follows no redirects.
type browser struct {
	*http.Client
	t    *testing.T
	base string
}

func newBrowser(t *testing.T, srv *httptest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{
		Jar: jar, Transport: srv.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, t, srv.URL}
}

// answer is a response with its body read, as far as that went.
type answer struct {
	*http.Response
	body string
	err  error
}

// do sends a request. What went wrong, on either side of the headers, is in err.
func (b *browser) do(method, path string) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil {
		return answer{&http.Response{Header: http.Header{}}, "", err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res, string(body), err}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	a := b.do(http.MethodGet, path)
	if a.err != nil {
		b.t.Fatal(a.err)
	}
	return a
}

// gone ends the session of c's request behind its back, so that a change to it
// cannot be kept.
func gone(t *testing.T, m *redsessiontest.Manager, s *redsession.Session) {
	t.Helper()
	if err := m.Revoke(t.Context(), s.ID()); err != nil {
		t.Error(err)
	}
}
