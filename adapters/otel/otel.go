// Package redsessionotel puts OpenTelemetry on a redsession.Manager: spans for loads, commits
// and exchanges with Redis, and what it counts as metrics.
//
//	m, err := redsession.New(redsession.Config{…, Trace: redsessionotel.Trace(otel.GetTracerProvider())})
//	registration, err := redsessionotel.RegisterMetrics(otel.GetMeterProvider(), m)
//
// Neither has a value, a key, an id, a user or a cookie.
package redsessionotel

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/redsession/redsession"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/redsession/redsession/adapters/otel"

// SharedKey is the attribute that says how many loads went in the same pipeline as this one,
// which then has a round trip together with them: redsession.shared_loads.
const SharedKey = attribute.Key("redsession.shared_loads")

// Trace returns a hook for redsession.Config.Trace that makes spans by tp:
//
//   - "session load" and "session commit", internal, within the span of the request that is in
//     its context; so put the middleware that begins that outside of Manager.Handler.
//   - one for each exchange with Redis, a client's, within these. It is named by its command, or
//     PIPELINE, and has db.system.name, db.operation.name, db.operation.batch.size of a
//     pipeline, and SharedKey of a load, whose commands alone it counts, as the semantic conventions
//     for database clients say.
//
// A failed one has the status Error and error.type: no_user, too_many_sessions, gone, locked,
// too_large, headers_sent, unavailable or other. That of an exchange has the error's text, which
// is Redis's; that of a load or a commit may be the program's own, as of Config.LoadUser, and
// is left out. If go-redis itself has a hook for OpenTelemetry, its spans
// lie within those of the exchanges, but for loads, whose pipelines belong to several
// requests. It is safe for concurrent use.
func Trace(tp trace.TracerProvider) redsession.Trace {
	tracer := tp.Tracer(scope)
	return func(ctx context.Context, op redsession.Operation) (context.Context, func(redsession.OperationEnd)) {
		ctx, span := tracer.Start(ctx, nameOf(op), optionsOf(op)...)
		return ctx, func(end redsession.OperationEnd) {
			if end.Shared > 0 {
				span.SetAttributes(SharedKey.Int(end.Shared))
			}
			if end.Err != nil {
				span.SetAttributes(semconv.ErrorTypeKey.String(errorType(end.Err)))
				span.SetStatus(codes.Error, textOf(op, end.Err))
			}
			span.End()
		}
	}
}

func textOf(op redsession.Operation, err error) string {
	if op.Kind != redsession.OperationExchange {
		return ""
	}
	return err.Error()
}

func nameOf(op redsession.Operation) string {
	if op.Kind != redsession.OperationExchange {
		return "session " + string(op.Kind)
	}
	return command(op.Commands)
}

// command is db.operation.name, which is also a span's name.
func command(names []string) string {
	switch first := names[0]; {
	case len(names) == 1:
		return first
	case slices.ContainsFunc(names, func(n string) bool { return n != first }):
		return "PIPELINE"
	default:
		return "PIPELINE " + first
	}
}

func optionsOf(op redsession.Operation) []trace.SpanStartOption {
	if op.Kind != redsession.OperationExchange {
		return []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal)}
	}
	attributes := []attribute.KeyValue{semconv.DBSystemNameRedis, semconv.DBOperationName(command(op.Commands))}
	if n := len(op.Commands); n > 1 {
		attributes = append(attributes, semconv.DBOperationBatchSize(n))
	}
	return []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...)}
}

// errorType is that of the first that err is: it may be several.
func errorType(err error) string {
	for _, known := range [...]struct {
		name string
		err  error
	}{
		{"no_user", redsession.ErrNoUser},
		{"too_many_sessions", redsession.ErrTooManySessions},
		{"gone", redsession.ErrGone},
		{"locked", redsession.ErrLocked},
		{"too_large", redsession.ErrTooLarge},
		{"headers_sent", redsession.ErrHeadersSent},
		{"unavailable", redsession.ErrUnavailable},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "other"
}

// Source is what is counted: a *redsession.Manager.
type Source interface{ Stats() redsession.Stats }

// RegisterMetrics has mp observe every counter of redsession.Stats, as redsession.hits,
// redsession.expire_failed and so on, with no attribute. The counters begin at zero with the
// Manager; Redis is not asked. Tell several Managers of a process apart by a MeterProvider with a
// resource of its own, or by attributes. Unregister the Registration when the Manager is
// closed. The error is that of the meter.
func RegisterMetrics(mp metric.MeterProvider, source Source, attributes ...attribute.KeyValue) (metric.Registration, error) {
	meter := mp.Meter(scope)
	fields := reflect.TypeFor[redsession.Stats]()
	var counters []metric.Int64ObservableCounter
	var all []metric.Observable
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		c, err := meter.Int64ObservableCounter("redsession."+snake(name), metric.WithDescription("The field "+name+" of redsession.Stats."))
		if err != nil {
			return nil, fmt.Errorf("redsessionotel: making the counter of %s: %w", name, err)
		}
		counters, all = append(counters, c), append(all, c)
	}
	set := metric.WithAttributes(attributes...)
	observe := func(_ context.Context, o metric.Observer) error {
		stats := reflect.ValueOf(source.Stats())
		for i, c := range counters {
			o.ObserveInt64(c, int64(stats.Field(i).Uint()), set)
		}
		return nil
	}
	registration, err := meter.RegisterCallback(observe, all...)
	if err != nil {
		return nil, fmt.Errorf("redsessionotel: registering the counters: %w", err)
	}
	return registration, nil
}

// snake is the name of a field in snake case.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
