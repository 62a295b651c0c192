package redsessionotel_test

import (
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/redsession/redsession"
	redsessionotel "github.com/redsession/redsession/adapters/otel"
	"github.com/redsession/redsession/devredis"
)

func Example() {
	redis, err := devredis.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	spans := tracetest.NewInMemoryExporter() // your exporter
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	m, err := redsession.New(redsession.Config{
		URL:     redis.URL(),
		Secrets: [][]byte{[]byte("32 bytes from openssl rand, no text")},
		Logger:  slog.New(slog.DiscardHandler),
		Trace:   redsessionotel.Trace(tracers),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	registration, err := redsessionotel.RegisterMetrics(sdkmetric.NewMeterProvider(), m)
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Unregister()

	spans.Reset() // what New asked
	login := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") }))
	login.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil))
	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name, s.SpanKind)
	}
	// Output:
	// session load internal
	// EVALSHA client
	// session commit internal
}
