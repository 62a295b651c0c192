package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/benchmarks/internal/peer"
	"github.com/redsession/redsession/internal/redistest"
)

// Commands is what one request sends to Redis.
type Commands struct {
	Subject    string  `json:"subject"`
	Request    string  `json:"request"`
	Commands   float64 `json:"commands"`
	RoundTrips float64 `json:"round_trips"`
	// Names counts the commands: "GET, EXPIRE", "2 PING, GET, SETEX".
	Names string `json:"names"`
}

// sample is how many requests are counted. One more comes before them, to open connections and to load scripts.
const sample = 20

// CountCommands sends requests one after the other through a proxy that counts. PING, which the proxy leaves out, is
// taken from the server's own statistics; each is a round trip.
func CountCommands(t testing.TB, srv *redistest.Server, peers []peer.Peer) ([]Commands, error) {
	proxy := redistest.NewProxy(t, srv.Addr)
	admin := srv.Client()
	var all []Commands
	for _, p := range peers {
		site, err := p.Open(peer.Settings{Addr: proxy.Addr})
		if err != nil {
			return nil, fmt.Errorf("opening %s: %w", p.Name, err)
		}
		for _, request := range requests(site) {
			c, err := counted(proxy, admin, request)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", p.Name, request.name, err)
			}
			c.Subject = p.Name
			all = append(all, c)
		}
		if err := site.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// request is a kind of request; prepare comes before each and does not count.
type request struct {
	name          string
	prepare, send func(*client) error
}

func requests(site *peer.Site) []request {
	reset := func(c *client) error {
		*c = *newClient("ada")
		return nil
	}
	login := func(c *client) error {
		_ = reset(c)
		return c.login(site.Login)
	}
	once := func(c *client) error {
		if c.hasCookie() {
			return nil
		}
		return c.login(site.Login)
	}
	scripted := func(do func(peer.Visit)) http.Handler {
		return site.Scripted(func(w http.ResponseWriter, _ *http.Request, v peer.Visit) {
			do(v)
			if err := v.Save(); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	logout := scripted(peer.Visit.Logout)
	return []request{
		{"first write, no session yet", reset, func(c *client) error { return c.login(site.Fill) }},
		{"read hit", once, func(c *client) error { return c.send(site.Read) }},
		{"write hit", once, func(c *client) error { return c.send(site.Write) }},
		{"login without a session", reset, func(c *client) error { return c.login(site.Login) }},
		{"login with a session", login, func(c *client) error { return c.login(site.Login) }},
		{"logout", login, func(c *client) error { return c.send(logout) }},
	}
}

func counted(proxy *redistest.Proxy, admin *redis.Client, r request) (Commands, error) {
	c := newClient("ada")
	names, trips := map[string]int{}, 0
	for i := range sample + 1 {
		if err := r.prepare(c); err != nil {
			return Commands{}, err
		}
		proxy.Reset()
		before, err := pings(admin)
		if err != nil {
			return Commands{}, err
		}
		if err := r.send(c); err != nil {
			return Commands{}, err
		}
		after, err := pings(admin)
		if err != nil {
			return Commands{}, err
		}
		if i == 0 {
			continue
		}
		for _, args := range proxy.Commands() {
			names[args[0]]++
		}
		if n := after - before; n > 0 {
			names["PING"] += n
		}
		trips += proxy.RoundTrips() + after - before
	}
	return Commands{
		Request: r.name, RoundTrips: float64(trips) / sample, Commands: float64(total(names)) / sample, Names: listed(names),
	}, nil
}

func total(names map[string]int) (n int) {
	for _, count := range names {
		n += count
	}
	return n
}

func listed(names map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch n := float64(names[name]) / sample; n {
		case 1:
			words = append(words, name)
		default:
			words = append(words, strconv.FormatFloat(n, 'g', 2, 64)+" "+name)
		}
	}
	return strings.Join(words, ", ")
}

var pingCalls = regexp.MustCompile(`cmdstat_ping:calls=(\d+)`)

func pings(admin *redis.Client) (int, error) {
	info, err := admin.Info(context.Background(), "commandstats").Result()
	if err != nil {
		return 0, err
	}
	match := pingCalls.FindStringSubmatch(info)
	if match == nil {
		return 0, errors.New("the server counts no PING: it was started with one")
	}
	return strconv.Atoi(match[1])
}
