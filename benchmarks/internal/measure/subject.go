// Package measure finds out what requests cost: time, allocations, Redis commands, round trips and memory. Where several
// subjects are compared they take turns inside each round, so that whatever else the machine does hits all alike.
package measure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/redsession/redsession/benchmarks/internal/floor"
	"github.com/redsession/redsession/benchmarks/internal/peer"
)

// Kind is a kind of request.
type Kind string

// The kinds. A floor knows ReadHit alone.
const (
	ReadHit  Kind = "read hit"
	WriteHit Kind = "write hit"
	Login    Kind = "login"
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{ReadHit, WriteHit, Login} }

// Subject is something whose requests are measured.
type Subject struct {
	Name  string
	Floor bool // not a session library
	// Worker returns one request of the kind, to be made over and over by one goroutine; nil if there is no such kind.
	// Every worker has its own session. An error means that the figures are worth nothing.
	Worker func(kind Kind, number int) (func() error, error)
}

// Open returns the peers and the floors, connected to the Redis at addr.
func Open(addr string) (subjects []Subject, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, p := range peer.All() {
		site, err := p.Open(peer.Settings{Addr: addr})
		if err != nil {
			return nil, closeAll, fmt.Errorf("opening %s: %w", p.Name, err)
		}
		closers = append(closers, site.Close)
		subjects = append(subjects, Subject{Name: p.Name, Worker: func(k Kind, n int) (func() error, error) { return siteWorker(site, k, n) }})
	}
	for _, f := range floor.All() {
		read, closeClient, err := f.Open(addr)
		if closeClient != nil {
			closers = append(closers, closeClient)
		}
		if err != nil {
			return nil, closeAll, fmt.Errorf("opening %s: %w", f.Name, err)
		}
		subjects = append(subjects, Subject{Name: f.Name, Floor: true, Worker: floorWorker(f, read)})
	}
	return subjects, closeAll, nil
}

func floorWorker(f floor.Floor, read func(context.Context) error) func(Kind, int) (func() error, error) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return func(k Kind, _ int) (func() error, error) {
		switch {
		case k != ReadHit:
			return nil, nil
		case f.IsNone():
			c := newClient("ada")
			c.setCookie("session=of-no-meaning")
			return func() error { return c.send(bare) }, nil
		}
		return func() error { return read(context.Background()) }, nil
	}
}

// siteWorker logs in once, so that every kind of request begins with a session.
func siteWorker(site *peer.Site, k Kind, number int) (func() error, error) {
	c := newClient(fmt.Sprint("ada-", number))
	if err := c.login(site.Login); err != nil {
		return nil, err
	}
	switch k {
	case ReadHit:
		return func() error { return c.send(site.Read) }, nil
	case WriteHit:
		return func() error { return c.send(site.Write) }, nil
	}
	return func() error { return c.login(site.Login) }, nil
}

// client is a browser without a network. It makes its request once and sends copies: what building one costs is no
// library's doing.
type client struct {
	request *http.Request
}

func newClient(user string) *client {
	c := &client{request: httptest.NewRequest("GET", "/", nil)}
	c.request.Header.Set(peer.UserHeader, user)
	return c
}

func (c *client) setCookie(nameAndValue string) { c.request.Header["Cookie"] = []string{nameAndValue} }

func (c *client) hasCookie() bool { return c.request.Header["Cookie"] != nil }

func (c *client) send(h http.Handler) error {
	_, err := c.exchange(h)
	return err
}

// login sends the request and takes over the cookie.
func (c *client) login(h http.Handler) error {
	w, err := c.exchange(h)
	if err != nil {
		return err
	}
	lines := w.Header()["Set-Cookie"]
	if len(lines) == 0 {
		return errors.New("no cookie came")
	}
	cookie, _, _ := strings.Cut(lines[len(lines)-1], ";")
	c.setCookie(cookie)
	return nil
}

func (c *client) exchange(h http.Handler) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, c.request.WithContext(context.Background()))
	if w.Code != http.StatusNoContent {
		return nil, fmt.Errorf("status %d, want %d", w.Code, http.StatusNoContent)
	}
	return w, nil
}
