package redsessionprom_test

import (
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/redsession/redsession"
	redsessionprom "github.com/redsession/redsession/adapters/prometheus"
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

	registry := prometheus.NewRegistry()
	registry.MustRegister(redsessionprom.New(m))

	app := http.NewServeMux()
	app.HandleFunc("POST /login", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice")
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})) // needs no session, and is not for the public
	mux.Handle("/", m.Handler(app))

	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil))
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "redsession_log") || strings.HasPrefix(line, "redsession_miss") {
			fmt.Print(line)
		}
	}
	// Output:
	// redsession_logins_total 1
	// redsession_logouts_total 0
	// redsession_misses_total 1
}
