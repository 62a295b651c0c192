package ginsession_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/redsessiontest"
)

func TestASessionFromLoginToLogout(t *testing.T) {
	m := redsessiontest.New(t)
	e := engine(gin.Recovery(), ginsession.Middleware(m.Manager))
	e.POST("/login", func(c *gin.Context) {
		ginsession.FromContext(c).Login("alice")
		c.Redirect(http.StatusSeeOther, "/")
	})
	e.GET("/", func(c *gin.Context) { c.JSON(200, gin.H{"user": ginsession.FromContext(c).UserID()}) })
	e.POST("/logout", func(c *gin.Context) { ginsession.FromContext(c).Logout() })
	in := e.Group("/in", ginsession.RequireLogin(m.Manager), func(c *gin.Context) { c.Header("X-In", "1") })
	in.GET("/cave", func(c *gin.Context) { c.String(200, "gold") })
	recent := ginsession.RequireRecentLogin(m.Manager, time.Minute)
	in.GET("/vault", recent, func(c *gin.Context) { c.String(200, "more gold") })
	srv := serve(t, e, false)
	b := newBrowser(t, srv)
	for _, step := range []struct {
		method, path string
		wait         time.Duration
		status       int
		body, cookie string
	}{
		{"GET", "/", 0, 200, `{"user":""}`, ""},
		{"GET", "/in/cave", 0, 401, "Please log in.\n", ""},
		{"POST", "/login", 0, 303, "", "set"},
		{"GET", "/", 0, 200, `{"user":"alice"}`, ""},
		{"GET", "/in/cave", 0, 200, "gold", ""},
		{"GET", "/in/vault", 0, 200, "more gold", ""},
		{"GET", "/in/vault", 2 * time.Minute, 401, "Please log in.\n", ""},
		{"GET", "/in/cave", 3 * time.Hour, 200, "gold", "set"}, // the timed rotation
		{"GET", "/in/cave", 0, 200, "gold", ""},
		{"POST", "/logout", 0, 200, "", "expired"},
		{"GET", "/in/cave", 0, 401, "Please log in.\n", ""},
	} {
		m.Advance(step.wait)
		a := b.do(step.method, step.path)
		cookie := ""
		if c := m.Cookie(a.Response); c != nil && c.MaxAge < 0 {
			cookie = "expired"
		} else if c != nil {
			cookie = "set"
		}
		if a.err != nil || a.StatusCode != step.status || a.body != step.body || cookie != step.cookie {
			t.Errorf("%s %s: got %d %q, cookie %q, error %v; want %d %q, cookie %q",
				step.method, step.path, a.StatusCode, a.body, cookie, a.err, step.status, step.body, step.cookie)
		}
		if passed := a.Header.Get("X-In") != ""; step.path == "/in/cave" && passed != (a.StatusCode == 200) {
			t.Errorf("%d: got handlers after the guard: %v", a.StatusCode, passed)
		}
	}
}

func TestUnknownRoutesHaveASession(t *testing.T) {
	for _, row := range []struct {
		name, method, path string
		own                bool
		status             int
		body               string
	}{
		{"404 of gin's", "GET", "/nowhere", false, 404, "404 page not found"},
		{"405 of gin's", "POST", "/known", false, 405, "405 method not allowed"},
		{"404 of the program's", "GET", "/nowhere", true, 404, `{"missing":"/nowhere"}`},
		{"405 of the program's", "POST", "/known", true, 405, `{"missing":"/known"}`},
		{"a trailing slash, which gin redirects by itself", "GET", "/known/", false, 301, "<a href=\"/known\">Moved Permanently</a>.\n\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := redsessiontest.New(t)
			e := engine(ginsession.Middleware(m.Manager), func(c *gin.Context) {
				visits.Update(ginsession.FromContext(c), func(n int) int { return n + 1 })
			})
			e.GET("/known", func(*gin.Context) {})
			if row.own {
				missing := func(c *gin.Context) { c.JSON(c.Writer.Status(), gin.H{"missing": c.Request.URL.Path}) }
				e.NoRoute(missing)
				e.NoMethod(missing)
			}
			a := newBrowser(t, serve(t, e, false)).do(row.method, row.path)
			if a.err != nil || a.StatusCode != row.status || a.body != row.body {
				t.Errorf("got %d %q and the error %v, want %d %q", a.StatusCode, a.body, a.err, row.status, row.body)
			}
			if got, want := m.Cookie(a.Response) != nil, row.status != 301; got != want {
				t.Errorf("got a cookie: %v, want %v", got, want)
			}
		})
	}
}

