package stage

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/redsession/redsession"
)

// EventLog collects the events of a Manager, and what it logs as an io.Writer. It is safe for concurrent use; the zero
// value is empty.
type EventLog struct {
	mu   sync.Mutex // guards what follows
	list []redsession.Event
	text strings.Builder
}

// Add is a Config.OnEvent.
func (l *EventLog) Add(_ context.Context, e redsession.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

// Write takes a line of the log. The leak test of the whole suite sees it too.
func (l *EventLog) Write(p []byte) (int, error) {
	sinkLog(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Log returns what was logged.
func (l *EventLog) Log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// All returns every event so far.
func (l *EventLog) All() []redsession.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// Of returns the events of one kind.
func (l *EventLog) Of(kind redsession.EventKind) []redsession.Event {
	return slices.DeleteFunc(l.All(), func(e redsession.Event) bool { return e.Kind != kind })
}

// Forget drops the events so far, not the log.
func (l *EventLog) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}
