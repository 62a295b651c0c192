package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// visits returns a function that runs a step in the session of one browser's
// next request to m.
func visits(t *testing.T, m *redsession.Manager) func(step func(*redsession.Session)) answer {
	t.Helper()
	steps := make(chan func(*redsession.Session), 1)
	b := newBrowser(t, serve(t, m, handlers{"/": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { (<-steps)(s) }}))
	return func(step func(*redsession.Session)) answer {
		t.Helper()
		steps <- step
		return b.get("/")
	}
}

type item struct {
	Name string         `json:"name"`
	Tags map[string]int `json:"tags,omitempty"`
	Next *item          `json:"next,omitempty"`
}

// roundTrip sets v in one request and gets it in the next.
func roundTrip[T any](v T) func(*testing.T, func(func(*redsession.Session)) answer) {
	const key = redsession.Key[T]("key")
	return func(t *testing.T, visit func(func(*redsession.Session)) answer) {
		check := func(when string) func(*redsession.Session) {
			return func(s *redsession.Session) {
				if got, ok := key.Get(s); !ok || !reflect.DeepEqual(got, v) {
					t.Errorf("got %#v, %v %s, want %#v", got, ok, when, v)
				}
				if got, ok, err := key.Load(s); !ok || err != nil || !reflect.DeepEqual(got, v) {
					t.Errorf("got %#v, %v, %v from Load %s, want %#v", got, ok, err, when, v)
				}
			}
		}
		visit(func(s *redsession.Session) {
			key.Set(s, v)
			check("at once")(s)
		})
		visit(check("in the next request"))
		visit(func(s *redsession.Session) {
			if got, ok, err := key.Take(context.Background(), s); !ok || err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("got %#v, %v, %v from Take, want %#v", got, ok, err, v)
			}
		})
		visit(func(s *redsession.Session) {
			if got, ok, err := key.Load(s); ok || err != nil {
				t.Errorf("got %#v, %v, %v after Take, want nothing", got, ok, err)
			}
		})
	}
}

