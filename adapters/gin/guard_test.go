package ginsession_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/redsessiontest"
)

// guards are those of a Manager, for gin.
func guards(m *redsession.Manager) map[string]gin.HandlerFunc {
	return map[string]gin.HandlerFunc{
		"RequireLogin":       ginsession.RequireLogin(m),
		"RequireRecentLogin": ginsession.RequireRecentLogin(m, time.Minute),
		"RequireLevel":       ginsession.RequireLevel(m, 2),
		"RequireProof":       ginsession.RequireProof(m, time.Minute),
	}
}

func binding(c *redsession.Config) {
	c.Cookie = redsession.Cookie{}
	c.DeviceBinding.Enabled = true
}

func TestGuardsOfAManagerAreAllHere(t *testing.T) {
	have := guards(redsessiontest.New(t, binding).Manager)
	for method := range reflect.TypeFor[*redsession.Manager]().Methods() {
		if name := method.Name; strings.HasPrefix(name, "Require") && have[name] == nil {
			t.Errorf("Manager.%s has no counterpart for gin", name)
		}
	}
}

func TestGuardsPassOnWhatTheyArePassed(t *testing.T) {
	m := redsessiontest.New(t, binding)
	e := engine(ginsession.Middleware(m.Manager))
	e.GET("/login", func(c *gin.Context) { ginsession.FromContext(c).Login("alice", redsession.Proved(2, "pwd", "otp")) })
	e.GET("/", func(c *gin.Context) { c.String(200, "bound: %t", ginsession.FromContext(c).DeviceBound()) })
	after := 0
	for name, guard := range guards(m.Manager) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			e.Handle(method, "/"+name, guard, func(c *gin.Context) {
				after++
				c.String(200, "let in")
			})
		}
	}
	b := m.Browser()
	for _, step := range []struct {
		method, path string
		wait         time.Duration
		want         string
	}{
		{"GET", "/RequireLogin", 0, "401 Please log in.\n"},
		{"GET", "/RequireLevel", 0, "401 Please log in.\n"},
		{"GET", "/RequireProof", 0, "401 Please log in.\n"},
		{"GET", "/login", 0, "200 "},
		{"GET", "/", 0, "200 bound: false"}, // it is from now on
		{"GET", "/", 0, "200 bound: true"},
		{"GET", "/RequireLogin", 0, "200 let in"},
		{"GET", "/RequireLevel", 0, "200 let in"},
		{"GET", "/RequireRecentLogin", 0, "200 let in"},
		{"GET", "/RequireProof", 0, "200 let in"},
		{"POST", "/RequireProof", 2 * time.Minute, "403 This request is not allowed from here. Please load the page again.\n"},
		{"GET", "/RequireProof", 0, "307 <a href=\"/RequireProof\">Temporary Redirect</a>.\n\n"},
		{"GET", "/RequireProof", 0, "200 let in"},
		{"POST", "/RequireProof", 0, "200 let in"},
		{"GET", "/RequireRecentLogin", 0, "401 Please log in.\n"},
	} {
		m.Advance(step.wait)
		before := after
		res := b.Do(e, httptest.NewRequest(step.method, "https://example.com"+step.path, nil))
		body, _ := io.ReadAll(res.Body)
		got := fmt.Sprintf("%d %s", res.StatusCode, body)
		if got != step.want {
			t.Errorf("%s %s: got %q, want %q", step.method, step.path, got, step.want)
		}
		if let := strings.HasSuffix(step.want, "let in"); (after > before) != let {
			t.Errorf("%s %s: the handler was called: %v, want %v", step.method, step.path, after > before, let)
		}
	}
}
