package flashes_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/redsessiontest"
)

// Notice is a message with a level.
type Notice struct{ Level, Text string }

const (
	notices = redsession.FlashKey[Notice]("notice")
	counts  = redsession.FlashKey[int]("count")
)

// browser is one visitor, whose requests do what they are told.
type browser struct {
	t *testing.T
	m *redsessiontest.Manager
	r *http.Request
}

func visit(t *testing.T, change ...func(*redsession.Config)) *browser {
	t.Helper()
	return &browser{t, redsessiontest.New(t, change...), httptest.NewRequest("GET", "/", nil)}
}

// do runs fn in a request of method, and returns the status.
func (b *browser) do(method string, fn func(*redsession.Session), fields ...string) int {
	b.t.Helper()
	r := b.r.Clone(b.r.Context())
	r.Method = method
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	b.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(b.m.FromContext(r.Context())) })).ServeHTTP(w, r)
	if c := b.m.Cookie(w.Result()); c != nil {
		b.r.Header.Set("Cookie", c.Name+"="+c.Value)
	}
	return w.Code
}

func (b *browser) want(where string, want ...Notice) {
	b.t.Helper()
	b.do("GET", func(s *redsession.Session) {
		if got := notices.Take(s); !reflect.DeepEqual(got, want) {
			b.t.Errorf("%s: got %v, want %v", where, got, want)
		}
	})
}

func TestFlashKeyThroughTheLifeOfASession(t *testing.T) {
	t.Parallel()
	one, two := Notice{"info", `<b>"1"`}, Notice{"error", "2"}
	for _, row := range []struct {
		name  string
		do    func(*redsession.Session)
		first bool // what was added in the request before is there
	}{
		{"nothing else", func(*redsession.Session) {}, true},
		{"a login", func(s *redsession.Session) { s.Login("alice") }, true},
		{"a logout", func(s *redsession.Session) { s.Logout() }, true},
		{"Clear", func(s *redsession.Session) { s.Clear() }, true},
		{"a rotation", func(s *redsession.Session) { s.Rotate() }, true},
		{"a login and a logout", func(s *redsession.Session) { s.Login("alice"); s.Logout() }, true},
		{"a login as another user", func(s *redsession.Session) { s.Login("alice"); s.Login("bob") }, false},
	} {
		for _, before := range []bool{false, true} {
			b := visit(t)
			b.do("GET", func(s *redsession.Session) { notices.Add(s, one) })
			b.do("GET", func(s *redsession.Session) {
				if before {
					notices.Add(s, two)
				}
				row.do(s)
				if !before {
					notices.Add(s, two)
				}
			})
			var want []Notice
			if row.first {
				want = append(want, one)
			}
			if row.first || !before {
				want = append(want, two)
			}
			b.want(row.name, want...)
			b.want(row.name + ", taken already")
		}
	}
}

func TestFlashKeysDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	b := visit(t)
	const value = redsession.Key[string]("notice")
	const odd, none = redsession.FlashKey[int]("_flash"), redsession.FlashKey[int]("")
	b.do("GET", func(s *redsession.Session) {
		value.Set(s, "a value")
		s.Flash("a message")
		counts.Add(s, 1)
		notices.Add(s, Notice{"info", "1"})
		odd.Add(s, 2)
		none.Add(s, 3)
		counts.Add(s, 4)
		if got := s.Keys(); !reflect.DeepEqual(got, []string{"notice"}) {
			t.Errorf("got keys %q, want the value's alone", got)
		}
	})
	b.want("notices", Notice{"info", "1"})
	b.do("GET", func(s *redsession.Session) {
		v, _ := value.Get(s)
		got := fmt.Sprint(v, s.Flashes(), counts.Take(s), odd.Take(s), none.Take(s), counts.Take(s), s.Flashes())
		if want := "a value[a message] [1 4] [2] [3] [] []"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestFlashKeyIsShownAtLeastOnce(t *testing.T) {
	t.Parallel()
	one := Notice{"info", "1"}
	for _, row := range []struct {
		name, method string
		fields       []string
		fails        bool
	}{
		{"HEAD", "HEAD", nil, false},
		{"a prefetch", "GET", []string{"Sec-Purpose", "prefetch"}, false},
		{"a response that was dropped", "GET", nil, true},
	} {
		b := visit(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
		b.do("GET", func(s *redsession.Session) { notices.Add(s, one) })
		b.do(row.method, func(s *redsession.Session) {
			if got := notices.Take(s); !reflect.DeepEqual(got, []Notice{one}) {
				t.Errorf("%s: got %v, want it", row.name, got)
			}
			if row.fails {
				redsession.Key[string]("large").Set(s, strings.Repeat("x", 1000))
			}
		}, row.fields...)
		b.want(row.name, one)
	}
}

// Entries that do not decode are neither shown nor lost, and the log says so without the value.
func TestFlashKeyThatDoesNotDecode(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	b := visit(t, func(c *redsession.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	const older, newer = redsession.FlashKey[string]("f"), redsession.FlashKey[int]("f")
	b.do("GET", func(s *redsession.Session) {
		older.Add(s, "hunter2")
		newer.Add(s, 7)
	})
	for range 2 {
		b.do("GET", func(s *redsession.Session) { _ = newer.Take(s) })
	}
	if said := log.String(); strings.Count(said, "a flash does not decode") != 1 || !strings.Contains(said, `\"f\" as int`) || strings.Contains(said, "hunter2") {
		t.Errorf("got log %s, want one line that names the key and the type alone", said)
	}
	b.do("GET", func(s *redsession.Session) {
		if got := older.Take(s); !reflect.DeepEqual(got, []string{"hunter2"}) {
			t.Errorf("got %q, want what the other type could not decode", got)
		}
	})
	for name, add := range map[string]func(*redsession.Session){
		"a value that does not encode": func(s *redsession.Session) { redsession.FlashKey[any]("f").Add(s, func() {}) },
		"text that is not UTF-8":       func(s *redsession.Session) { older.Add(s, "\xff") },
		"a name that is not UTF-8":     func(s *redsession.Session) { redsession.FlashKey[int]("\xff").Add(s, 1) },
	} {
		if status := b.do("GET", add); status != 500 {
			t.Errorf("%s: got %d, want 500", name, status)
		}
	}
}

func TestFlashKeyKeepsTheLatest(t *testing.T) {
	t.Parallel()
	b := visit(t)
	b.do("GET", func(s *redsession.Session) {
		for i := range 60 {
			counts.Add(s, i)
		}
		s.Flash("the last")
	})
	b.do("GET", func(s *redsession.Session) {
		if got := counts.Take(s); len(got) != 49 || got[0] != 11 || got[48] != 59 {
			t.Errorf("got %v, want the latest 50 with the message", got)
		}
	})
}

func TestFlashKeyAddedByParallelRequests(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.NewBrowser(t, stage.Serve(t, e.Manager(t), stage.Handlers{
			"/add": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { counts.Add(s, 1) },
			"/take": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				fmt.Fprint(w, len(counts.Take(s)))
			},
		}))
		b.Get("/add")
		stage.AtOnce(20, func(int) int { return b.Get("/add").StatusCode })
		if got, again := b.Get("/take").Text, b.Get("/take").Text; got != "21" || again != "0" {
			t.Errorf("got %s and then %s, want 21 and then 0", got, again)
		}
	})
}

// syncBuffer is a log that may be read while it is written to.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
