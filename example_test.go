package redsession_test

import (
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

func Example() {
	redis, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	m, err := redsession.New(redsession.Config{
		URL:     "redis://" + redis.Addr(),
		Secrets: [][]byte{[]byte("32 bytes from openssl rand, no text")},
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	const visits = redsession.Key[int]("visits")
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		visits.Update(s, func(n int) int { return n + 1 })
		n, _ := visits.Get(s)
		fmt.Fprintf(w, "visit %d", n)
	}))

	// What a browser does: it sends back the cookie that it got.
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest("GET", "/", nil))
	fmt.Println(first.Body)
	again := httptest.NewRequest("GET", "/", nil)
	again.AddCookie(first.Result().Cookies()[0])
	second := httptest.NewRecorder()
	h.ServeHTTP(second, again)
	fmt.Println(second.Body)
	// Output:
	// visit 1
	// visit 2
}