func TestASessionThatCannotBeLoadedAbortsTheChain(t *testing.T) {
	m := redsessiontest.New(t)
	ran := false
	e := engine(ginsession.Middleware(m.Manager), func(*gin.Context) { ran = true })
	e.GET("/", func(c *gin.Context) { c.String(200, "hello") })
	r := m.Login(httptest.NewRequest("GET", "/", nil), "alice")
	m.Advance(10 * time.Minute) // past OutageMaxStale
	m.TakeRedisAway()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if ran || w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "hello") {
		t.Errorf("got %d %q, handlers called: %v; want 503 and none", w.Code, w.Body, ran)
	}
}

func TestMiddlewareWithoutWork(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Skip = func(r *http.Request) bool { return r.URL.Path == "/skipped" }
	})
	mw := ginsession.Middleware(m.Manager)
	e := engine(mw)
	e.GET("/skipped", func(c *gin.Context) {
		if _, ok := redsession.Lookup(c.Request.Context()); ok {
			t.Error("a skipped request has a session")
		}
		c.String(200, "skipped")
	})
	e.GET("/twice", mw, func(c *gin.Context) {
		ginsession.FromContext(c).Login("alice")
		c.String(200, "twice")
	})
	b := newBrowser(t, serve(t, e, false))
	if a := b.get("/skipped"); a.body != "skipped" || len(a.Header.Values("Vary")) > 0 {
		t.Errorf("a skipped request: got %q, Vary %q", a.body, a.Header.Values("Vary"))
	}
	if a := b.get("/twice"); a.body != "twice" || len(a.Cookies()) != 1 {
		t.Errorf("Middleware twice: got %q and %d cookies, want 1", a.body, len(a.Cookies()))
	}
}

func TestTwoManagersEachHaveTheirCookie(t *testing.T) {
	site, shop := redsessiontest.New(t), redsessiontest.New(t, func(c *redsession.Config) { c.Cookie.Name = "shop" })
	e := engine(ginsession.Middleware(site.Manager), func(c *gin.Context) { ginsession.FromContext(c).Login("alice") },
		ginsession.Middleware(shop.Manager))
	e.GET("/", func(c *gin.Context) {
		ginsession.FromContext(c).Login("bob")
		c.String(200, "hello")
	})
	a := newBrowser(t, serve(t, e, false)).get("/")
	for m, want := range map[*redsessiontest.Manager]string{site: "alice", shop: "bob"} {
		m.After(httptest.NewRequest("GET", "/", nil), a.Response, func(s *redsession.Session) {
			if s.UserID() != want {
				t.Errorf("got the user %q, want %q", s.UserID(), want)
			}
		})
	}
}

func TestHandlersOutsideHaveNoSessionToChangeInVain(t *testing.T) {
	m := redsessiontest.New(t)
	e := engine(func(c *gin.Context) {
		c.Next()
		if _, ok := redsession.Lookup(c.Request.Context()); ok {
			t.Error("after the commit: got a session, want none")
		}
		_, _ = c.Writer.WriteString(" and more")
	}, ginsession.Middleware(m.Manager))
	e.GET("/", func(c *gin.Context) { c.String(200, "hello") })
	if a := newBrowser(t, serve(t, e, false)).get("/"); a.body != "hello and more" {
		t.Errorf("got %q, want what both wrote", a.body)
	}
}

func TestHandlersOutsideMayWriteThePageOfAFailedCommit(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusConflict) }
	})
	e := engine(func(c *gin.Context) {
		if c.Next(); !c.Writer.Written() && c.Writer.Status() >= 400 {
			c.Header("X-Page", "1")
			c.String(-1, "status %d", c.Writer.Status())
		}
	}, ginsession.Middleware(m.Manager))
	e.GET("/", func(c *gin.Context) {
		s := ginsession.FromContext(c)
		gone(t, m, s)
		visits.Set(s, 1)
		c.Status(http.StatusCreated)
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, m.Login(httptest.NewRequest("GET", "/", nil), "alice"))
	if w.Code != 409 || w.Body.String() != "status 409" || w.Header().Get("X-Page") == "" {
		t.Errorf("got %d %q, want the page from outside", w.Code, w.Body)
	}
}

func TestConcurrentRequestsOfOneSessionKeepAllTheirChanges(t *testing.T) {
	const clients = 30
	m := redsessiontest.New(t)
	e := engine(gin.Recovery(), ginsession.Middleware(m.Manager))
	e.GET("/visit", func(c *gin.Context) {
		visits.Update(ginsession.FromContext(c), func(n int) int { return n + 1 })
		c.JSON(200, gin.H{"ok": true})
	})
	srv := serve(t, e, false)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/visit", nil)
	r = m.Login(r, "alice")
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			res, err := srv.Client().Do(r.Clone(t.Context()))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != 200 {
				t.Errorf("got %d, want 200", res.StatusCode)
			}
		})
	}
	wg.Wait()
	m.With(r, func(s *redsession.Session) {
		if n, _ := visits.Get(s); n != clients {
			t.Errorf("got %d visits, want %d", n, clients)
		}
	})
}

