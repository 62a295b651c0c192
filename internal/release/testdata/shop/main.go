// Command shop is a program outside the repository: it logs in and reads, as a
// user of the released modules would.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	ginsession "github.com/redsession/redsession/adapters/gin"
	"github.com/redsession/redsession/devredis"
	"github.com/redsession/redsession/importer"
)

const visits = redsession.Key[int]("visits")

func main() {
	dev, err := devredis.Start()
	check(err)
	defer dev.Close()
	options, err := redis.ParseURL(dev.URL())
	check(err)
	client := redis.NewClient(options)
	defer client.Close()
	old := importer.SCS(client, "scs:session:")

	secret := make([]byte, 32)
	rand.Read(secret)
	m, err := redsession.New(redsession.Config{
		URL: dev.URL(), Secrets: [][]byte{secret},
		Cookie: redsession.Cookie{Name: "shop", InsecurePlainHTTP: true},
		Adopt:  []redsession.Legacy{old.Adopt("session")},
	})
	check(err)
	defer m.Close()
	report, err := importer.Run(context.Background(), m, old, importer.Options{})
	check(err)
	fmt.Printf("imported: %+v\n", report)

	srv := httptest.NewServer(handler(m))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	check(err)
	browser := &http.Client{Jar: jar}
	_, err = browser.Post(srv.URL+"/login", "", nil)
	check(err)
	res, err := browser.Get(srv.URL)
	check(err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	check(err)
	fmt.Printf("logged in and read: %d %s\n", res.StatusCode, page)
}

func handler(m *redsession.Manager) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.Recovery(), ginsession.Middleware(m))
	r.POST("/login", func(c *gin.Context) {
		s := ginsession.FromContext(c)
		s.Login("alice")
		visits.Set(s, 1)
	})
	r.GET("/", func(c *gin.Context) {
		s := ginsession.FromContext(c)
		n, _ := visits.Get(s)
		c.String(http.StatusOK, "visit %d of %s", n, s.UserID())
	})
	return r
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
