package redistest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

func TestTruncateCountsRepliesOfEveryShapeAsOne(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	p.Truncate(func(args []string) (int, bool) { return 4, args[0] == "ECHO" })
	for _, script := range []string{
		"return {1, {2, {}}, false}",
		"return {map={a={map={b=1}}}}",
		"return {set={a=true}}",
		"return {double=1.5}",
		"return {big_number='12345678901234567890'}",
		"return {verbatim_string={format='txt', string='a'}}",
		"return true",
		"return nil",
		"return {err='ERR own'}",
		"return string.rep('\\r\\n', 100000)",
	} {
		for _, protocol := range []string{"2", "3"} {
			// HELLO's own reply holds a number that differs between connections; all up to SET's is left out.
			start := [][]string{{"HELLO", protocol}, {"SET", "a", "1"}, {"EVAL", "redis.setresp(" + protocol + "); " + script, "0"}}
			_, want, _ := strings.Cut(exchangeArgs(t, p, append(start, []string{"QUIT"})...), "+OK\r\n")
			want = strings.TrimSuffix(want, "+OK\r\n") + "$5\r\n"
			_, got, _ := strings.Cut(exchangeArgs(t, p, append(start, []string{"ECHO", "hello"})...), "+OK\r\n")
			if got != want {
				t.Errorf("%s in RESP%s: got %.200q, want %.200q", script, protocol, got, want)
			}
		}
	}
}

func TestPushedMessagesAnswerNoRequest(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	conn := connect(t, p)
	send(t, conn, "HELLO 3", "CLIENT TRACKING ON", "GET a", "ECHO start")
	r := bufio.NewReader(conn)
	readTo(t, r, "start\r\n")
	set(t, s.Client(), "a", "1")
	readTo(t, r, "invalidate\r\n*1\r\n$1\r\na\r\n")
	p.CutReply(named("INCR"))
	send(t, conn, "GET a", "INCR n", "GET a")
	rest, err := io.ReadAll(r)
	if want := "$1\r\n1\r\n"; string(rest) != want || err != nil {
		t.Errorf("after the push: got %q, %v, want %q", rest, err, want)
	}
}

func TestSubscribersGetTheirMessages(t *testing.T) {
	t.Parallel()
	p, s := startProxy(t)
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: p.Addr, Protocol: protocol})
		defer client.Close()
		subscription := client.Subscribe(t.Context(), "news")
		defer subscription.Close()
		if _, err := subscription.Receive(t.Context()); err != nil {
			t.Fatalf("RESP%d: subscribing: %v", protocol, err)
		}
		for _, want := range []string{"one", "two"} {
			s.Client().Publish(t.Context(), "news", want)
			if got, err := subscription.ReceiveMessage(t.Context()); err != nil || got.Payload != want {
				t.Errorf("RESP%d: got %v, %v, want %s", protocol, got, err, want)
			}
			if err := subscription.Ping(t.Context()); err != nil {
				t.Errorf("RESP%d: PING: %v", protocol, err)
			}
			if _, err := subscription.Receive(t.Context()); err != nil {
				t.Errorf("RESP%d: PONG: %v", protocol, err)
			}
		}
	}
}

func connect(t testing.TB, p *redistest.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatalf("dialling the proxy: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func send(t testing.TB, conn net.Conn, commands ...string) {
	t.Helper()
	var words [][]string
	for _, c := range commands {
		words = append(words, strings.Fields(c))
	}
	sendArgs(t, conn, words...)
}

func sendArgs(t testing.TB, conn net.Conn, commands ...[]string) {
	t.Helper()
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(c))
		for _, word := range c {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		t.Fatalf("sending: %v", err)
	}
}

func exchange(t testing.TB, p *redistest.Proxy, commands ...string) string {
	t.Helper()
	conn := connect(t, p)
	send(t, conn, commands...)
	return readAll(t, conn)
}

func exchangeArgs(t testing.TB, p *redistest.Proxy, commands ...[]string) string {
	t.Helper()
	conn := connect(t, p)
	sendArgs(t, conn, commands...)
	return readAll(t, conn)
}

func readAll(t testing.TB, conn net.Conn) string {
	t.Helper()
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("reading until the end: %v", err)
	}
	return string(got)
}

func readTo(t testing.TB, r *bufio.Reader, end string) {
	t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), end) {
		b, err := r.ReadByte()
		if err != nil {
			t.Fatalf("reading to %q: got %q, %v", end, got.String(), err)
		}
		got.WriteByte(b)
	}
}
