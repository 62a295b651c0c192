package redsession

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
)

// heldResponse keeps what deferred functions write while a handler panics, such as the end
// of a compressor's output: if the panic is recovered inside it is sent like any other
// response, else it is dropped with the changes.
type heldResponse struct {
	code int
	body []byte
}

// maxHeld is more than any page that tells of an error.
const maxHeld = 1 << 20

var errHeld = errors.New("redsession: the handler is panicking, and its response is held back")

func (h *heldResponse) WriteHeader(code int) {
	if h.code == 0 && code >= http.StatusOK {
		h.code = code
	}
}

func (h *heldResponse) Write(p []byte) (int, error) {
	if len(h.body)+len(p) > maxHeld {
		return 0, errHeld
	}
	h.body = append(h.body, p...)
	return len(p), nil
}

// holding tells whether the response must not begin yet, as the handler panics and has
// changes that must not be committed, unless somebody recovers the panic.
func (w *responseWriter) holding() bool {
	if w.held == nil && !w.begun && w.session.changed() && panicking() {
		w.held = new(heldResponse)
	}
	return w.held != nil
}

// release sends what was held, since the panic was recovered.
func (w *responseWriter) release() {
	h := w.held
	if h == nil {
		return
	}
	if w.held = nil; h.code != 0 {
		w.WriteHeader(h.code)
	}
	if len(h.body) > 0 {
		_, _ = w.Write(h.body)
	}
}

// changed tells whether a commit would have something to do.
func (s *Session) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending.any()
}

// panicking tells whether the caller is a deferred function that runs since the handler
// below serve panicked, or ended its goroutine. Nothing else in Go tells.
func panicking() bool {
	var pcs [64]uintptr
	for skip := 0; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			switch name := runtime.FuncForPC(pc - 1).Name(); {
			case name == "runtime.gopanic", name == "runtime.Goexit":
				return true
			case strings.HasSuffix(name, ".(*responseWriter).serve"):
				return false
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
