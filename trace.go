package redsession

import "context"

// Trace is called before each operation of a Manager or Admin, and what it returns after it:
// spans are put on it, as adapters/otel does. The context that it returns is that of what the
// operation does itself, so that exchanges with Redis lie within their load or commit. It may
// be the one that came, but not nil; nor may the function be nil.
//
// It must be fast, must not panic, and must be safe for concurrent use. It is told names of
// commands and numbers alone, no key, value, id or cookie; nor has the text of an error any, but
// what functions of the program's own say, such as Config.LoadUser.
type Trace func(ctx context.Context, op Operation) (context.Context, func(OperationEnd))

// OperationKind says what an Operation is.
type OperationKind string

// What is traced.
const (
	// OperationLoad finds the session of a request: in Handler, before the handler runs.
	// Without a valid session cookie there is no exchange within it.
	OperationLoad OperationKind = "load"
	// OperationCommit brings changes to Redis: those of a request, by Save, by Key.Take and
	// Key.Refresh, and by Manager.Change. A request that changes nothing has none.
	OperationCommit OperationKind = "commit"
	// OperationExchange is one round trip to Redis, the wait for a place in a shared pipeline
	// included; on a cluster one to each node side by side. What is tried again is another one, and
	// so is what is done in the background after a response, under the context of its request.
	// That Redis did not know the script, and got its text, is part of the same. What the breaker
	// refuses is none, nor are its probes, nor what New asks.
	OperationExchange OperationKind = "exchange"
)

// Operation is what begins.
type Operation struct {
	Kind OperationKind
	// Commands are the names of what an exchange sends, in upper case and in order; of a
	// pipeline that loads share, those of this load. It must not be changed.
	Commands []string
}

// OperationEnd is how an operation ended.
type OperationEnd struct {
	Err error // why it failed, nil if it did not
	// Shared is how many loads went with this one in the same pipeline, itself included; 0 for
	// any other operation.
	Shared int
}

// trace begins an operation.
func (k *core) trace(ctx context.Context, kind OperationKind) (context.Context, func(error)) {
	if k.cfg.Trace == nil {
		return ctx, func(error) {}
	}
	ctx, end := k.cfg.Trace(ctx, Operation{Kind: kind})
	return ctx, func(err error) { end(OperationEnd{Err: err}) }
}

// traceExchanges is what the door to Redis calls, nil if nobody listens.
func (k *core) traceExchanges() func(context.Context, []string) (context.Context, func(int, error)) {
	if k.cfg.Trace == nil {
		return nil
	}
	return func(ctx context.Context, commands []string) (context.Context, func(int, error)) {
		ctx, end := k.cfg.Trace(ctx, Operation{Kind: OperationExchange, Commands: commands})
		return ctx, func(shared int, err error) { end(OperationEnd{Err: err, Shared: shared}) }
	}
}
