// Command gin is a small JSON API with logins on gin.
//
//	go run ./examples/gin
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const try = `
  curl BASE/notes  # 401
  curl -c jar -d user=alice -d password=rabbit-hole BASE/login
  curl -b jar -c jar -d text='Milk' BASE/notes
  curl -b jar -c jar BASE/notes
  curl -b jar -c jar -X DELETE BASE/notes  # asks for the password again after a minute
  curl -b jar -c jar -X POST BASE/logout
`

const (
	notes  = redsession.Key[[]string]("notes")
	recent = time.Minute // how old a login may be for what matters
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, stopRedis, err := devserver.Config()
	if err != nil {
		return err
	}
	defer stopRedis()
	c.ErrorHandler, c.Unauthorized = failed, http.HandlerFunc(unauthorized)
	m, err := redsession.New(c)
	if err != nil {
		return err
	}
	defer m.Close()
	gin.SetMode(gin.ReleaseMode)
	return devserver.Serve(ctx, handler(m), try)
}

func handler(m *redsession.Manager) http.Handler {
	r := gin.New()
	// Recovery stands outside, so that a handler that panics changes no session.
	r.Use(gin.Logger(), gin.Recovery(), ginsession.Middleware(m))
	r.POST("/login", login)
	r.GET("/", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"user": ginsession.FromContext(c).UserID()}) })
	in := r.Group("/", ginsession.RequireLogin(m))
	in.GET("/notes", func(c *gin.Context) {
		list, _ := notes.Get(ginsession.FromContext(c))
		c.JSON(http.StatusOK, gin.H{"notes": list})
	})
	in.POST("/notes", addNote)
	in.DELETE("/notes", ginsession.RequireRecentLogin(m, recent), func(c *gin.Context) {
		notes.Delete(ginsession.FromContext(c))
		c.Status(http.StatusNoContent)
	})
	in.POST("/logout", func(c *gin.Context) {
		ginsession.FromContext(c).Logout()
		c.Status(http.StatusNoContent)
	})
	// Other sites' forms are refused before gin sees them.
	return http.NewCrossOriginProtection().Handler(r)
}

func login(c *gin.Context) {
	// cmd/demo shows how to keep passwords; this example has only one.
	if user := c.PostForm("user"); user != "alice" || c.PostForm("password") != "rabbit-hole" {
		c.AbortWithStatusJSON(http.StatusUnauthorized, gin.H{"error": "The user name or the password is not right."})
		return
	}
	s := ginsession.FromContext(c)
	s.Login("alice")
	c.JSON(http.StatusOK, gin.H{"user": s.UserID()})
}

func addNote(c *gin.Context) {
	text := c.PostForm("text")
	if text == "" || len(text) > 200 {
		c.AbortWithStatusJSON(http.StatusUnprocessableEntity, gin.H{"error": "A note has 1 to 200 bytes."})
		return
	}
	s := ginsession.FromContext(c)
	notes.Update(s, func(old []string) []string { return append(old, text) })
	list, _ := notes.Get(s)
	c.JSON(http.StatusCreated, gin.H{"notes": list})
}

// unauthorized is Config.Unauthorized.
func unauthorized(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusUnauthorized, `{"error":"Please log in."}`)
}

// failed is Config.ErrorHandler. Nothing of what the handler wrote is sent.
func failed(w http.ResponseWriter, _ *http.Request, err error) {
	switch {
	case errors.Is(err, redsession.ErrGone):
		answer(w, http.StatusConflict, `{"error":"Your session has ended."}`)
	case errors.Is(err, redsession.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		answer(w, http.StatusServiceUnavailable, `{"error":"Please try again in a moment."}`)
	default:
		answer(w, http.StatusInternalServerError, `{"error":"Something went wrong."}`)
	}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body + "\n"))
}
