package ginsession_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/redsessiontest"
)

func dial(t *testing.T, srv *httptest.Server) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// order is how gin.Recovery and Middleware stand to each other.
type order struct {
	name string
	use  func(m *redsession.Manager) []gin.HandlerFunc
}

var orders = []order{
	{"Recovery outside", func(m *redsession.Manager) []gin.HandlerFunc {
		return []gin.HandlerFunc{gin.Recovery(), ginsession.Middleware(m)}
	}},
	{"Recovery inside", func(m *redsession.Manager) []gin.HandlerFunc {
		return []gin.HandlerFunc{ginsession.Middleware(m), gin.Recovery()}
	}},
	{"no Recovery", func(m *redsession.Manager) []gin.HandlerFunc {
		return []gin.HandlerFunc{ginsession.Middleware(m)}
	}},
}

func TestAHandlerThatPanics(t *testing.T) {
	visit := func(c *gin.Context) { visits.Set(ginsession.FromContext(c), 1) }
	for _, row := range []struct {
		name    string
		handler gin.HandlerFunc
		want    string // status or "cut", what Redis holds, what the cookie does; in the order of orders
		inside  string
		none    string
	}{
		{
			"after a change: kept only if Recovery makes it a response like any other",
			func(c *gin.Context) { visit(c); panic("boo") },
			"500 alice 0 kept", "500 alice 1 kept", "cut alice 0 kept",
		},
		{
			"after a logout: the user is out in any case",
			func(c *gin.Context) { ginsession.FromContext(c).Logout(); panic("boo") },
			"500 nobody 0 expired", "500 nobody 0 expired", "cut nobody 0 kept",
		},
		{
			"after a login as somebody else",
			func(c *gin.Context) { ginsession.FromContext(c).Login("bob"); panic("boo") },
			"500 alice 0 kept", "500 bob 0 set", "cut alice 0 kept",
		},
		{
			"after the first byte: what was committed by then stays",
			func(c *gin.Context) { visit(c); c.String(200, "x"); c.Writer.Flush(); panic("boo") },
			"200 alice 1 kept", "200 alice 1 kept", "cut alice 1 kept",
		},
		{
			"with http.ErrAbortHandler, which gin.Recovery lets end well",
			func(c *gin.Context) { visit(c); panic(http.ErrAbortHandler) },
			"200 alice 0 kept", "200 alice 1 kept", "cut alice 0 kept",
		},
	} {
		for i, want := range []string{row.want, row.inside, row.none} {
			t.Run(row.name+", "+orders[i].name, func(t *testing.T) {
				m := redsessiontest.New(t)
				e := engine(orders[i].use(m.Manager)...)
				e.GET("/", row.handler)
				srv := serve(t, e, false)
				r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
				r = m.Login(r, "alice")
				if got := outcome(t, m, newBrowser(t, srv), r); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

// outcome sends r and tells what came back and what is in Redis then.
func outcome(t *testing.T, m *redsessiontest.Manager, b *browser, r *http.Request) string {
	t.Helper()
	words := []string{"cut", "nobody", "0", "kept"}
	res, err := b.Do(r.Clone(r.Context()))
	if err != nil {
		res = &http.Response{Header: http.Header{}, Body: http.NoBody}
	}
	defer res.Body.Close()
	if err == nil {
		if buf := make([]byte, 512); drained(res, buf) {
			words[0] = strings.Fields(res.Status)[0]
		}
	}
	if c := m.Cookie(res); c != nil && c.MaxAge < 0 {
		words[3] = "expired"
	} else if c != nil {
		words[3] = "set"
	}
	m.After(r, res, func(s *redsession.Session) {
		if s.LoggedIn() {
			words[1] = s.UserID()
		}
		if n, _ := visits.Get(s); n > 0 {
			words[2] = "1"
		}
	})
	return strings.Join(words, " ")
}

// drained reads a response to its end and tells whether it had one.
func drained(res *http.Response, buf []byte) bool {
	for {
		if _, err := res.Body.Read(buf); err != nil {
			return err.Error() == "EOF"
		}
	}
}

// A change after the first byte that cannot be kept must not look like a
// success, though gin.Recovery swallows the panic that is to cut the connection.
func TestALateChangeThatCannotBeKeptCutsTheConnection(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, o := range orders {
			for name, answer := range map[string]gin.HandlerFunc{
				"a short response":        func(c *gin.Context) { c.String(200, "done") },
				"a status alone":          func(c *gin.Context) { c.AbortWithStatus(200) },
				"a response half way out": func(c *gin.Context) { c.String(200, "do"); c.Writer.Flush(); c.String(200, "ne") },
				"a stream":                stream,
			} {
				proto := map[bool]string{false: "HTTP/1", true: "HTTP/2"}[h2]
				t.Run(strings.Join([]string{proto, o.name, name}, ", "), func(t *testing.T) {
					m := redsessiontest.New(t)
					e := engine(o.use(m.Manager)...)
					e.GET("/", func(c *gin.Context) {
						s := ginsession.FromContext(c)
						answer(c)
						gone(t, m, s)
						visits.Set(s, 1)
					})
					e.GET("/again", func(c *gin.Context) { c.String(200, "here") })
					srv := serve(t, e, h2)
					b := newBrowser(t, srv)
					r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
					if got := outcome(t, m, b, m.Login(r, "alice")); got != "cut nobody 0 kept" {
						t.Errorf("got %q, want the response cut off", got)
					}
					if a := b.get("/again"); a.body != "here" {
						t.Errorf("the next request: got %d %q", a.StatusCode, a.body)
					}
				})
			}
		}
	}
}

func TestALateChangeThatIsKeptCutsNothing(t *testing.T) {
	for _, o := range orders {
		m := redsessiontest.New(t)
		e := engine(o.use(m.Manager)...)
		e.GET("/", func(c *gin.Context) {
			c.String(200, "done")
			c.Writer.Flush()
			visits.Set(ginsession.FromContext(c), 1)
		})
		srv := serve(t, e, false)
		r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
		if got := outcome(t, m, newBrowser(t, srv), m.Login(r, "alice")); got != "200 alice 1 kept" {
			t.Errorf("%s: got %q, want it kept", o.name, got)
		}
	}
}

// If the core panics before anything was written, the response is Recovery's.
func TestAnUpdateThatPanicsAtCommitIsAnOrdinaryPanic(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic("the error page has a mistake") }
	})
	e := engine(orders[0].use(m.Manager)...)
	e.GET("/", func(c *gin.Context) {
		s := ginsession.FromContext(c)
		gone(t, m, s)
		visits.Set(s, 1)
		c.Status(201)
	})
	srv := serve(t, e, false)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
	if got := outcome(t, m, newBrowser(t, srv), m.Login(r, "alice")); got != "500 nobody 0 kept" {
		t.Errorf("got %q, want gin.Recovery's 500", got)
	}
}

func TestLaterWritesOfADroppedResponseFail(t *testing.T) {
	m := redsessiontest.New(t)
	var writeErr error
	var errs []*gin.Error
	e := engine(func(c *gin.Context) { c.Next(); errs = c.Errors }, ginsession.Middleware(m.Manager))
	e.GET("/", func(c *gin.Context) {
		s := ginsession.FromContext(c)
		gone(t, m, s)
		visits.Set(s, 1)
		c.JSON(200, gin.H{"a": 1})
		if !c.IsAborted() {
			t.Error("the chain goes on though the response was dropped")
		}
		_, writeErr = c.Writer.WriteString("more")
		c.Header("X-Late", "1")
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, m.Login(httptest.NewRequest("GET", "/", nil), "alice"))
	if writeErr == nil || len(errs) != 1 || w.Code != 409 || w.Header().Get("X-Late") != "" {
		t.Errorf("got %d, the write's error %v and %d of gin's; want 409 and an error each", w.Code, writeErr, len(errs))
	}
}
