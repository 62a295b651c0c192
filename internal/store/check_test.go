package store_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/store"
)

func TestCheckLeavesNoKeys(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		if e.Apart() != e.waves {
			t.Errorf("plans go in waves: %v, want %v", e.Apart(), e.waves)
		}
		for _, side := range []breaker.Side{breaker.Read, breaker.Write} {
			for _, letter := range []string{"a", "b", "c"} {
				if err := e.Probe(t.Context(), e.client, side, space.Session(id(letter))); err != nil {
					t.Error(err)
				}
			}
		}
		if left := e.keys(t); len(left) != 0 {
			t.Errorf("got %v, want no keys", left)
		}
	})
}

// A key of the wrong type is an answer as good as any.
func TestCheckProbesAKeyOfAnotherType(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		e.put(t, space.Session(id("a")), list{})
		e.put(t, space.Probe(0), "somebody else's")
		for _, side := range []breaker.Side{breaker.Read, breaker.Write} {
			if err := e.Probe(t.Context(), e.client, side, space.Session(id("a"))); err != nil {
				t.Error(err)
			}
		}
	})
}

// Servers that start at the same time try the same probe keys.
func TestCheckOfSeveralServersAtOnceRefusesNothing(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	var servers sync.WaitGroup
	for range 8 {
		s := newStore(t, client(t, srv.Addr))
		servers.Go(func() {
			for range 10 {
				if refused, err := s.Check(t.Context()); err != nil || len(refused) > 0 {
					t.Errorf("got %v and error %v, want a Redis that can do everything", refused, err)
				}
			}
		})
	}
	servers.Wait()
}

func TestCheckNamesWhatAnACLRefuses(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	admin := srv.Client()
	for _, name := range strings.Fields("get getrange expire exists setex del ttl pttl eval evalsha scan zadd zscore zcard zrange zrem") {
		t.Run("without "+name, func(t *testing.T) {
			t.Parallel()
			if err := admin.Do(t.Context(), "acl", "setuser", "without-"+name, "on", "nopass", "~session:*", "+@all", "-"+name).Err(); err != nil {
				t.Fatal(err)
			}
			s := newStore(t, client(t, srv.Addr, func(o *redis.Options) { o.Username, o.Password = "without-"+name, "any" }))
			refused, err := s.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			named, told := false, make(map[string]bool)
			for _, r := range refused {
				command, _, _ := strings.Cut(r.Error(), ": ")
				named = named || command == strings.ToUpper(name)
				if told[r.Error()] || command != strings.ToUpper(name) && command != "EVALSHA" {
					t.Errorf("got %v, want that command and the script that uses it, each once", refused)
				}
				told[r.Error()] = true
				if strings.Contains(r.Error(), "session:") {
					t.Errorf("%v shows a key", r)
				}
			}
			if !named {
				t.Errorf("got %v, want one that names the command", refused)
			}
		})
	}
	t.Run("without access to the keys", func(t *testing.T) {
		t.Parallel()
		if err := admin.Do(t.Context(), "acl", "setuser", "elsewhere", "on", "nopass", "~other:*", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
		s := newStore(t, client(t, srv.Addr, func(o *redis.Options) { o.Username, o.Password = "elsewhere", "any" }))
		if refused, err := s.Check(t.Context()); err != nil || len(refused) == 0 {
			t.Errorf("got %v and %v", refused, err)
		}
	})
	t.Run("without ping", func(t *testing.T) {
		t.Parallel()
		if err := admin.Do(t.Context(), "acl", "setuser", "without-ping", "on", "nopass", "~session:*", "+@all", "-ping").Err(); err != nil {
			t.Fatal(err)
		}
		s := newStore(t, client(t, srv.Addr, func(o *redis.Options) { o.Username, o.Password = "without-ping", "any" }))
		if _, err := s.Check(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "PING: NOPERM") {
			t.Errorf("got %v", err)
		}
	})
}

func TestCheckOfARedisThatIsAway(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	proxy.Refuse(true)
	s := newStore(t, client(t, proxy.Addr))
	if refused, err := s.Check(t.Context()); err == nil || len(refused) != 0 {
		t.Errorf("got %v and %v, want an error", refused, err)
	}
	if !s.Apart() {
		t.Error("one script is taken for granted")
	}
}

// A connection that is out of step shows parts of values where a reply should begin.
func TestErrorShowsNoValue(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, row := range []struct{ name, reply string }{
		{"a value in place of a reply", `{"password":"` + secret + "\"}\r\n"},
		{"a value in place of a number", ":" + secret + "\r\n"},
		{"a value in place of a length", "$" + secret + "\r\n"},
		{"a value in place of a count", "*" + secret + "\r\n"},
		{"a value in an error", "-ERR no such " + `{"v":"11111111r","password":"` + secret + "\"}\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, client(t, answering(t, row.reply), func(o *redis.Options) { o.Protocol = 2 }))
			_, err := s.Get(t.Context(), id("a"))
			_, err2 := s.Run(t.Context(), login())
			_, _, err3 := s.Load(t.Context(), soon(), space.Session(id("a")), time.Minute)
			_, err4 := s.Entries(t.Context(), []string{id("a")})
			err5 := s.Each(t.Context(), []store.Step{&store.End{ID: id("a")}})
			if err2 == nil || err5 == nil { // reading may take it for a string
				t.Errorf("got %v and %v of scripts, want errors", err2, err5)
			}
			for _, err := range []error{err, err2, err3, err4, err5} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// answering is the address of a server that answers whatever it is sent with reply, but
// for what opens a connection.
func answering(t *testing.T, reply string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, reply)
		}
	}()
	return l.Addr().String()
}

func answer(conn net.Conn, reply string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var args, size int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &args); err != nil {
			return
		}
		command := make([]string, args)
		for i := range command {
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return
			}
			word := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(r, word); err != nil {
				return
			}
			command[i] = string(word[:size])
		}
		said := reply
		if name := strings.ToLower(command[0]); name == "hello" || name == "client" {
			said = "-ERR unknown command\r\n"
		}
		_, _ = io.WriteString(conn, said)
	}
}
