package redsessionotel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/redsession/redsession"
	redsessionotel "github.com/redsession/redsession/adapters/otel"
)

// program is a site whose spans are kept.
type program struct {
	*redsession.Manager
	t      *testing.T
	redis  *miniredis.Miniredis
	spans  *tracetest.InMemoryExporter
	tracer *sdktrace.TracerProvider
	cookie string
}

const cart = redsession.Key[string]("cart")

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, redis: miniredis.RunT(t), spans: tracetest.NewInMemoryExporter()}
	p.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(p.spans))
	var err error
	p.Manager, err = redsession.New(redsession.Config{
		URL: "redis://" + p.redis.Addr(), Secrets: [][]byte{make([]byte, 32)}, Logger: slog.New(slog.DiscardHandler),
		Trace: redsessionotel.Trace(p.tracer), OutageWait: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.spans.Reset()
	return p
}

// do runs fn as a request with a span of its own, and returns the response's status and the
// spans, each with the one that it lies within.
func (p *program) do(fn func(*redsession.Session)) (status int, spans []string) {
	r := httptest.NewRequest("GET", "https://app.example/", nil)
	r.Header.Set("Cookie", p.cookie)
	ctx, span := p.tracer.Tracer("program").Start(r.Context(), "request")
	w := httptest.NewRecorder()
	p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(redsession.FromContext(r.Context())) })).ServeHTTP(w, r.WithContext(ctx))
	span.End()
	for _, c := range w.Result().Cookies() {
		p.cookie = c.Name + "=" + c.Value
	}
	return w.Code, p.lines()
}

func (p *program) lines() (lines []string) {
	stubs := p.spans.GetSpans()
	p.spans.Reset()
	names := map[string]string{}
	for _, s := range stubs {
		names[s.SpanContext.SpanID().String()] = s.Name
	}
	for _, s := range stubs {
		line := s.Name
		if around := names[s.Parent.SpanID().String()]; around != "" {
			line = around + " > " + line
		}
		for _, a := range s.Attributes {
			line += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
		}
		if s.Status.Code == codes.Error {
			line += " failed"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestSpansOfALoginAndARead(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	const script = "session commit > EVALSHA db.system.name=redis db.operation.name=EVALSHA"
	for _, row := range []struct {
		name string
		do   func(*redsession.Session)
		want []string
	}{
		{"a login", func(s *redsession.Session) { cart.Set(s, "secret"); s.Login("ada") }, []string{"request > session load", script, "request > session commit", "request"}},
		{"a read", func(s *redsession.Session) { cart.Get(s) }, []string{
			"session load > PIPELINE db.system.name=redis db.operation.name=PIPELINE db.operation.batch.size=2 redsession.shared_loads=1",
			"request > session load", "request",
		}},
	} {
		_, got := p.do(row.do)
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", row.name, strings.Join(got, "\n"), strings.Join(row.want, "\n"))
		}
		if text := strings.Join(got, "\n"); strings.Contains(text, "secret") || strings.Contains(text, "ada") {
			t.Errorf("%s: got a value or a user in %s", row.name, text)
		}
	}
}

func TestSpansOfWhatFails(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.do(func(s *redsession.Session) { s.Login("ada") })
	for _, row := range []struct {
		name string
		do   func(*redsession.Session)
		want string
	}{
		{"it ended meanwhile", func(s *redsession.Session) {
			cart.Set(s, "x")
			if _, err := p.RevokeUser(context.Background(), "ada"); err != nil {
				t.Error(err)
			}
		}, "session commit error.type=gone failed"},
		{"Redis is away", func(s *redsession.Session) { p.redis.Close(); s.Login("bob") }, "session commit error.type=unavailable failed"},
	} {
		status, got := p.do(row.do)
		if status < 400 {
			t.Errorf("%s: got status %d, want an error", row.name, status)
		}
		if !slices.Contains(got, "request > "+row.want) {
			t.Errorf("%s: got %q, want %s", row.name, got, row.want)
		}
	}
}

func TestMetricsAreAllOfStats(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	reader := sdkmetric.NewManualReader()
	registration, err := redsessionotel.RegisterMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), p, attribute.String("site", "shop"))
	if err != nil {
		t.Fatal(err)
	}
	p.do(func(s *redsession.Session) { s.Login("ada") })
	p.do(func(*redsession.Session) {})
	got := collect(t, reader)
	if n := reflect.TypeFor[redsession.Stats]().NumField(); len(got) != n {
		t.Errorf("got %d metrics, want one for each of %d fields", len(got), n)
	}
	for name, want := range map[string]int64{"redsession.logins": 1, "redsession.hits": 1, "redsession.misses": 1, "redsession.expire_failed": 0} {
		if v, there := got[name]; !there || v != want {
			t.Errorf("%s: got %d, %t, want %d", name, v, there, want)
		}
	}
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
	if got := collect(t, reader); len(got) != 0 {
		t.Errorf("got %v after the end, want nothing", got)
	}
}

func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil && !errors.Is(err, sdkmetric.ErrReaderShutdown) {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || !sum.IsMonotonic || len(sum.DataPoints) != 1 || sum.DataPoints[0].Attributes.Len() != 1 {
				t.Errorf("%s: got %T %v, want a counter with one point that has the attribute", m.Name, m.Data, m.Data)
				continue
			}
			values[m.Name] = sum.DataPoints[0].Value
		}
	}
	return values
}

// What the program itself says of a user is none of a tracing backend's.
func TestSpansLeaveOutWhatTheProgramSays(t *testing.T) {
	p := newProgram(t)
	hook := redsessionotel.Trace(p.tracer)
	for _, row := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w: no answer for alice@example.com", redsession.ErrUnavailable), "unavailable"},
		{fmt.Errorf("%w: %w", redsession.ErrNoUser, redsession.ErrGone), "no_user"},
		{redsession.ErrTooManySessions, "too_many_sessions"},
		{errors.Join(redsession.ErrGone, redsession.ErrHeadersSent), "gone"},
		{errors.New("alice@example.com"), "other"},
	} {
		_, end := hook(t.Context(), redsession.Operation{Kind: redsession.OperationLoad})
		end(redsession.OperationEnd{Err: row.err})
		s := p.spans.GetSpans()[0]
		p.spans.Reset()
		if s.Status.Code != codes.Error || s.Status.Description != "" || !slices.Contains(s.Attributes, attribute.String("error.type", row.want)) {
			t.Errorf("%v: got status %v, %v, want an error without a text, of type %s", row.err, s.Status, s.Attributes, row.want)
		}
	}
}
