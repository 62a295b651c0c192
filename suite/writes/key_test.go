package writes_test

import (
	"context"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// visits returns a function that runs a step in the session of one browser's
// next request to m.
func visits(t *testing.T, m *redsession.Manager) func(step func(*redsession.Session)) stage.Answer {
	t.Helper()
	steps := make(chan func(*redsession.Session), 1)
	b := stage.NewBrowser(t, stage.Serve(t, m, stage.Handlers{"/": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { (<-steps)(s) }}))
	return func(step func(*redsession.Session)) stage.Answer {
		t.Helper()
		steps <- step
		return b.Get("/")
	}
}

type item struct {
	Name string         `json:"name"`
	Tags map[string]int `json:"tags,omitempty"`
	Next *item          `json:"next,omitempty"`
}

// roundTrip sets v in one request and gets it in the next.
func roundTrip[T any](v T) func(*testing.T, func(func(*redsession.Session)) stage.Answer) {
	const key = redsession.Key[T]("key")
	return func(t *testing.T, visit func(func(*redsession.Session)) stage.Answer) {
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
	t.Parallel()
	visit := visits(t, stage.NewMini(t).Manager(t))
	for _, row := range []struct {
		name string
		run  func(*testing.T, func(func(*redsession.Session)) stage.Answer)
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
	t.Parallel()
	visit := visits(t, stage.NewMini(t).Manager(t))
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

func TestKeySetEncodesAtTheCall(t *testing.T) {
	t.Parallel()
	const list = redsession.Key[[]string]("list")
	visit := visits(t, stage.NewMini(t).Manager(t))
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

func TestKeyReservedPanics(t *testing.T) {
	t.Parallel()
	const key = redsession.Key[string]("_flash")
	for name, use := range map[string]func(*redsession.Session){
		"Get":    func(s *redsession.Session) { key.Get(s) },
		"Load":   func(s *redsession.Session) { _, _, _ = key.Load(s) },
		"Set":    func(s *redsession.Session) { key.Set(s, "") },
		"Update": func(s *redsession.Session) { key.Update(s, func(v string) string { return v }) },
		"Delete": func(s *redsession.Session) { key.Delete(s) },
		"Take":   func(s *redsession.Session) { _, _, _ = key.Take(context.Background(), s) },
	} {
		visits(t, stage.NewMini(t).Manager(t))(func(s *redsession.Session) {
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
	t.Parallel()
	visit := visits(t, stage.NewMini(t).Manager(t))
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
		stage.Visited.Set(s, true)
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

func TestWritesNoneStoreNothing(t *testing.T) {
	t.Parallel()
	const other = redsession.Key[int]("other")
	for _, row := range []struct {
		name string
		step func(*redsession.Session)
	}{
		{"untouched", func(*redsession.Session) {}},
		{"only read", func(s *redsession.Session) { stage.Visited.Get(s); s.Keys(); s.Flashes(); s.ID(); s.Token() }},
		{"deleted from", func(s *redsession.Session) { stage.Visited.Delete(s) }},
		{"set and deleted", func(s *redsession.Session) { stage.Visited.Set(s, true); stage.Visited.Delete(s) }},
		{"set and cleared", func(s *redsession.Session) { stage.Visited.Set(s, true); other.Set(s, 1); s.Clear() }},
		{"set and taken", func(s *redsession.Session) {
			stage.Visited.Set(s, true)
			_, _, _ = stage.Visited.Take(context.Background(), s)
		}},
		{"flashed and shown", func(s *redsession.Session) { s.Flash("hello"); s.Flashes() }},
		{"set and logged out", func(s *redsession.Session) { stage.Visited.Set(s, true); s.Logout() }},
		{"rotated", func(s *redsession.Session) { s.Rotate() }},
		{"saved", func(s *redsession.Session) { _ = s.Save(context.Background()) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, sent := stage.NewMini(t).Counted(t)
			a := visits(t, m)(row.step)
			if got := sent.Take(); got != " in 0" || len(a.SetCookies()) != 0 || a.StatusCode != 200 {
				t.Errorf("got commands %q, cookies %v and status %d, want none and 200", got, a.SetCookies(), a.StatusCode)
			}
		})
	}
}

func TestKeyInGoroutinesOfOneRequest(t *testing.T) {
	t.Parallel()
	const count, own = redsession.Key[int]("count"), redsession.Key[string]("own")
	visit := visits(t, stage.NewMini(t).Manager(t))
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
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		const token = redsession.Key[string]("token")
		var loaded sync.WaitGroup
		loaded.Add(2)
		b := stage.NewBrowser(t, stage.Serve(t, e.Manager(t), stage.Handlers{
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
		b.Get("/set")
		var both sync.WaitGroup
		bodies := make([]string, 2)
		for i := range bodies {
			both.Go(func() { bodies[i] = b.Get("/take").Text })
		}
		both.Wait()
		if got := bodies[0] + bodies[1]; got != "once" {
			t.Errorf("got %q by two requests, want the value by one", bodies)
		}
	})
}