func TestTheWriterCanWhatGinsCan(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2 %v", h2), func(t *testing.T) {
			m := redsessiontest.New(t)
			e := engine(ginsession.Middleware(m.Manager))
			e.GET("/", func(c *gin.Context) {
				visits.Set(ginsession.FromContext(c), 1)
				w := c.Writer
				if w.Status() != 200 || w.Size() != -1 || w.Written() {
					t.Errorf("before: got %d, %d bytes, written %v", w.Status(), w.Size(), w.Written())
				}
				if w.CloseNotify() == nil || (w.Pusher() != nil) != h2 {
					t.Errorf("got no CloseNotify, or the Pusher %v", w.Pusher())
				}
				rc := http.NewResponseController(w)
				for _, err := range []error{rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex()} {
					if err != nil && !h2 {
						t.Error(err)
					}
				}
				c.Status(http.StatusCreated)
				if w.Status() != http.StatusCreated || w.Written() {
					t.Errorf("after Status: got %d, written %v", w.Status(), w.Written())
				}
				w.WriteHeaderNow()
				if w.Size() != 0 || !w.Written() {
					t.Errorf("after WriteHeaderNow: got %d bytes, written %v", w.Size(), w.Written())
				}
				if n, err := w.WriteString("hello"); n != 5 || err != nil || w.Size() != 5 {
					t.Errorf("after WriteString: got %d, %v, %d bytes", n, err, w.Size())
				}
			})
			if a := newBrowser(t, serve(t, e, h2)).get("/"); a.StatusCode != 201 || a.body != "hello" || m.Cookie(a.Response) == nil {
				t.Errorf("got %d %q, want 201 hello and the cookie", a.StatusCode, a.body)
			}
		})
	}
}

func TestHijackingCommitsFirst(t *testing.T) {
	for _, row := range []struct {
		name   string
		ended  bool
		before func(c *gin.Context)
		want   string // the status line
	}{
		{"a connection taken over", false, func(*gin.Context) {}, "HTTP/1.1 200 mine"},
		{"after 101, as websocket packages do", false, func(c *gin.Context) { c.Status(101); c.Writer.WriteHeaderNow() }, "HTTP/1.1 101 Switching Protocols"},
		{"a change that cannot be kept", true, func(*gin.Context) {}, "HTTP/1.1 409 Conflict"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := redsessiontest.New(t)
			e := engine(gin.Recovery(), ginsession.Middleware(m.Manager))
			e.GET("/", func(c *gin.Context) {
				s := ginsession.FromContext(c)
				if visits.Set(s, 7); row.ended {
					gone(t, m, s)
				}
				row.before(c)
				conn, rw, err := c.Writer.Hijack()
				if (err != nil) != row.ended {
					t.Errorf("got the error %v", err)
				}
				if err == nil {
					_, _ = rw.WriteString("HTTP/1.1 200 mine\r\nConnection: close\r\n\r\n")
					_ = rw.Flush()
					conn.Close()
				}
			})
			srv := serve(t, e, false)
			r := m.Login(httptest.NewRequest("GET", srv.URL, nil), "alice")
			conn := dial(t, srv)
			r.Header.Set("Connection", "close")
			if err := r.Write(conn); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if strings.TrimSpace(line) != row.want {
				t.Errorf("got %q and the error %v, want %q", line, err, row.want)
			}
			if row.ended {
				return
			}
			m.With(r, func(s *redsession.Session) {
				if n, _ := visits.Get(s); n != 7 {
					t.Errorf("got %d visits in Redis, want 7", n)
				}
			})
		})
	}
}

// TestAnUploadLeavesNoFile counts what forms leave in the temporary folder: the server
// removes the files of the request that it knows, and handlers have a copy.
func TestAnUploadLeavesNoFile(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "large.bin")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(make([]byte, 2<<20))
	form.Close()
	for _, o := range orders {
		e := engine(o.use(redsessiontest.New(t).Manager)...)
		e.MaxMultipartMemory = 1 << 10
		written := false
		e.POST("/", func(c *gin.Context) {
			if _, err := c.FormFile("file"); err != nil {
				t.Error(err)
			}
			found, _ := os.ReadDir(folder)
			written = len(found) > 0
		})
		srv := serve(t, e, false)
		res, err := http.Post(srv.URL, form.FormDataContentType(), bytes.NewReader(body.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		srv.Close() // waits for the request
		if left, _ := os.ReadDir(folder); len(left) > 0 || !written {
			t.Errorf("%s: got %d files left, written %v, want none of one that was written", o.name, len(left), written)
		}
	}
}
