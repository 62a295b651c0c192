package redistest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/redistest"
)

const loading = "-LOADING Redis is loading\r\n"

func TestCutReplyExecutesTheCommandAndLosesItsReply(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	p.CutReply(named("INCR"))
	got := exchange(t, p, "SET before 1", "INCR n", "SET after 1", "INCR n")
	if want := "+OK\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	eventually(t, "the rest of the pipeline", func() bool { return value(t, s, "n") == "2" })
	if got := value(t, s, "after"); got != "1" {
		t.Errorf("a command behind the cut one: got %q, want 1", got)
	}
	if err := dial(t, p.URL).Incr(t.Context(), "n").Err(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
	if got := value(t, s, "n"); got != "3" {
		t.Errorf("when the client noticed: got %q, want 3", got)
	}
	p.CutReply(nil)
	if got, err := dial(t, p.URL).Incr(t.Context(), "n").Result(); got != 4 || err != nil {
		t.Errorf("switched off: got %d, %v, want 4", got, err)
	}
}

func TestCutRequestForwardsNeitherTheCommandNorWhatFollows(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	p.CutRequest(named("INCR"))
	got := exchange(t, p, "SET before 1", "GET before", "INCR n", "SET after 1")
	if want := "+OK\r\n$1\r\n1\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := s.Client().Exists(t.Context(), "n", "after").Val(); n != 0 {
		t.Errorf("%d keys were written, want 0", n)
	}
	p.CutRequest(nil)
	if got, err := dial(t, p.URL).Incr(t.Context(), "n").Result(); got != 1 || err != nil {
		t.Errorf("switched off: got %d, %v, want 1", got, err)
	}
}

func TestReplyAnswersInItsPlaceInAPipeline(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	p.Reply(func(args []string) (string, bool) { return loading, args[0] == "GET" })
	got := exchange(t, p, "GET a", "SET a 1", "GET a", "GET a", "STRLEN a", "GET a", "QUIT")
	if want := loading + "+OK\r\n" + loading + loading + ":1\r\n" + loading + "+OK\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := dial(t, p.URL).Get(t.Context(), "a").Err(); !isRefusal(err, "LOADING") {
		t.Errorf("got %v, want LOADING", err)
	}
	p.Reply(nil)
	if got, err := dial(t, p.URL).Get(t.Context(), "a").Result(); got != "1" || err != nil {
		t.Errorf("switched off: got %q, %v, want 1", got, err)
	}
}

func TestTruncatePassesOnlyTheFirstBytes(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	for _, row := range []struct {
		n    int
		want string
	}{
		{0, "+OK\r\n"},
		{3, "+OK\r\n$3\r"},
		{8, "+OK\r\n$3\r\nabc\r"},
		{100, "+OK\r\n$3\r\nabc\r\n"},
	} {
		p.Truncate(func(args []string) (int, bool) { return row.n, args[0] == "GET" })
		if got := exchange(t, p, "SET a abc", "GET a", "GET a"); got != row.want {
			t.Errorf("%d bytes: got %q, want %q", row.n, got, row.want)
		}
	}
	p.Truncate(nil)
	if got := exchange(t, p, "GET a", "QUIT"); got != "$3\r\nabc\r\n+OK\r\n" {
		t.Errorf("switched off: got %q", got)
	}
}

func TestDelayHoldsBackAPipelineOnce(t *testing.T) {
	t.Parallel()
	const delay, commands = 200 * time.Millisecond, 100
	p, _ := startProxy(t)
	p.Delay(delay)
	start := time.Now()
	exchange(t, p, append(slices.Repeat([]string{"GET a"}, commands-1), "QUIT")...)
	if took := time.Since(start); took < delay || took >= commands*delay/2 { // far from both on a busy machine
		t.Errorf("got %v, want little more than %v", took, delay)
	}
	p.Delay(time.Hour)
	p.Delay(0)
	if got := exchange(t, p, "PING", "QUIT"); got != "+PONG\r\n+OK\r\n" {
		t.Errorf("switched off: got %q, want an answer", got)
	}
}

func TestDelayedRequestIsExecutedAfterItsClientGaveUp(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	conn := connect(t, p)
	p.Delay(50 * time.Millisecond)
	send(t, conn, "INCR n")
	conn.Close()
	eventually(t, "the late write", func() bool { return value(t, s, "n") == "1" })
}

