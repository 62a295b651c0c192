package redistest

import (
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and a Redis without TLS and injects faults. Every fault can be switched at any time, also
// on open connections, and is switched off by nil, zero or false. When several apply to one command, the first of
// CutRequest, Reply, Truncate and CutReply wins.
//
// A fault's function gets each command as the client sent it, its name in upper case. It is called from several
// goroutines, and not at all for HELLO, AUTH, SELECT and CLIENT, with which a client opens a connection, nor on a
// connection that has sent SUBSCRIBE or MONITOR.
type Proxy struct {
	// Addr is where clients connect.
	Addr string
	// URL is redis://Addr.
	URL string

	t      testing.TB
	target string
	links  sync.WaitGroup // the accept loop and every open link

	mu         sync.Mutex
	listener   net.Listener // nil while dials are refused
	open       map[*link]struct{}
	faults     faults
	commands   [][]string
	roundTrips int
	waves      *waves // nil unless they are counted
}

// NewProxy starts a proxy to the Redis at target, a host:port or the path of a unix socket. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	addr := loopback(reservePort(t))
	p := &Proxy{Addr: addr, URL: "redis://" + addr, t: t, target: target, open: map[*link]struct{}{}}
	p.listen()
	t.Cleanup(func() {
		p.disconnect()
		p.links.Wait()
	})
	return p
}

// CutReply forwards the commands that it picks, waits until Redis replies, keeps the reply, and closes the connection
// after the replies before it. Redis executes the rest of the pipeline too.
func (p *Proxy) CutReply(pick func(args []string) bool) {
	p.change(func(f *faults) { f.cutReply = pick })
}

// CutRequest closes the connection in place of a reply and forwards neither the command that it picks nor any after it.
func (p *Proxy) CutRequest(pick func(args []string) bool) {
	p.change(func(f *faults) { f.cutRequest = pick })
}

// Reply answers with these bytes ("-LOADING Redis is loading\r\n"), in their place among the replies of a pipeline, and
// does not forward the command.
func (p *Proxy) Reply(pick func(args []string) (reply string, ok bool)) {
	p.change(func(f *faults) { f.reply = pick })
}

// Truncate passes only the first n bytes of the reply and then closes the connection.
func (p *Proxy) Truncate(pick func(args []string) (n int, ok bool)) {
	p.change(func(f *faults) { f.truncate = pick })
}

// Delay holds back what a client sends for so long, a pipeline once.
func (p *Proxy) Delay(d time.Duration) {
	p.change(func(f *faults) { f.delay = d })
}

// Blackhole swallows all requests and replies, as a network that drops packets. When it is lifted, connections that
// lost something are closed, because their later replies would answer the wrong requests.
func (p *Proxy) Blackhole(on bool) {
	p.change(func(f *faults) { f.blackhole = on })
	if !on {
		for _, l := range p.openLinks() {
			l.abortIfLossy()
		}
	}
}

// Refuse closes the listener and all connections, so that dials are refused, as if Redis were down; false listens again
// on the same port. To be called from the test's goroutine.
func (p *Proxy) Refuse(on bool) {
	p.t.Helper()
	if !on {
		p.listen()
		return
	}
	p.disconnect()
	// A process that is being started at this moment holds a copy of the listener until its exec.
	await(p.t, "dials to be refused", func() error {
		conn, err := net.Dial("tcp", p.Addr)
		if err != nil {
			return nil
		}
		_ = conn.Close()
		return errors.New("a dial was accepted")
	})
}

// Commands returns what was forwarded to Redis since the last Reset, the names in upper case, without HELLO, AUTH,
// SELECT, CLIENT and PING, and without CLUSTER and COMMAND, with which a client learns who stores what.
func (p *Proxy) Commands() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.commands)
}

// RoundTrips returns how many batches clients sent since the last Reset. What is sent on a connection while one of its
// replies is outstanding belongs to the same batch; what is sent on two connections at once is two, and so are two
// nodes of a cluster, each behind a proxy: see Waves. Commands that Commands leaves out do not count.
func (p *Proxy) RoundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roundTrips
}

// Reset empties Commands and RoundTrips; the faults stay.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands, p.roundTrips = nil, 0
}

func (p *Proxy) change(set func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set(&p.faults)
}

func (p *Proxy) current() faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

func (p *Proxy) listen() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return
	}
	// The port may be busy for the same reason as in Refuse.
	await(p.t, "the proxy's port", func() (err error) {
		p.listener, err = net.Listen("tcp", p.Addr)
		return err
	})
	listener := p.listener
	p.links.Go(func() { p.accept(listener) })
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p.admit(listener, conn)
	}
}

// admit opens a link unless the listener that accepted it was closed meanwhile.
func (p *Proxy) admit(listener net.Listener, conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener {
		_ = conn.Close()
		return
	}
	l := newLink(p, conn)
	p.open[l] = struct{}{}
	p.links.Go(func() {
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, l)
	})
}

func (p *Proxy) disconnect() {
	p.mu.Lock()
	listener := p.listener
	p.listener = nil
	p.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	for _, l := range p.openLinks() {
		l.abort()
	}
}

func (p *Proxy) openLinks() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.open))
}

// record notes what a client sent, of which the commands in passed are forwarded.
func (p *Proxy) record(passed [][]string, newRoundTrip bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands = append(p.commands, passed...)
	if newRoundTrip {
		p.roundTrips++
	}
	p.waves.sent(passed)
}

func (p *Proxy) watch(w *waves) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waves = w
}

func (p *Proxy) watching() *waves {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waves
}
