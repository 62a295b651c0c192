package redsession_test

import (
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

// exampleManager is what New returns in a real program, on a Redis inside this
// one.
func exampleManager(change ...func(*redsession.Config)) *redsession.Manager {
	c := exampleConfig()
	for _, f := range change {
		f(&c)
	}
	m, err := redsession.New(c)
	if err != nil {
		log.Fatal(err)
	}
	return m
}

func exampleConfig() redsession.Config {
	redis, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	return redsession.Config{
		URL:     "redis://" + redis.Addr(),
		Secrets: [][]byte{[]byte("32 bytes from openssl rand, no text")},
		Cookie:  redsession.Cookie{InsecurePlainHTTP: true}, // these examples speak plain HTTP
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// visitor is a browser: it keeps its cookies.
type visitor struct {
	server *httptest.Server
	client *http.Client
}

func visit(h http.Handler) *visitor {
	jar, _ := cookiejar.New(nil) // never fails
	return &visitor{httptest.NewServer(h), &http.Client{Jar: jar}}
}

// get returns the status and the text of a page.
func (v *visitor) get(path string) (int, string) {
	res, err := v.client.Get(v.server.URL + path)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	if err := res.Write(&text); err != nil {
		log.Fatal(err)
	}
	_, body, _ := strings.Cut(text.String(), "\r\n\r\n")
	return res.StatusCode, strings.TrimSpace(body)
}
