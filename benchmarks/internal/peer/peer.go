// Package peer sets session libraries up, each as its own README says, so that they can be measured and compared on
// the same work.
package peer

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Peer is one session library.
type Peer struct {
	Name string
	// Open connects it to Redis.
	Open func(Settings) (*Site, error)
	// DefaultCookie returns the Set-Cookie line of a first session with the library's own defaults.
	DefaultCookie func(addr string) (string, error)
}

// Settings are what the measurements and scenarios vary.
type Settings struct {
	Addr string // host:port of Redis
	// Lifetime ends a session that long after its last request; the peers without an idle timeout get it as the only one
	// that they have. Zero is a long time.
	Lifetime time.Duration
}

// Site is a peer at work.
type Site struct {
	// Read is a logged-in user's request that looks at two values. Expiry slides.
	Read http.Handler
	// Write changes one value of ten.
	Write http.Handler
	// Login logs the user of the header X-User in and fills the session with Content; it begins a session where there
	// is none, and gives an existing one a new id where the library can.
	Login http.Handler
	// Fill stores Content in a session of nobody.
	Fill http.Handler
	// Scripted gives a handler the peer's session in words that all peers understand.
	Scripted func(Play) http.Handler
	// Close releases the connections.
	Close func() error
}

// Play is a handler of the scenarios.
type Play func(http.ResponseWriter, *http.Request, Visit)

// Visit is the session of one request. What a library's README says to do is done, and no more.
type Visit interface {
	// Get returns the value, or nil.
	Get(key string) any
	// Set keeps the value; it is stored by Save, or by the middleware of a peer that has one for that.
	Set(key string, value any)
	// Increment adds one to an int.
	Increment(key string)
	// Login logs the user in and changes the id, where the library can.
	Login(user string)
	// User returns who is logged in, or "".
	User() string
	// Logout ends the session.
	Logout()
	// Save is what a handler must call before it writes; nil where a middleware does it.
	Save() error
}

const long = 7 * 24 * time.Hour

// secret signs cookies and records. It protects nothing but a Redis that lives as long as this program.
var secret = []byte("a secret of no secrecy, 32+ bytes long")

// pairs is Content in a fixed order.
var pairs = func() []pair {
	var ps []pair
	for k, v := range Content {
		ps = append(ps, pair{k, v})
	}
	return ps
}()

type pair struct {
	key   string
	value any
}

// Content is what every session holds: ten keys, about 310 bytes as JSON.
var Content = map[string]any{
	"user_id": wantID, "name": wantName, "email": "ada@example.org", "lang": "en_GB", "tz": "Europe/London",
	"roles": []string{"admin", "editor"}, "tenant": "analytical-engine", "theme": "dark",
	"last_page": "/notes/sketch-of-the-engine/g-1843", "csrf": "0123456789abcdef0123456789abcdef",
}

const (
	wantID   = 4711
	wantName = "Ada Lovelace"
)

// All returns the libraries that are compared, redsession first.
func All() []Peer {
	return []Peer{Redsession, SCS, Gorilla, Gin}
}

// Named returns the peer of that name.
func Named(name string) (Peer, error) {
	for _, p := range All() {
		if p.Name == name {
			return p, nil
		}
	}
	return Peer{}, fmt.Errorf("no peer is called %q", name)
}

// UserHeader names the user for Login.
const UserHeader = "X-User"

// answer ends a measured request: 204, or 500 when the session was not what it had to be.
func answer(w http.ResponseWriter, ok bool) {
	if !ok {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// pages hands out values for last_page, no two alike and all of the same length.
type pages struct{ n atomic.Uint32 }

func (p *pages) next() string {
	const digits = 8
	page := []byte("/notes/sketch-of-the-engine/00000000")[:len("/notes/sketch-of-the-engine/")+digits]
	n := p.n.Add(1)
	for i := len(page) - 1; n > 0 && i >= len(page)-digits; i-- {
		page[i] += byte(n % 10)
		n /= 10
	}
	return string(page)
}

func goRedis(addr string) *redis.Client { return redis.NewClient(&redis.Options{Addr: addr}) }

// Quiet turns off the libraries' logs, of which the scenarios provoke many lines.
func Quiet() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silence{})
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
