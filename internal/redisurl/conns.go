package redisurl

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Conns are the open connections of a client to the servers that store sessions. Its
// methods may be called concurrently.
type Conns struct {
	mu   sync.Mutex
	open map[*conn]struct{}
}

// CloseAll closes every connection that is open now, idle or in use. Commands that wait
// for an answer fail at once; idle connections are found dead before their next use, and
// new ones are made. It waits for nobody.
func (c *Conns) CloseAll() { c.closeWhere(func(*conn) bool { return true }) }

// CloseTo is [Conns.CloseAll] for the connections to the address that was dialled, which
// of a node of a cluster is the one in its options.
func (c *Conns) CloseTo(addr string) { c.closeWhere(func(one *conn) bool { return one.addr == addr }) }

func (c *Conns) closeWhere(pick func(*conn) bool) {
	c.mu.Lock()
	var picked []*conn
	for one := range c.open {
		if pick(one) {
			picked = append(picked, one)
			delete(c.open, one)
		}
	}
	c.mu.Unlock()
	for _, one := range picked {
		_ = one.raw.Close() // a farewell of TLS could wait for a server that reads nothing
	}
}

func (c *Conns) add(one *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[*conn]struct{})
	}
	c.open[one] = struct{}{}
}

func (c *Conns) remove(one *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, one)
}

// conn is a connection that go-redis reads and writes.
type conn struct {
	net.Conn           // raw, or TLS over it
	raw      net.Conn  // TCP or a unix socket
	secure   *tls.Conn // nil without TLS
	addr     string
	owner    *Conns
	socket   syscall.RawConn // of raw, which each look at an idle connection needs; nil if there is none
}

func (c *conn) Close() error {
	c.owner.remove(c)
	return c.Conn.Close()
}

// dialer makes the connections of one client.
type dialer struct {
	timeout   time.Duration // of one connection, its TLS handshake included; 0 or less for none
	files     *tlsFiles     // nil without TLS
	sentinels []string      // to whom connections stay open, so that a failover is heard of
	conns     Conns
}

// keepAlive finds out within 45 s that an idle connection leads nowhere, as go-redis's
// own dialer does.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	raw, err := (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, addr: addr, owner: &d.conns}
	if d.files != nil {
		c.secure = tls.Client(raw, d.files.connect(addr))
		c.Conn = c.secure
		if err := c.secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	if of, ok := raw.(syscall.Conn); ok {
		c.socket, _ = of.SyscallConn()
	}
	if !slices.Contains(d.sentinels, addr) {
		d.conns.add(c)
	}
	return c, nil
}
