package ginsession_test

import (
	"bytes"
	"html/template"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/redsessiontest"
)

// responses are the ways in which a gin handler answers.
func responses(t *testing.T) map[string]gin.HandlerFunc {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]gin.HandlerFunc{
		"nothing":                      func(*gin.Context) {},
		"Status":                       func(c *gin.Context) { c.Status(http.StatusCreated) },
		"Status twice":                 func(c *gin.Context) { c.Status(http.StatusCreated); c.Status(http.StatusAccepted) },
		"Status and then JSON":         func(c *gin.Context) { c.Status(http.StatusCreated); c.JSON(http.StatusOK, gin.H{"a": 1}) },
		"JSON":                         func(c *gin.Context) { c.JSON(http.StatusTeapot, gin.H{"a": 1}) },
		"String":                       func(c *gin.Context) { c.String(http.StatusOK, "hello %d", 1) },
		"HTML":                         func(c *gin.Context) { c.HTML(http.StatusOK, "page", "x") },
		"Redirect":                     func(c *gin.Context) { c.Redirect(http.StatusSeeOther, "/elsewhere") },
		"Data without a body":          func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", nil) },
		"Data where none is allowed":   func(c *gin.Context) { c.Data(http.StatusNoContent, "text/plain", []byte("x")) },
		"DataFromReader":               func(c *gin.Context) { c.DataFromReader(200, 5, "text/plain", strings.NewReader("hello"), nil) },
		"File":                         func(c *gin.Context) { c.File(file) },
		"File not modified":            func(c *gin.Context) { c.Request.Header.Set("Range", "bytes=10-19"); c.File(file) },
		"File that is missing":         func(c *gin.Context) { c.File(file + "x") },
		"FileAttachment":               func(c *gin.Context) { c.FileAttachment(file, "name.txt") },
		"Stream":                       stream,
		"SSEvent":                      func(c *gin.Context) { c.SSEvent("tick", "1"); c.Writer.Flush(); c.SSEvent("tick", "2") },
		"Flush first":                  func(c *gin.Context) { c.Status(http.StatusCreated); c.Writer.Flush(); c.String(200, "late") },
		"Flush by ResponseController":  func(c *gin.Context) { _ = http.NewResponseController(c.Writer).Flush() },
		"Write":                        func(c *gin.Context) { _, _ = c.Writer.Write([]byte("hello")) },
		"WriteString":                  func(c *gin.Context) { _, _ = c.Writer.WriteString("hello") },
		"io.Copy":                      func(c *gin.Context) { _, _ = io.Copy(c.Writer, strings.NewReader("hello")) },
		"WriteHeaderNow twice":         func(c *gin.Context) { c.Status(202); c.Writer.WriteHeaderNow(); c.Writer.WriteHeaderNow() },
		"WriteHeaderNow, too late":     func(c *gin.Context) { c.Writer.WriteHeaderNow(); c.Status(500) },
		"Abort":                        func(c *gin.Context) { c.Abort() },
		"AbortWithStatus":              func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) },
		"AbortWithStatusJSON":          func(c *gin.Context) { c.AbortWithStatusJSON(http.StatusForbidden, gin.H{"a": 1}) },
		"AbortWithError":               func(c *gin.Context) { _ = c.AbortWithError(http.StatusBadRequest, io.EOF) },
		"a header of the handler's":    func(c *gin.Context) { c.Header("X-Mine", "1"); c.Header("Vary", "Accept"); c.Status(200) },
		"a cookie of the handler's":    func(c *gin.Context) { c.SetCookie("theme", "dark", 60, "/", "", false, true); c.String(200, "x") },
		"what cannot be rendered":      func(c *gin.Context) { c.JSON(http.StatusOK, func() {}) },
		"early hints":                  earlyHints,
		"HandleContext":                handleContext("/target"),
		"HandleContext without a body": handleContext("/empty"),
		"HandleContext to nowhere":     handleContext("/nowhere"),
		"HandleContext and more":       func(c *gin.Context) { handleContext("/target")(c); c.String(200, " and more") },
	}
}

func stream(c *gin.Context) {
	n := 0
	c.Stream(func(w io.Writer) bool {
		n++
		_, _ = io.WriteString(w, "line\n")
		return n < 3
	})
}

func earlyHints(c *gin.Context) {
	c.Header("Link", "</style.css>; rel=preload")
	c.Status(http.StatusEarlyHints)
	c.Writer.WriteHeaderNow()
	_, _ = c.Writer.WriteString("hello")
}

// handleContext answers as another route does.
func handleContext(path string) gin.HandlerFunc {
	return func(c *gin.Context) {
		e, _ := c.Get("engine")
		c.Request.URL.Path = path
		e.(*gin.Engine).HandleContext(c)
	}
}

// seen is what a middleware outside sees of a response.
type seen struct {
	status, size int
	written      bool
}

// outside notes what a middleware sees when the handlers are done.
func outside(e **gin.Engine, s *seen) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Set("engine", *e)
		c.Next()
		*s = seen{c.Writer.Status(), c.Writer.Size(), c.Writer.Written()}
	}
}

