package overhttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redsession/redsession/benchmarks/internal/peer"
)

type loadOrders struct {
	Address     string
	Connections int
	Lasts       time.Duration
}

// loaded is what one round gave.
type loaded struct {
	PerSecond float64
	P50, P99  time.Duration
	Failed    int // requests that were not answered with 204; they are in no other figure
}

// tolerated is the part of the requests that may fail, as on a machine that is busy with other things.
const tolerated = 0.01

func (l loaded) check(done int) error {
	if float64(l.Failed) > tolerated*float64(done) {
		return fmt.Errorf("%d of %d requests failed", l.Failed, done+l.Failed)
	}
	return nil
}

// load logs in on every connection and then sends reads, the next one when the last is answered.
func load(in *bufio.Reader) error {
	var o loadOrders
	if err := orders(in, &o); err != nil {
		return err
	}
	connections := make([]*connection, o.Connections)
	for i := range connections {
		c, err := dial(o.Address, fmt.Sprint("ada-", i))
		if err != nil {
			return err
		}
		defer c.conn.Close()
		connections[i] = c
	}
	if _, err := work(connections, o.Lasts/10); err != nil { // opens the server's own connections
		return err
	}
	l, err := work(connections, o.Lasts)
	if err != nil {
		return err
	}
	return answer(l)
}

func work(connections []*connection, lasts time.Duration) (loaded, error) {
	errs := make([]error, len(connections))
	begin := time.Now()
	end := begin.Add(lasts)
	var wg sync.WaitGroup
	for i, c := range connections {
		wg.Go(func() { errs[i] = c.readUntil(end) })
	}
	wg.Wait()
	took := time.Since(begin)
	var all []time.Duration
	var l loaded
	for _, c := range connections {
		all = append(all, c.latencies...)
		l.Failed += c.failed
	}
	slices.Sort(all)
	if err := errors.Join(append(errs, l.check(len(all)))...); err != nil || len(all) == 0 {
		return loaded{}, err
	}
	at := func(percent int) time.Duration { return all[min(len(all)*percent/100, len(all)-1)] }
	l.PerSecond, l.P50, l.P99 = float64(len(all))/took.Seconds(), at(50), at(99)
	return l, nil
}

// connection is one keep-alive connection with a session. net/http's client would cost more than the servers do, on the
// same cores; so the request is bytes that were made once.
type connection struct {
	conn      net.Conn
	in        *bufio.Reader
	cookie    string // name=value
	request   []byte
	latencies []time.Duration
	failed    int
}

func dial(address, user string) (*connection, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{conn: conn, in: bufio.NewReader(conn)}
	head := func(path string, more ...string) []byte {
		lines := append([]string{"GET " + path + " HTTP/1.1", "Host: " + address}, more...)
		return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
	}
	if _, err := conn.Write(head("/login", peer.UserHeader+": "+user)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return nil, errors.Join(fmt.Errorf("login: status %d", response.StatusCode), conn.Close())
	}
	if cookies := response.Cookies(); len(cookies) > 0 {
		last := cookies[len(cookies)-1]
		c.cookie = last.Name + "=" + last.Value
	}
	c.request = head("/read", "Cookie: "+c.cookie)
	return c, nil
}

// readUntil sends reads until then. It forgets what it measured before.
func (c *connection) readUntil(end time.Time) error {
	c.latencies, c.failed = c.latencies[:0], 0
	for sent := time.Now(); sent.Before(end); {
		if _, err := c.conn.Write(c.request); err != nil {
			return err
		}
		ok, err := c.skipResponse()
		if err != nil {
			return err
		}
		now := time.Now()
		if ok {
			c.latencies = append(c.latencies, now.Sub(sent))
		} else {
			c.failed++
		}
		sent = now
	}
	return nil
}

// skipResponse reads a response and tells whether it was 204. Any other may have a body, which net/http reads.
func (c *connection) skipResponse() (ok bool, err error) {
	want := []byte("HTTP/1.1 204")
	if head, err := c.in.Peek(len(want)); err != nil || !bytes.Equal(head, want) {
		if err != nil {
			return false, err
		}
		response, err := http.ReadResponse(c.in, nil)
		if err != nil {
			return false, err
		}
		_, err = io.Copy(io.Discard, response.Body)
		return false, errors.Join(err, response.Body.Close())
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil || len(line) == len("\r\n") {
			return true, err
		}
	}
}
