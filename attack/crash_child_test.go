package attack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/tuning"
)

// childVar holds a task; the test binary then performs it in place of the tests.
const childVar = "REDSESSION_ATTACK_TASK"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVar); text != "" {
		os.Exit(child(text))
	}
	redis.SetLogger(silence{}) // of the dials that fail, as they are meant to
	os.Exit(m.Run())
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// task is what a child process does, and where it dies.
type task struct {
	Operation string
	Addrs     []string
	Cluster   bool
	Apart     bool // the parts of a plan are round trips apart
	Prefix    string
	Point     int  // die at this Redis command, counted from 1; 0 for never
	After     bool // once its reply is there, in place of before it is sent
	Later     time.Duration
	Wait      time.Duration // Config.OutageWait; 0 for none
	Cookies   []string
}

// report is what the child has been answered by the time it is over, or dead: it is written before the next thing is
// tried.
type report struct {
	Commands int      // so far
	Names    []string // of them
	Answers  []outcome
	Err      string
}

type outcome struct {
	Status int
	Cookie string
}

// dial makes a client of the Redis at addrs, over n unless that is nil.
func dial(addrs []string, cluster bool, n *network) redis.UniversalClient {
	var dialer func(ctx context.Context, network, addr string) (net.Conn, error)
	if n != nil {
		dialer = n.dial
	}
	if cluster {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: dialer, DialerRetries: 1, ContextTimeoutEnabled: true})
	}
	return redis.NewClient(&redis.Options{Addr: addrs[0], Dialer: dialer, DialerRetries: 1, ContextTimeoutEnabled: true})
}

// network can be cut.
type network struct {
	mu    sync.Mutex
	away  bool
	conns []*net.TCPConn
}

// errAway is what a dial says when nobody listens: surely nothing was sent.
var errAway = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && n.away {
		err = errors.Join(errAway, conn.Close())
		conn = nil
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		n.conns = append(n.conns, tcp)
	}
	return conn, err
}

// setAway ends every connection and lets nobody connect, or does so again.
func (n *network) setAway(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away = away; away {
		for _, conn := range n.conns {
			_, _ = conn.CloseWrite(), conn.CloseRead() // as if Redis had ended it
		}
		n.conns = nil
	}
}

func child(text string) int {
	var tk task
	if err := json.Unmarshal([]byte(text), &tk); err != nil {
		return 2
	}
	redis.SetLogger(silence{})
	tuning.Set(tuning.Values{Apart: tk.Apart})
	r, n := &reaper{point: tk.Point, after: tk.After}, &network{}
	client := dial(tk.Addrs, tk.Cluster, n)
	client.AddHook(r)
	c := &crashing{task: &tk, reaper: r, network: n, passed: make(chan struct{}, 1)}
	settings := childSettings(client, &tk)
	settings.OnEvent = c.watch
	m, err := redsession.New(settings)
	if err != nil {
		return 2
	}
	c.m = m
	r.armed.Store(true)
	operations[tk.Operation].run(c)
	if err := m.Close(); err != nil {
		c.report.Err = err.Error()
	}
	c.tell()
	return 0
}

func childSettings(client redis.UniversalClient, tk *task) redsession.Config {
	c := settings(client, tk.Prefix, func() time.Time { return time.Now().Add(tk.Later) })
	c.MaxPerUser = crashLimit
	if c.OutageWait = -1; tk.Wait > 0 {
		c.OutageWait = tk.Wait
	}
	c.Adopt = []redsession.Legacy{oldShop(client, tk.Prefix)}
	return c
}

// oldShop is another package's sessions, one value each, kept on the same Redis so that the process can die between its
// commands too.
func oldShop(client redis.UniversalClient, prefix string) redsession.Legacy {
	key := func(id string) string { return "old:" + prefix + id }
	return redsession.Legacy{
		Source: "shop", Cookie: "oldshop",
		Load: func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			v, err := client.Get(ctx, key(id)).Result()
			if errors.Is(err, redis.Nil) {
				return nil, nil
			}
			return &redsession.LegacyRecord{UserID: "alice", Values: map[string]any{"a": v}}, err
		},
		Delete: func(ctx context.Context, id string) error { return client.Del(ctx, key(id)).Err() },
	}
}

// crashing is the child's side of an operation.
type crashing struct {
	*task
	m       *redsession.Manager
	reaper  *reaper
	network *network
	report  report
	passing atomic.Bool   // an outage is over once the Manager has noticed it
	passed  chan struct{} // the Manager has noticed that, too
}

// watch is Config.OnEvent.
func (c *crashing) watch(_ context.Context, e redsession.Event) {
	switch {
	case !c.passing.Load():
	case e.Kind == redsession.EventOutageBegan:
		c.network.setAway(false)
	case e.Kind == redsession.EventOutageEnded:
		select {
		case c.passed <- struct{}{}:
		default: // it has been told already
		}
	}
}

// ask sends a request and tells the parent how it was answered: from then on it counts as acknowledged.
func (c *crashing) ask(cookie string, old *http.Cookie, do handler) {
	a := request(context.Background(), c.m, cookie, old, do)
	o := outcome{Status: a.status}
	for _, set := range a.ours {
		o.Cookie = set.Value
	}
	c.report.Answers = append(c.report.Answers, o)
	c.tell()
}

// note is ask for what is no request.
func (c *crashing) note(err error) {
	o := outcome{Status: http.StatusOK}
	if err != nil {
		o.Status = http.StatusServiceUnavailable
	}
	c.report.Answers = append(c.report.Answers, o)
	c.tell()
}

// tell writes the report as a line, in one write.
func (c *crashing) tell() {
	c.report.Commands, c.report.Names = c.reaper.so()
	line, err := json.Marshal(c.report)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stdout, "%s\n", line)
}

// reaper is a hook that kills its own process at one of the commands.
type reaper struct {
	point int
	after bool
	armed atomic.Bool

	mu    sync.Mutex
	names []string
}

func (r *reaper) so() (int, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.names), append([]string(nil), r.names...)
}

// next counts a command and tells whether it is the last one.
func (r *reaper) next(cmd redis.Cmder) bool {
	if handshake := cmd.Name() == "hello" || cmd.Name() == "client" || cmd.Name() == "ping"; handshake || !r.armed.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, cmd.Name())
	return len(r.names) == r.point
}

func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // the signal is on its way
}

func (r *reaper) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *reaper) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		last := r.next(cmd)
		if last && !r.after {
			die()
		}
		err := next(ctx, cmd)
		if last {
			die()
		}
		return err
	}
}

// ProcessPipelineHook may die in the midst of a pipeline: then only the commands before reach Redis.
func (r *reaper) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for i, cmd := range cmds {
			if !r.next(cmd) {
				continue
			}
			if r.after {
				i++
			}
			if i > 0 {
				_ = next(ctx, cmds[:i])
			}
			die()
		}
		return next(ctx, cmds)
	}
}