// build serves each response at its name, after before.
func build(t *testing.T, s *seen, before gin.HandlerFunc, use ...gin.HandlerFunc) *gin.Engine {
	t.Helper()
	var e *gin.Engine
	first := outside(&e, s)
	e = engine(append([]gin.HandlerFunc{first}, use...)...)
	e.SetHTMLTemplate(template.Must(template.New("page").Parse("<p>{{.}}</p>")))
	for name, h := range responses(t) {
		e.Any("/"+strings.ReplaceAll(name, " ", "_"), func(c *gin.Context) { c.Set("engine", e) }, before, h)
	}
	e.Any("/target", func(c *gin.Context) { c.String(http.StatusAccepted, "target") })
	e.Any("/empty", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	return e
}

func TestEveryResponseIsWhatGinMakesOfItAndHasTheCookie(t *testing.T) {
	for name := range responses(t) {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			if name == "Stream" && method == "HEAD" {
				continue // the client is done after the headers; how far gin goes on is chance
			}
			t.Run(method+" "+name, func(t *testing.T) {
				path := "/" + strings.ReplaceAll(name, " ", "_")
				var plainSeen, ourSeen seen
				plainSrv := serve(t, build(t, &plainSeen, func(*gin.Context) {}), false)
				plain := newBrowser(t, plainSrv).do(method, path)
				plainSrv.Close() // waits for the middleware outside

				m := redsessiontest.New(t)
				login := func(c *gin.Context) { ginsession.FromContext(c).Login("alice") }
				ourSrv := serve(t, build(t, &ourSeen, login, ginsession.Middleware(m.Manager)), false)
				ours := newBrowser(t, ourSrv).do(method, path)
				ourSrv.Close()
				if plain.err != nil || ours.err != nil {
					t.Fatalf("got the errors %v without sessions and %v with", plain.err, ours.err)
				}
				if ours.StatusCode != plain.StatusCode || ours.body != plain.body {
					t.Errorf("got %d and %d bytes, want gin's %d and %d", ours.StatusCode, len(ours.body), plain.StatusCode, len(plain.body))
				}
				if ourSeen != plainSeen {
					t.Errorf("a middleware outside: got %+v, want gin's %+v", ourSeen, plainSeen)
				}
				if got, want := headers(ours), headers(plain); !slices.Equal(got, want) {
					t.Errorf("got the headers %q, want gin's %q", got, want)
				}
				if c := m.Cookie(ours.Response); c == nil || c.MaxAge < 0 || len(ours.Cookies()) != len(plain.Cookies())+1 {
					t.Fatalf("got %d cookies, want the session's and what the handler set", len(ours.Cookies()))
				}
				if ours.Header.Get("Cache-Control") != "no-store" || !slices.Contains(ours.Header.Values("Vary"), "Cookie") {
					t.Error("a response with the cookie may be cached")
				}
				m.After(&http.Request{Header: http.Header{}}, ours.Response, func(s *redsession.Session) {
					if s.UserID() != "alice" {
						t.Errorf("afterwards: got the user %q, want alice", s.UserID())
					}
				})
			})
		}
	}
}

// headers returns those that are no matter of the session's or of time, sorted.
func headers(a answer) (lines []string) {
	h := a.Header.Clone()
	for _, name := range []string{"Set-Cookie", "Cache-Control", "Vary", "Date", "Last-Modified"} {
		h.Del(name)
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, name+": "+strings.Join(h[name], ", "))
	}
	return lines
}

func TestAChangeThatCannotBeKeptReplacesEveryResponse(t *testing.T) {
	for name := range responses(t) {
		switch name {
		case "early hints", "HandleContext and more":
			continue // the hints have left; the other answer is the next test's
		}
		t.Run(name, func(t *testing.T) {
			m := redsessiontest.New(t)
			spoil := func(c *gin.Context) {
				s := ginsession.FromContext(c)
				gone(t, m, s)
				visits.Set(s, 1)
				c.Header("X-Handler", "1")
				c.Header("Content-Type", "image/png")
			}
			var outer seen
			e := build(t, &outer, spoil, func(c *gin.Context) { c.Header("X-Outside", "1") }, ginsession.Middleware(m.Manager))
			srv := serve(t, e, false)
			b := newBrowser(t, srv)
			r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/"+strings.ReplaceAll(name, " ", "_"), nil)
			res, err := b.Do(m.Login(r, "alice"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			srv.Close()
			const want = "Your session has ended. Please load the page again.\n"
			if res.StatusCode != http.StatusConflict || string(body) != want {
				t.Errorf("got %d %.80q, want 409 and nothing of the handler's", res.StatusCode, body)
			}
			if outer != (seen{http.StatusConflict, len(want), true}) {
				t.Errorf("a middleware outside: got %+v, want what was sent", outer)
			}
			if h := res.Header; h.Get("X-Handler") != "" || h.Get("X-Outside") != "1" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
				t.Error("got headers of the handler's, or none of those from outside")
			}
			if len(res.Cookies()) != 0 {
				t.Error("got a cookie, want none")
			}
		})
	}
}
