package stage

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// Outage is a server whose way to Redis can be cut, and another server whose
// way cannot.
type Outage struct {
	*Env
	M     *redsession.Manager // whose way is cut
	Proxy *redistest.Proxy    // on that way
	Here  *Scripted           // a browser at M
	Other *Scripted           // a browser at the other server
	Began int                 // outages so far
}

// NewOutage makes the two servers on a miniredis.
func NewOutage(t *testing.T, change ...func(*redsession.Config)) *Outage {
	t.Helper()
	e := NewMini(t)
	m, p := e.Behind(t, change...)
	t.Cleanup(func() { p.Refuse(false) }) // so that Close need not wait
	return &Outage{Env: e, M: m, Proxy: p, Here: NewOutageScripted(t, m), Other: NewScripted(t, e.Manager(t, change...))}
}

// NewOutageScripted is NewScripted whose answers tell whether the session is degraded.
func NewOutageScripted(t *testing.T, m *redsession.Manager, more ...Handlers) *Scripted {
	t.Helper()
	g := make(Gate)
	play := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if s.Degraded() {
			w.Header().Set("X-Degraded", "true")
		}
		g.Play(w, r, s)
	}
	st := NewScripted(t, m, append(more, Handlers{"/": play})...)
	return &Scripted{st.Browser, g}
}

// Down cuts the server off Redis and has it notice.
func (o *Outage) Down(t *testing.T) {
	t.Helper()
	o.Proxy.Refuse(true)
	o.Began++
	o.Fail(t)
	Until(t, "the beginning of the outage", func() bool { return len(o.Events.Of(redsession.EventOutageBegan)) == o.Began })
}

// Fail has the server ask Redis for something in vain, and does not wait for it.
func (o *Outage) Fail(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = o.M.Sessions(ctx, "nobody")
	}()
	t.Cleanup(func() { cancel(); <-asked })
}

// Up leads the server to Redis again and returns once it has noticed.
func (o *Outage) Up(t *testing.T) {
	t.Helper()
	o.Proxy.Refuse(false)
	Until(t, "the end of the outage", func() bool { return len(o.Events.Of(redsession.EventOutageEnded)) == o.Began })
}

// UntilNoOutage waits until every outage that the Managers of e have noticed is over for them.
func (e *Env) UntilNoOutage(t *testing.T) {
	t.Helper()
	Until(t, "the end of all outages", func() bool {
		return len(e.Events.Of(redsession.EventOutageBegan)) == len(e.Events.Of(redsession.EventOutageEnded))
	})
}

// Outcome is what a browser sees: "200 degraded expired alice n=1".
func Outcome(a Answer) string {
	words := []string{strconv.Itoa(a.StatusCode)}
	if a.Header.Get("Retry-After") != "" {
		words = append(words, "retry")
	}
	if a.Header.Get("X-Degraded") != "" {
		words = append(words, "degraded")
	}
	for _, c := range a.SetCookies() {
		if c.MaxAge < 0 {
			words = append(words, "expired")
		} else {
			words = append(words, "set")
		}
	}
	if a.StatusCode == http.StatusOK && a.Text != "" {
		words = append(words, a.Text)
	}
	return strings.Join(words, " ")
}

// Discarded is a response that nobody reads.
type Discarded struct{ header http.Header }

// Header returns the headers.
func (d *Discarded) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}

// Write drops p.
func (d *Discarded) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader does nothing.
func (d *Discarded) WriteHeader(int) {}
