package response_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What a writer below may be able to do.
type (
	flusher    struct{ done *[]string }
	hijacker   struct{ done *[]string }
	notifier   struct{ done *[]string }
	pusher     struct{ done *[]string }
	errFlusher struct{ done *[]string }
)

func (f flusher) Flush()               { *f.done = append(*f.done, "Flush") }
func (f errFlusher) FlushError() error { *f.done = append(*f.done, "Flush"); return nil }
func (n notifier) CloseNotify() <-chan bool {
	*n.done = append(*n.done, "CloseNotify")
	return nil
}

func (p pusher) Push(string, *http.PushOptions) error {
	*p.done = append(*p.done, "Push")
	return nil
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	*h.done = append(*h.done, "Hijack")
	return nil, nil, nil
}

// skills is what a handler finds out by type assertions, having tried each.
func skills(t *testing.T, w http.ResponseWriter, done *[]string) string {
	var found []string
	try := func(name string, can bool, use func()) {
		if !can {
			return
		}
		found = append(found, name)
		*done = nil
		if use(); !slices.Equal(*done, []string{name}) {
			t.Errorf("got %v done below by %s, want that", *done, name)
		}
	}
	p, ok := w.(http.Pusher)
	try("Push", ok, func() { _ = p.Push("/style.css", nil) })
	n, ok := w.(interface{ CloseNotify() <-chan bool })
	try("CloseNotify", ok, func() { n.CloseNotify() })
	f, ok := w.(http.Flusher)
	try("Flush", ok, func() { f.Flush() })
	h, ok := w.(http.Hijacker)
	try("Hijack", ok, func() { _, _, _ = h.Hijack() })
	return strings.Join(found, " ")
}

// TestWriterCanDoWhatATypeAssertionSays holds what a handler is given against what the
// server's writer can, whatever a middleware between them hides.
func TestWriterCanDoWhatATypeAssertionSays(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	for has := range 1 << 4 {
		var done []string
		f, h, n, p := flusher{&done}, hijacker{&done}, notifier{&done}, pusher{&done}
		w := bare{httptest.NewRecorder()}
		all := []http.ResponseWriter{
			w,
			struct {
				bare
				flusher
			}{w, f},
			struct {
				bare
				hijacker
			}{w, h},
			struct {
				bare
				flusher
				hijacker
			}{w, f, h},
			struct {
				bare
				notifier
			}{w, n},
			struct {
				bare
				flusher
				notifier
			}{w, f, n},
			struct {
				bare
				hijacker
				notifier
			}{w, h, n},
			struct {
				bare
				flusher
				hijacker
				notifier
			}{w, f, h, n},
			struct {
				bare
				pusher
			}{w, p},
			struct {
				bare
				flusher
				pusher
			}{w, f, p},
			struct {
				bare
				hijacker
				pusher
			}{w, h, p},
			struct {
				bare
				flusher
				hijacker
				pusher
			}{w, f, h, p},
			struct {
				bare
				notifier
				pusher
			}{w, n, p},
			struct {
				bare
				flusher
				notifier
				pusher
			}{w, f, n, p},
			struct {
				bare
				hijacker
				notifier
				pusher
			}{w, h, n, p},
			struct {
				bare
				flusher
				hijacker
				notifier
				pusher
			}{w, f, h, n, p},
		}
		var want []string
		for i, name := range []string{"Push", "CloseNotify", "Flush", "Hijack"} {
			if has&[]int{8, 4, 1, 2}[i] != 0 {
				want = append(want, name)
			}
		}
		for name, below := range map[string]http.ResponseWriter{
			"the server's writer":        all[has],
			"one that is looked through": unwrapping{all[has]},
		} {
			t.Run(fmt.Sprint(want, " ", name), func(t *testing.T) {
				m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if got := skills(t, w, &done); got != strings.Join(want, " ") {
						t.Errorf("got %q, want %q", got, want)
					}
				})).ServeHTTP(below, httptest.NewRequest("GET", "/", nil))
			})
		}
	}
}

// TestWriterCommitsBeforeWhateverIsFlushed tries what an http.ResponseController reaches
// where a type assertion finds nothing.
func TestWriterCommitsBeforeWhateverIsFlushed(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		below   func(w http.ResponseWriter, done *[]string) http.ResponseWriter
		flushes bool
	}{
		"nothing that flushes": {func(w http.ResponseWriter, _ *[]string) http.ResponseWriter { return bare{w} }, false},
		"a FlushError alone": {func(w http.ResponseWriter, done *[]string) http.ResponseWriter {
			return struct {
				bare
				errFlusher
			}{bare{w}, errFlusher{done}}
		}, true},
		"a Flusher below another writer": {func(w http.ResponseWriter, _ *[]string) http.ResponseWriter { return unwrapping{w} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			var done []string
			e.Manager(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				stage.Number.Set(redsession.FromContext(r.Context()), 1)
				err := http.NewResponseController(w).Flush()
				if (err == nil) != row.flushes || err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("got %v from Flush, want it done: %v", err, row.flushes)
				}
				if stored := e.Living(t) == 1; stored != row.flushes {
					t.Errorf("got the session stored: %v, want %v", stored, row.flushes)
				}
				if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("got %v from Hijack, want that it is not supported", err)
				}
			})).ServeHTTP(row.below(httptest.NewRecorder(), &done), httptest.NewRequest("GET", "/", nil))
		})
	}
}
