package redistest

import (
	"bufio"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// link is one client connection through a Proxy. Three goroutines serve it: requests reads from the client, replies
// reads from Redis, deliver writes to the client. No lock is held while one of them waits for the network, so that a
// pipeline of any size passes.
type link struct {
	proxy   *Proxy
	client  *net.TCPConn
	sides   sync.WaitGroup // replies and deliver
	aborted chan struct{}

	mu     sync.Mutex
	wake   *sync.Cond // out or ending changed
	server net.Conn   // nil until something is forwarded
	fates  []fate     // of the requests whose replies are outstanding, oldest first
	stream bool       // replies are not matched any more
	lossy  bool       // something was swallowed, nothing passes any more
	out    []byte     // for the client
	counts bool       // out, or the end, answers something that counts
	ending bool       // the client gets out and nothing after it
}

// lingering is how long a client that was cut off may leave its connection half open. Reading on until then keeps the
// kernel from answering its last bytes with a reset, which would destroy replies that it has not read yet.
const lingering = time.Second

func newLink(p *Proxy, client net.Conn) *link {
	l := &link{proxy: p, client: client.(*net.TCPConn), aborted: make(chan struct{})}
	l.wake = sync.NewCond(&l.mu)
	return l
}

// run serves the link until the client is gone or was cut off.
func (l *link) run() {
	l.sides.Go(l.deliver)
	l.requests()
	_, _ = io.Copy(io.Discard, l.client)
	l.finish()
	l.sides.Wait()
	l.abort()
}

// abort closes both connections at once.
func (l *link) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abortLocked()
}

func (l *link) abortLocked() {
	select {
	case <-l.aborted:
		return
	default:
	}
	close(l.aborted)
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
	l.finishLocked()
}

func (l *link) abortIfLossy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lossy {
		l.abortLocked()
	}
}

func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finishLocked()
}

func (l *link) finishLocked() {
	l.ending = true
	l.wake.Signal()
}

func (l *link) requests() {
	r := bufio.NewReaderSize(l.client, 64<<10)
	for {
		batch, err := readBatch(r)
		if len(batch) > 0 && !l.relay(batch) {
			return
		}
		if err != nil {
			l.finish()
			return
		}
	}
}

// relay forwards a batch as far as the faults allow, and returns false when the client is not to be listened to any
// more.
func (l *link) relay(batch []command) bool {
	if !l.wait(l.proxy.current().delay) {
		return false
	}
	if l.swallows() {
		return true
	}
	faults := l.faultsFor(batch)
	var fates []fate
	var forward []byte
	var passed [][]string
	last := false
	for _, c := range batch {
		f := faults.judge(c)
		fates = append(fates, f)
		if f.answered && f.last {
			last = true
			break
		}
		if f.answered {
			continue
		}
		forward = append(forward, c.raw...)
		if f.counted {
			passed = append(passed, c.args)
		}
	}
	return l.forward(forward, passed, fates) && !last
}

// faultsFor returns the present faults, and none once the connection has become a stream.
func (l *link) faultsFor(batch []command) faults {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream = l.stream || slices.ContainsFunc(batch, command.isStream)
	if l.stream {
		return faults{}
	}
	return l.proxy.current()
}

func (l *link) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-l.aborted:
		return false
	}
}

func (l *link) forward(raw []byte, passed [][]string, fates []fate) bool {
	var server net.Conn
	if len(raw) > 0 {
		if server = l.connect(); server == nil {
			l.finish()
			return false
		}
	}
	if !l.expect(fates, passed) {
		return false
	}
	if server == nil {
		return true
	}
	if _, err := server.Write(raw); err != nil {
		l.finish()
		return false
	}
	return true
}

// connect returns the connection to Redis, opened at its first use, or nil.
func (l *link) connect() net.Conn {
	l.mu.Lock()
	server := l.server
	l.mu.Unlock()
	if server != nil {
		return server
	}
	network := "tcp"
	if filepath.IsAbs(l.proxy.target) {
		network = "unix"
	}
	server, err := net.DialTimeout(network, l.proxy.target, patience)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.aborted:
		_ = server.Close()
		return nil
	default:
	}
	l.server = server
	l.sides.Go(func() { l.replies(server) })
	return server
}

// expect notes, before Redis can answer, that the replies to these requests are to come. It returns false when the
// client was cut off meanwhile and nothing more may reach Redis.
func (l *link) expect(fates []fate, passed [][]string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return false
	}
	if anyCounted(fates) {
		l.proxy.record(passed, !anyCounted(l.fates))
	}
	if !l.stream {
		l.fates = append(l.fates, fates...)
		l.answerLocked()
		l.wake.Signal()
	}
	return true
}

func anyCounted(fates []fate) bool {
	return slices.ContainsFunc(fates, func(f fate) bool { return f.counted })
}

// answerLocked gives the proxy's own answers as far as their turn has come.
func (l *link) answerLocked() {
	for len(l.fates) > 0 && l.fates[0].answered && !l.ending {
		l.out = append(l.out, l.fates[0].answer...)
		l.counts = l.counts || l.fates[0].counted
		l.ending = l.fates[0].last
		l.fates = l.fates[1:]
	}
}

func (l *link) replies(server net.Conn) {
	defer l.finish()
	r := bufio.NewReaderSize(server, 64<<10)
	for {
		reply, err := appendReply(nil, r)
		if err != nil {
			return
		}
		l.pass(reply)
	}
}

// pass lets one of Redis's replies through as far as its request's fate allows.
func (l *link) pass(reply []byte) {
	if l.swallows() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake.Signal()
	if l.ending {
		return
	}
	if isPush(reply) || l.stream || len(l.fates) == 0 {
		l.out = append(l.out, reply...)
		return
	}
	f := l.fates[0]
	l.fates = l.fates[1:]
	if f.limit >= 0 {
		reply = reply[:min(f.limit, len(reply))]
	}
	l.out = append(l.out, reply...)
	l.counts = l.counts || f.counted
	l.ending = f.last
	l.answerLocked()
}

// swallows tells whether the link is in the black hole, and if so lets nothing pass ever again.
func (l *link) swallows() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lossy = l.lossy || l.proxy.current().blackhole
	return l.lossy
}

// deliver writes to the client until the end, and then tells both sides that nothing more comes. Redis still executes
// what it was sent.
func (l *link) deliver() {
	for {
		l.mu.Lock()
		for len(l.out) == 0 && !l.ending {
			l.wake.Wait()
		}
		if l.counts {
			l.mu.Unlock()
			l.proxy.watching().hold(l.aborted)
			l.mu.Lock()
		}
		out, ending, server := l.out, l.ending, l.server
		l.out, l.counts = nil, false
		l.mu.Unlock()
		if _, err := l.client.Write(out); err != nil || ending {
			_ = l.client.CloseWrite()
			_ = l.client.SetReadDeadline(time.Now().Add(lingering))
			if half, ok := server.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			return
		}
	}
}
