package ginsession_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/redsessiontest"
)

func TestRequireLevel(t *testing.T) {
	m := redsessiontest.New(t)
	e := engine(ginsession.Middleware(m.Manager))
	e.GET("/login", func(c *gin.Context) { ginsession.FromContext(c).Login("alice", redsession.Proved(1, "pwd")) })
	e.GET("/factor", func(c *gin.Context) { ginsession.FromContext(c).Login("alice", redsession.Proved(2, "otp")) })
	e.GET("/salaries", ginsession.RequireLevel(m.Manager, 2), func(c *gin.Context) { c.String(200, "gold") })
	b := newBrowser(t, serve(t, e, false))
	for _, step := range []struct {
		path string
		want int
	}{{"/salaries", 401}, {"/login", 200}, {"/salaries", 401}, {"/factor", 200}, {"/salaries", 200}} {
		if a := b.get(step.path); a.StatusCode != step.want || strings.Contains(a.body, "gold") != (step.want == 200 && step.path == "/salaries") {
			t.Errorf("%s: got %d %q, want %d", step.path, a.StatusCode, a.body, step.want)
		}
	}
}

func TestCSRF(t *testing.T) {
	m := redsessiontest.New(t)
	e := engine(ginsession.Middleware(m.Manager), ginsession.CSRF(m.Manager))
	e.POST("/login", func(c *gin.Context) { ginsession.FromContext(c).Login("alice") })
	e.GET("/token", func(c *gin.Context) { c.String(200, ginsession.FromContext(c).CSRFToken()) })
	e.POST("/pay", func(c *gin.Context) { c.String(200, "paid "+c.PostForm("to")) })
	srv := serve(t, e, false)
	b := newBrowser(t, srv)
	if a := b.do("POST", "/login"); a.StatusCode != 200 {
		t.Fatalf("the login: got %d %q", a.StatusCode, a.body)
	}
	token := b.get("/token").body
	for _, row := range []struct {
		name   string
		form   url.Values
		header [2]string
		want   string
	}{
		{"with the token in the form, whose body is still there", url.Values{"to": {"bob"}, redsession.CSRFField: {token}}, [2]string{}, "200 paid bob"},
		{"with the token in the header", url.Values{"to": {"bob"}}, [2]string{redsession.CSRFHeader, token}, "200 paid bob"},
		{"without a token", url.Values{"to": {"bob"}}, [2]string{}, "403 This request is not allowed from here. Please load the page again."},
		{"from another site, with a token", url.Values{"to": {"bob"}, redsession.CSRFField: {token}}, [2]string{"Sec-Fetch-Site", "cross-site"}, "403 This request is not allowed from here. Please load the page again."},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/pay", strings.NewReader(row.form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if row.header[0] != "" {
			r.Header.Set(row.header[0], row.header[1])
		}
		res, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if got := strings.TrimSpace(res.Status[:4] + string(body)); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// TestDeviceBinding has gin's engine in the place of a program's mux: the endpoints of device
// binding are no routes, and are answered all the same.
func TestDeviceBinding(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Cookie = redsession.Cookie{}
		c.DeviceBinding.Enabled = true
	})
	e := engine(ginsession.Middleware(m.Manager))
	e.GET("/login", func(c *gin.Context) { ginsession.FromContext(c).Login("alice") })
	e.GET("/", func(c *gin.Context) { c.String(200, ginsession.FromContext(c).UserID()) })
	proof := ginsession.RequireProof(m.Manager, time.Minute)
	e.GET("/vault", proof, func(c *gin.Context) { c.String(200, "gold") })
	e.POST("/vault", proof, func(c *gin.Context) { c.String(200, "gold") })
	owner := m.Browser()
	get := func(b *redsessiontest.Browser, path string, want int) string {
		t.Helper()
		res := b.Get(e, path)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != want || (strings.Contains(string(body), "gold") != (want == 200 && path == "/vault")) {
			t.Errorf("%s: got %d %q, want %d", path, res.StatusCode, body, want)
		}
		return string(body)
	}
	get(owner, "/vault", 401)
	get(owner, "/login", 200)
	get(owner, "/", 200)
	get(owner, "/vault", 200)
	thief := owner.Thief()
	m.Advance(2 * time.Minute)
	if res := owner.Do(e, httptest.NewRequest("POST", "https://example.com/vault", nil)); res.StatusCode != 403 {
		t.Errorf("got %d for a POST without a fresh proof, want 403", res.StatusCode)
	}
	get(owner, "/vault", 307)
	get(owner, "/vault", 200)
	get(owner, "/session-binding/bounce.js", 200)
	get(thief, "/vault", 307)
	get(thief, "/vault", 401)
	m.Advance(11 * time.Minute)
	if got := get(owner, "/", 200); got != "alice" {
		t.Errorf("the owner: got %q, want alice", got)
	}
	if got := get(thief, "/", 200); got != "" {
		t.Errorf("the thief: got %q, want nobody", got)
	}
}
