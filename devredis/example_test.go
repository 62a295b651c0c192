package devredis_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/devredis"
)

// What a program does that is run with -dev.
func Example() {
	dev, err := devredis.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	secret := make([]byte, 32)
	rand.Read(secret)
	m, err := redsession.New(redsession.Config{
		URL:     dev.URL(),
		Secrets: [][]byte{secret},
		Cookie:  redsession.Cookie{InsecurePlainHTTP: true},
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	app := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice")
	}))
	answer := httptest.NewRecorder()
	app.ServeHTTP(answer, httptest.NewRequest("POST", "/login", nil))
	fmt.Println(answer.Code, answer.Result().Cookies()[0].Name)
	// Output: 200 session
}
