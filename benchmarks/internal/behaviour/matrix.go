// Package behaviour runs session libraries through the failures that their users meet, and says what became of them.
package behaviour

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession/benchmarks/internal/peer"
	"github.com/redsession/redsession/internal/redistest"
)

// Row is one scenario and what each peer did in it.
type Row struct {
	Scenario string `json:"scenario"`
	Want     string `json:"want"`
	Cells    []Cell `json:"cells"`
}

// Cell is what one peer did.
type Cell struct {
	Peer  string `json:"peer"`
	Seen  string `json:"seen"`
	Right bool   `json:"right"`
}

// verdict is what a scenario found.
type verdict struct {
	seen  string
	right bool
}

// scenario is one failure. Its stage is fresh: nobody has a session.
type scenario struct {
	name, want string
	run        func(*stage) verdict
	lifetime   time.Duration // of sessions; 0 is long
	alone      bool          // the peers play one after the other: their speed matters
}

// Options shape a run.
type Options struct {
	// Patience is how long a client waits for an answer from a server whose Redis is frozen; 5 s unless set.
	Patience time.Duration
	// Soon is how long a user may be kept waiting while Redis is away; 1 s unless set.
	Soon     time.Duration
	Progress func(string)
}

// Run plays every scenario with every peer. The peers play at the same time where their speed does not matter, each with
// a Redis of its own.
func Run(t testing.TB, peers []peer.Peer, o Options) ([]Row, error) {
	stages := make([]*stage, len(peers))
	for i, p := range peers {
		server := redistest.Start(t)
		stages[i] = &stage{
			t: t, peer: p, server: server, proxy: redistest.NewProxy(t, server.Addr), admin: server.Client(),
			patience: cmp.Or(o.Patience, 5*time.Second), soon: cmp.Or(o.Soon, time.Second),
		}
	}
	var rows []Row
	for _, sc := range scenarios() {
		if o.Progress != nil {
			o.Progress(sc.name)
		}
		row, err := sc.playAll(stages)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sc.name, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (sc scenario) playAll(stages []*stage) (Row, error) {
	row := Row{Scenario: sc.name, Want: sc.want, Cells: make([]Cell, len(stages))}
	errs := make([]error, len(stages))
	play := func(i int) {
		var v verdict
		v, errs[i] = stages[i].play(sc)
		row.Cells[i] = Cell{Peer: stages[i].peer.Name, Seen: v.seen, Right: v.right}
	}
	var wg sync.WaitGroup
	for i := range stages {
		if sc.alone {
			play(i)
			continue
		}
		wg.Go(func() { play(i) })
	}
	wg.Wait()
	return row, errors.Join(errs...)
}

func scenarios() []scenario {
	return []scenario{
		{name: "50 parallel writes of different keys", want: "all kept, or refused", run: parallelWrites, alone: true},
		{name: "50 parallel increments", want: "every one counted, or refused", run: parallelIncrements, alone: true},
		{name: "Logout while a request that reads is running", want: "stays logged out", run: logoutDuring("hold")},
		{name: "Logout while a request that writes is running", want: "stays logged out", run: logoutDuring("hold set:late:1")},
		{name: "Login while a request that writes is running", want: "the login stays, the old id is dead", run: loginDuring},
		{name: "Deadline passes in a handler, which then writes", want: "stays ended, and the client is told", run: deadlinePasses, lifetime: 2 * time.Second},
		{name: "Flush before the first Write", want: "the session is kept", run: firstWrite("set:a:1 save flush")},
		{name: "103 Early Hints, then a change", want: "the session is kept", run: firstWrite("hints set:a:1")},
		{name: "Client gone before the handler writes", want: "the change is kept", run: clientGone},
		{name: "Redis refuses connections: a read", want: "within 1 s the session, or an error", run: redisRefuses},
		{name: "Redis goes away in a handler that writes", want: "within 10 s an error and nothing kept, or the change is kept", run: redisGoesAway},
		{name: "Redis away for 2 s: a write", want: "answered once Redis is back, the change is kept", run: writeInABriefOutage},
		{name: "Redis away for 2 s: a login", want: "answered once Redis is back, logged in", run: loginInABriefOutage},
		{name: "Redis refuses writes: a write", want: "within 1 s an error and nothing kept; reads go on", run: redisRefusesWrites},
		{name: "Redis refuses writes: a logout", want: "within 1 s an error, or logged out", run: logoutRefused},
		{name: "The server dies after a change in an outage", want: "what was answered with 2xx is kept", run: serverDies},
		{name: "Redis is frozen: a read", want: "within 1 s the session, or an error", run: redisFrozen},
		{name: "Redis answers LOADING once", want: "the session survives", run: loadingOnce},
		{name: "Old cookie sent after logout", want: "a stranger", run: replayed},
		{name: "Record altered in Redis", want: "not believed", run: altered},
		{name: "Another user's record copied to one's own key", want: "not believed", run: copied},
		{name: "Default cookie", want: "HttpOnly, Secure, SameSite", run: defaultCookie},
	}
}
