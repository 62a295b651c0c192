package redsession

import (
	"bufio"
	"net"
	"net/http"
)

// What a handler gets has, of the optional interfaces of a response writer, those alone
// that work: handlers ask by a type assertion and act on what that says. A middleware
// that hides them but has Unwrap is looked through, as http.ResponseController does.

// claiming returns w with the interfaces that what is below it has. It allocates nothing.
func (w *responseWriter) claiming() http.ResponseWriter {
	under := w.ResponseWriter
	has := 0
	if flushes(under) {
		has |= canFlush
	}
	if reaches[http.Hijacker](under) {
		has |= canHijack
	}
	if reaches[closeNotifier](under) {
		has |= canNotify
	}
	if reaches[http.Pusher](under) {
		has |= canPush
	}
	return kinds[has](w)
}

const (
	canFlush = 1 << iota
	canHijack
	canNotify
	canPush
)

// kinds has a type for each set of interfaces. Each holds one pointer, which Go keeps in an
// interface without allocating.
var kinds = [1 << 4]func(*responseWriter) http.ResponseWriter{
	0:                     func(w *responseWriter) http.ResponseWriter { return w },
	canFlush:              func(w *responseWriter) http.ResponseWriter { return writerF{w} },
	canHijack:             func(w *responseWriter) http.ResponseWriter { return writerH{w} },
	canNotify:             func(w *responseWriter) http.ResponseWriter { return writerN{w} },
	canPush:               func(w *responseWriter) http.ResponseWriter { return writerP{w} },
	canFlush | canHijack:  func(w *responseWriter) http.ResponseWriter { return writerFH{writerF{w}} },
	canFlush | canNotify:  func(w *responseWriter) http.ResponseWriter { return writerFN{writerF{w}} },
	canFlush | canPush:    func(w *responseWriter) http.ResponseWriter { return writerFP{writerF{w}} },
	canHijack | canNotify: func(w *responseWriter) http.ResponseWriter { return writerHN{writerH{w}} },
	canHijack | canPush:   func(w *responseWriter) http.ResponseWriter { return writerHP{writerH{w}} },
	canNotify | canPush:   func(w *responseWriter) http.ResponseWriter { return writerNP{writerN{w}} },
	canFlush | canHijack | canNotify: func(w *responseWriter) http.ResponseWriter {
		return writerFHN{writerFH{writerF{w}}}
	},
	canFlush | canHijack | canPush: func(w *responseWriter) http.ResponseWriter {
		return writerFHP{writerFH{writerF{w}}}
	},
	canFlush | canNotify | canPush: func(w *responseWriter) http.ResponseWriter {
		return writerFNP{writerFN{writerF{w}}}
	},
	canHijack | canNotify | canPush: func(w *responseWriter) http.ResponseWriter {
		return writerHNP{writerHN{writerH{w}}}
	},
	canFlush | canHijack | canNotify | canPush: func(w *responseWriter) http.ResponseWriter {
		return writerFHNP{writerFHN{writerFH{writerF{w}}}}
	},
}

// The letters say what each can do: Flush, Hijack, CloseNotify, Push.
type (
	writerF    struct{ *responseWriter }
	writerH    struct{ *responseWriter }
	writerN    struct{ *responseWriter }
	writerP    struct{ *responseWriter }
	writerFH   struct{ writerF }
	writerFN   struct{ writerF }
	writerFP   struct{ writerF }
	writerHN   struct{ writerH }
	writerHP   struct{ writerH }
	writerNP   struct{ writerN }
	writerFHN  struct{ writerFH }
	writerFHP  struct{ writerFH }
	writerFNP  struct{ writerFN }
	writerHNP  struct{ writerHN }
	writerFHNP struct{ writerFHN }
)

func (w writerF) Flush() { _ = w.FlushError() }

func (w writerH) Hijack() (net.Conn, *bufio.ReadWriter, error)  { return w.hijack() }
func (w writerFH) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func (w writerN) CloseNotify() <-chan bool   { return w.closeNotify() }
func (w writerFN) CloseNotify() <-chan bool  { return w.closeNotify() }
func (w writerHN) CloseNotify() <-chan bool  { return w.closeNotify() }
func (w writerFHN) CloseNotify() <-chan bool { return w.closeNotify() }

func (w writerP) Push(target string, o *http.PushOptions) error    { return w.push(target, o) }
func (w writerFP) Push(target string, o *http.PushOptions) error   { return w.push(target, o) }
func (w writerHP) Push(target string, o *http.PushOptions) error   { return w.push(target, o) }
func (w writerNP) Push(target string, o *http.PushOptions) error   { return w.push(target, o) }
func (w writerFHP) Push(target string, o *http.PushOptions) error  { return w.push(target, o) }
func (w writerFNP) Push(target string, o *http.PushOptions) error  { return w.push(target, o) }
func (w writerHNP) Push(target string, o *http.PushOptions) error  { return w.push(target, o) }
func (w writerFHNP) Push(target string, o *http.PushOptions) error { return w.push(target, o) }

func (w *responseWriter) closeNotify() <-chan bool {
	n, _ := find[closeNotifier](w.ResponseWriter)
	return n.CloseNotify()
}

func (w *responseWriter) push(target string, o *http.PushOptions) error {
	p, _ := find[http.Pusher](w.ResponseWriter)
	return p.Push(target, o)
}

type (
	closeNotifier interface{ CloseNotify() <-chan bool } // which net/http has, and deprecates
	flushErrorer  interface{ FlushError() error }        // which http.ResponseController prefers to a Flusher
)

func flushes(w http.ResponseWriter) bool {
	return reaches[http.Flusher](w) || reaches[flushErrorer](w)
}

func reaches[T any](w http.ResponseWriter) bool {
	_, ok := find[T](w)
	return ok
}

// find looks for what can do T, from w down to the server's own writer.
func find[T any](w http.ResponseWriter) (t T, ok bool) {
	for ; w != nil; w = below(w) {
		if t, ok := w.(T); ok {
			return t, true
		}
	}
	return t, false
}

// below is what w is wrapped around, nil if it does not tell.
func below(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	return nil
}