func TestKeyRoundTrip(t *testing.T) {
	visit := visits(t, newMini(t).manager(t))
	for _, row := range []struct {
		name string
		run  func(*testing.T, func(func(*redsession.Session)) answer)
	}{
		{"an empty string", roundTrip("")},
		{"a string with escapes", roundTrip("\"\\/\b\f\n\r\t\x00\x1f\x7f")},
		{"a string that is HTML", roundTrip("<a href='x'>&amp;</a>")},
		{"a string with unicode", roundTrip("日本語 \u2028 😀 é")},
		{"a string that looks like JSON", roundTrip(`{"v":"t","d":{}}`)},
		{"a string that ends in a backslash", roundTrip(`\`)},
		{"the largest int", roundTrip(math.MaxInt)},
		{"the smallest int", roundTrip(math.MinInt)},
		{"an int of its own type", roundTrip(time.Hour)},
		{"a large uint64", roundTrip(uint64(math.MaxUint64))},
		{"a float", roundTrip(math.Pi)},
		{"a small float", roundTrip(math.SmallestNonzeroFloat64)},
		{"true", roundTrip(true)},
		{"false", roundTrip(false)},
		{"a struct", roundTrip(item{Name: "a", Tags: map[string]int{"x": 1}, Next: &item{Name: "b"}})},
		{"an empty struct", roundTrip(struct{}{})},
		{"a slice", roundTrip([]string{"a", "", "b"})},
		{"an empty slice", roundTrip([]int{})},
		{"a nil slice", roundTrip([]int(nil))},
		{"bytes", roundTrip([]byte{0, 1, 255})},
		{"a map", roundTrip(map[string][]int{"ü": {1}, "": nil})},
		{"a nil pointer", roundTrip((*item)(nil))},
		{"a pointer", roundTrip(&item{Name: "p"})},
		{"a time", roundTrip(time.Unix(1700000000, 5).UTC())},
	} {
		t.Run(row.name, func(t *testing.T) { row.run(t, visit) })
	}
}

func TestKeyNameMayBeAnyText(t *testing.T) {
	visit := visits(t, newMini(t).manager(t))
	for _, name := range []string{"", `"`, `\`, "d", "t", "v", "_flash ", "日本", "\x00", "a\nb", `{"`} {
		visit(func(s *redsession.Session) { redsession.Key[string](name).Set(s, name) })
		visit(func(s *redsession.Session) {
			if got, ok := redsession.Key[string](name).Get(s); !ok || got != name {
				t.Errorf("got %q, %v under the key %q", got, ok, name)
			}
		})
	}
	if a := visit(func(s *redsession.Session) { redsession.Key[int]("\xff").Set(s, 1) }); a.StatusCode != 500 {
		t.Errorf("got status %d for a key that is not UTF-8, want 500", a.StatusCode)
	}
}

func TestSetEncodesAtTheCall(t *testing.T) {
	const list = redsession.Key[[]string]("list")
	visit := visits(t, newMini(t).manager(t))
	visit(func(s *redsession.Session) {
		v := []string{"before"}
		list.Set(s, v)
		v[0] = "after"
		got, _ := list.Get(s)
		got[0] = "changed by a reader"
	})
	visit(func(s *redsession.Session) {
		if got, _ := list.Get(s); got[0] != "before" {
			t.Errorf("got %q, want the value at the call of Set", got[0])
		}
	})
}

// leaky fails to encode or decode with an error that shows its value.
type leaky string

func (l leaky) MarshalText() ([]byte, error)  { return nil, errors.New("cannot encode " + string(l)) }
func (l *leaky) UnmarshalText(b []byte) error { return errors.New("cannot decode " + string(b)) }

func TestValueThatDoesNotEncodeFailsTheCommit(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*redsession.Session)
	}{
		{"a channel", func(s *redsession.Session) { redsession.Key[chan int]("broken").Set(s, nil) }},
		{"a type whose error shows the value", func(s *redsession.Session) { redsession.Key[leaky]("broken").Set(s, "hunter2") }},
		{"an update to what does not encode", func(s *redsession.Session) {
			redsession.Key[float64]("broken").Update(s, func(float64) float64 { return math.Inf(1) })
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newMini(t)
			a := visits(t, e.manager(t))(func(s *redsession.Session) {
				visited.Set(s, true)
				row.set(s)
			})
			if a.StatusCode != 500 || len(a.setCookies()) != 0 || len(e.keys(t)) != 0 {
				t.Errorf("got status %d, cookies %v and keys %q, want 500 and nothing stored", a.StatusCode, a.setCookies(), e.keys(t))
			}
			wantFailure(t, e, `"broken"`)
		})
	}
}

// wantFailure wants one failure in the log that names the key and shows no value.
func wantFailure(t *testing.T, e *env, key string) {
	t.Helper()
	failed := e.events.of(redsession.EventFailed)
	if len(failed) != 1 {
		t.Fatalf("got %d failures, want 1", len(failed))
	}
	text := failed[0].Err.Error()
	if !strings.Contains(text, key) {
		t.Errorf("got error %q, want the key %s in it", text, key)
	}
	if strings.Contains(text+e.events.log(), "hunter2") {
		t.Errorf("got error %q, want it without the value", text)
	}
}

func TestValueThatDoesNotDecode(t *testing.T) {
	for _, row := range []struct {
		name   string
		load   func(*redsession.Session) (got, ok bool, err error)
		update func(*redsession.Session)
	}{
		{"another type", loadAs[int], updateAs[int]},
		{"a type whose error shows the value", loadAs[leaky], updateAs[leaky]},
		{"a time, whose error shows the value", loadAs[time.Time], updateAs[time.Time]},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newMini(t)
			visit := visits(t, e.manager(t))
			visit(func(s *redsession.Session) { redsession.Key[string]("broken").Set(s, "hunter2") })
			visit(func(s *redsession.Session) {
				got, ok, err := row.load(s)
				if got || !ok || err == nil {
					t.Errorf("got %v from Get and %v, %v from Load, want false, true and an error", got, ok, err)
				}
				if err != nil && (!strings.Contains(err.Error(), `"broken"`) || strings.Contains(err.Error(), "hunter2")) {
					t.Errorf("got error %v, want one with the key and without the value", err)
				}
			})
			if a := visit(row.update); a.StatusCode != 500 {
				t.Errorf("got status %d after Update, want 500", a.StatusCode)
			}
			wantFailure(t, e, `"broken"`)
			visit(func(s *redsession.Session) {
				if got, _ := redsession.Key[string]("broken").Get(s); got != "hunter2" {
					t.Errorf("got %q after a failed Update, want the value as it was", got)
				}
			})
		})
	}
}

func loadAs[T any](s *redsession.Session) (got, ok bool, err error) {
	_, got = redsession.Key[T]("broken").Get(s)
	_, ok, err = redsession.Key[T]("broken").Load(s)
	return got, ok, err
}

func updateAs[T any](s *redsession.Session) {
	redsession.Key[T]("broken").Update(s, func(v T) T { return v })
}

func TestReservedKeyPanics(t *testing.T) {
	const key = redsession.Key[string]("_flash")
	for name, use := range map[string]func(*redsession.Session){
		"Get":    func(s *redsession.Session) { key.Get(s) },
		"Load":   func(s *redsession.Session) { _, _, _ = key.Load(s) },
		"Set":    func(s *redsession.Session) { key.Set(s, "") },
		"Update": func(s *redsession.Session) { key.Update(s, func(v string) string { return v }) },
		"Delete": func(s *redsession.Session) { key.Delete(s) },
		"Take":   func(s *redsession.Session) { _, _, _ = key.Take(context.Background(), s) },
	} {
		visits(t, newMini(t).manager(t))(func(s *redsession.Session) {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, `"_flash"`) || !strings.Contains(p, "another name") {
					t.Errorf("%s: got panic %q, want one that says why", name, p)
				}
			}()
			use(s)
		})
	}
}

func TestKeysAndClear(t *testing.T) {
	visit := visits(t, newMini(t).manager(t))
	visit(func(s *redsession.Session) {
		s.Login("alice")
		for _, name := range []string{"b", "c", "a", "B"} {
			redsession.Key[int](name).Set(s, 1)
		}
		s.Flash("hello")
		redsession.Key[int]("c").Delete(s)
	})
	visit(func(s *redsession.Session) {
		if got, want := s.Keys(), []string{"B", "a", "b"}; !reflect.DeepEqual(got, want) {
			t.Errorf("got keys %q, want %q", got, want)
		}
		s.Clear()
		visited.Set(s, true)
	})
	visit(func(s *redsession.Session) {
		if got, want := s.Keys(), []string{"visited"}; !reflect.DeepEqual(got, want) || s.UserID() != "alice" {
			t.Errorf("got keys %q of %q after Clear, want %q of alice", got, s.UserID(), want)
		}
		if got := s.Flashes(); !reflect.DeepEqual(got, []string{"hello"}) {
			t.Errorf("got flashes %q after Clear, want them kept", got)
		}
	})
}

func TestFlashesKeepTheirOrderThroughLoginAndLogout(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(*redsession.Session)
	}{
		{"nothing else happens", func(*redsession.Session) {}},
		{"a login in the same request", func(s *redsession.Session) { s.Login("alice") }},
		{"a logout in the same request", func(s *redsession.Session) { s.Logout() }},
		{"a login again and a logout", func(s *redsession.Session) { s.Login("alice"); s.Logout() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			visit := visits(t, newMini(t).manager(t))
			visit(func(s *redsession.Session) { s.Flash("first") })
			visit(func(s *redsession.Session) { row.before(s); s.Flash("second") })
			visit(func(s *redsession.Session) { s.Flash("<third> \"3\""); row.before(s) })
			visit(func(s *redsession.Session) {
				if got, want := s.Flashes(), []string{"first", "second", `<third> "3"`}; !reflect.DeepEqual(got, want) {
					t.Errorf("got flashes %q, want %q", got, want)
				}
				if got := s.Flashes(); len(got) != 0 {
					t.Errorf("got flashes %q once more, want none", got)
				}
			})
			visit(func(s *redsession.Session) {
				if got := s.Flashes(); len(got) != 0 {
					t.Errorf("got flashes %q in the next request, want none", got)
				}
			})
		})
	}
}

func TestFlashIsShownAgainIfTheResponseWasLost(t *testing.T) {
	visit := visits(t, newMini(t).manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 }))
	visit(func(s *redsession.Session) { s.Flash("hello") })
	a := visit(func(s *redsession.Session) {
		s.Flashes()
		redsession.Key[string]("large").Set(s, strings.Repeat("x", 1000))
	})
	visit(func(s *redsession.Session) {
		if got := s.Flashes(); a.StatusCode != 500 || !reflect.DeepEqual(got, []string{"hello"}) {
			t.Errorf("got flashes %q after status %d, want hello after 500", got, a.StatusCode)
		}
	})
}

func TestFlashSetWhileAnotherRequestShowsSomeIsNotLost(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		shown, added := make(chan struct{}), make(chan struct{})
		b := newBrowser(t, serve(t, e.manager(t), handlers{
			"/flash": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) { s.Flash(r.URL.RawQuery) },
			"/show":  func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { fmt.Fprint(w, s.Flashes()) },
			"/slow": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				first := s.Flashes()
				close(shown)
				<-added
				fmt.Fprint(w, first)
			},
		}))
		b.get("/flash?first")
		slow := make(chan string)
		go func() { slow <- b.get("/slow").body }()
		<-shown
		b.get("/flash?second")
		close(added)
		if got := []string{<-slow, b.get("/show").body, b.get("/show").body}; !slices.Equal(got, []string{"[first]", "[second]", "[]"}) {
			t.Errorf("got flashes %q, want each once", got)
		}
	})
}

func TestSessionThatNobodyWroteToIsNotStored(t *testing.T) {
	const other = redsession.Key[int]("other")
	for _, row := range []struct {
		name string
		step func(*redsession.Session)
	}{
		{"untouched", func(*redsession.Session) {}},
		{"only read", func(s *redsession.Session) { visited.Get(s); s.Keys(); s.Flashes(); s.ID(); s.Token() }},
		{"deleted from", func(s *redsession.Session) { visited.Delete(s) }},
		{"set and deleted", func(s *redsession.Session) { visited.Set(s, true); visited.Delete(s) }},
		{"set and cleared", func(s *redsession.Session) { visited.Set(s, true); other.Set(s, 1); s.Clear() }},
		{"set and taken", func(s *redsession.Session) { visited.Set(s, true); _, _, _ = visited.Take(context.Background(), s) }},
		{"flashed and shown", func(s *redsession.Session) { s.Flash("hello"); s.Flashes() }},
		{"set and logged out", func(s *redsession.Session) { visited.Set(s, true); s.Logout() }},
		{"rotated", func(s *redsession.Session) { s.Rotate() }},
		{"saved", func(s *redsession.Session) { _ = s.Save(context.Background()) }},
	} {
		m, sent := newMini(t).counted(t)
		a := visits(t, m)(row.step)
		if got := sent.take(); got != " in 0" || len(a.setCookies()) != 0 || a.StatusCode != 200 {
			t.Errorf("%s: got commands %q, cookies %v and status %d, want none and 200", row.name, got, a.setCookies(), a.StatusCode)
		}
	}
}

func TestGoroutinesOfOneRequestShareTheSession(t *testing.T) {
	const count, own = redsession.Key[int]("count"), redsession.Key[string]("own")
	visit := visits(t, newMini(t).manager(t))
	visit(func(s *redsession.Session) { s.Login("alice") })
	visit(func(s *redsession.Session) {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				count.Update(s, func(n int) int { return n + 1 })
				redsession.Key[int]("k"+strconv.Itoa(i)).Set(s, i)
				own.Set(s, "x")
				own.Get(s)
				s.Flash("hello")
				_, _, _, _ = s.Keys(), s.ID(), s.UserID(), s.ExpiresAt()
				if err := s.Save(context.Background()); err != nil {
					t.Errorf("got %v from Save, want nil", err)
				}
				count.Update(s, func(n int) int { return n + 1 })
			})
		}
		all.Wait()
	})
	visit(func(s *redsession.Session) {
		if got, _ := count.Get(s); got != 40 || len(s.Keys()) != 22 || len(s.Flashes()) != 20 {
			t.Errorf("got count %d and %d keys, want 40 and 22", got, len(s.Keys()))
		}
	})
}

func TestTakeGivesTheValueToOneOfTwoRequests(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const token = redsession.Key[string]("token")
		var loaded sync.WaitGroup
		loaded.Add(2)
		b := newBrowser(t, serve(t, e.manager(t), handlers{
			"/set": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { token.Set(s, "once") },
			"/take": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
				loaded.Done()
				loaded.Wait()
				v, ok, err := token.Take(r.Context(), s)
				if err != nil || ok != (v != "") {
					t.Errorf("got %q, %v, %v from Take, want a value or nothing", v, ok, err)
				}
				io.WriteString(w, v)
			},
		}))
		b.get("/set")
		var both sync.WaitGroup
		bodies := make([]string, 2)
		for i := range bodies {
			both.Go(func() { bodies[i] = b.get("/take").body })
		}
		both.Wait()
		if got := bodies[0] + bodies[1]; got != "once" {
			t.Errorf("got %q by two requests, want the value by one", bodies)
		}
	})
}