func TestBlackholeSwallowsEverythingUntilItIsLifted(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	old := connect(t, p)
	send(t, old, "SET a 1")
	readTo(t, bufio.NewReader(old), "+OK\r\n")
	p.Blackhole(true)
	for name, conn := range map[string]net.Conn{"an open connection": old, "a new connection": connect(t, p)} {
		send(t, conn, "INCR n")
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %v, want a timeout", name, err)
		}
	}
	p.Blackhole(false)
	_ = old.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := old.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that lost a request: got %d bytes, %v, want it closed", n, err)
	}
	if got, err := dial(t, p.URL).Incr(t.Context(), "n").Result(); got != 1 || err != nil {
		t.Errorf("lifted: got %d, %v, want 1", got, err)
	}
	if got := value(t, s, "n"); got != "1" {
		t.Errorf("got %s, want 1", got)
	}
}

func TestBlackholeSwallowsTheReplyThatIsUnderWay(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	conn := connect(t, p)
	send(t, conn, "BLPOP list 0")
	eventually(t, "the command to block", func() bool { return blocked(t, s) == "1" })
	p.Blackhole(true)
	s.Client().RPush(t.Context(), "list", "item")
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
}

func TestRefuseEndsConnectionsAndListensAgainOnTheSamePort(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	open := connect(t, p)
	for range 3 {
		p.Refuse(true)
		p.Refuse(true)
		if conn, err := net.Dial("tcp", p.Addr); err == nil {
			conn.Close()
			t.Error("a dial was accepted")
		}
		_ = open.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an open connection: got %v, want it closed", err)
		}
		p.Refuse(false)
		p.Refuse(false)
		open = connect(t, p)
		send(t, open, "ECHO back")
		readTo(t, bufio.NewReader(open), "back\r\n")
	}
}

func TestConnectionEndsWhenRedisIsGone(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	conn := connect(t, p)
	send(t, conn, "ECHO here")
	r := bufio.NewReader(conn)
	readTo(t, r, "here\r\n")
	s.Kill()
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("got %q, %v, want EOF", rest, err)
	}
	if got := exchange(t, p, "GET a"); got != "" {
		t.Errorf("a new connection: got %q, want EOF", got)
	}
	s.Restart()
	if got := exchange(t, p, "ECHO x", "QUIT"); got != "$1\r\nx\r\n+OK\r\n" {
		t.Errorf("after the restart: got %q", got)
	}
}

func TestHandshakePassesEveryFault(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	every := func([]string) bool { return true }
	p.CutReply(every)
	if err := dial(t, p.URL+"/2").Set(t.Context(), "a", "1", 0).Err(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
	if got := dial(t, s.URL+"/2").Get(t.Context(), "a").Val(); got != "1" {
		t.Errorf("got %q, want the command to be executed", got)
	}
}

func TestFaultsMaySwitchWhileClientsWork(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		client := dial(t, p.URL+"?read_timeout=20ms&dial_timeout=20ms")
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					client.Incr(t.Context(), "n")
				}
			}
		})
	}
	for range 10 {
		p.CutReply(named("INCR"))
		p.Blackhole(true)
		p.Delay(time.Millisecond)
		p.Reply(func([]string) (string, bool) { return loading, true })
		p.Refuse(true)
		p.Refuse(false)
		p.Reply(nil)
		p.Delay(0)
		p.Blackhole(false)
		p.CutReply(nil)
		before := len(p.Commands())
		eventually(t, "commands to pass", func() bool { return len(p.Commands()) > before })
	}
	close(stop)
	workers.Wait()
	p.Refuse(true)
	executed, err := s.Client().Get(t.Context(), "n").Int()
	if forwarded := len(p.Commands()); err != nil || executed > forwarded {
		t.Errorf("Redis executed %d commands, %v, of %d that were forwarded", executed, err, forwarded)
	}
}

func startProxy(t testing.TB) (*redistest.Proxy, *redistest.Server) {
	t.Helper()
	s := redistest.Start(t)
	return redistest.NewProxy(t, s.Addr), s
}

func named(name string) func([]string) bool {
	return func(args []string) bool { return args[0] == name }
}

func value(t testing.TB, s *redistest.Server, key string) string {
	t.Helper()
	return s.Client().Get(t.Context(), key).Val()
}

func blocked(t testing.TB, s *redistest.Server) string {
	t.Helper()
	return s.Client().InfoMap(t.Context(), "clients").Item("Clients", "blocked_clients")
}

// send writes the commands, their words divided by spaces, as one pipeline.

// exchange sends the commands on a new connection and returns what comes back until it is closed.
