package writes_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// leaky fails to encode or decode with an error that shows its value.
type leaky string

func (l leaky) MarshalText() ([]byte, error) { return nil, errors.New("cannot encode " + string(l)) }

func (l *leaky) UnmarshalText(b []byte) error { return errors.New("cannot decode " + string(b)) }

// hidden would be kept as {}.
type hidden struct{ password string }

func TestKeyValueThatDoesNotEncodeFailsTheCommit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		set  func(*redsession.Session)
	}{
		{"a channel", func(s *redsession.Session) { redsession.Key[chan int]("broken").Set(s, nil) }},
		{"a type whose error shows the value", func(s *redsession.Session) { redsession.Key[leaky]("broken").Set(s, "hunter2") }},
		{"a struct without exported fields", func(s *redsession.Session) { redsession.Key[hidden]("broken").Set(s, hidden{"hunter2"}) }},
		{"a list of such", func(s *redsession.Session) { redsession.Key[[]hidden]("broken").Set(s, []hidden{{"hunter2"}}) }},
		{"an error", func(s *redsession.Session) { redsession.Key[error]("broken").Set(s, errors.New("hunter2")) }},
		{"an error in a map", func(s *redsession.Session) {
			redsession.Key[map[string]any]("broken").Set(s, map[string]any{"a": errors.New("hunter2")})
		}},
		{"an update to what would be lost", func(s *redsession.Session) {
			redsession.Key[hidden]("broken").Update(s, func(hidden) hidden { return hidden{"hunter2"} })
		}},
		{"an update to what does not encode", func(s *redsession.Session) {
			redsession.Key[float64]("broken").Update(s, func(float64) float64 { return math.Inf(1) })
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			a := visits(t, e.Manager(t))(func(s *redsession.Session) {
				stage.Visited.Set(s, true)
				row.set(s)
			})
			if a.StatusCode != 500 || len(a.SetCookies()) != 0 || len(e.Keys(t)) != 0 {
				t.Errorf("got status %d, cookies %v and keys %q, want 500 and nothing stored", a.StatusCode, a.SetCookies(), e.Keys(t))
			}
			wantFailure(t, e, `"broken"`)
		})
	}
}

// wantFailure wants one failure in the log that names the key and shows no value.
func wantFailure(t *testing.T, e *stage.Env, key string) {
	t.Helper()
	failed := e.Events.Of(redsession.EventFailed)
	if len(failed) != 1 {
		t.Fatalf("got %d failures, want 1", len(failed))
	}
	text := failed[0].Err.Error()
	if !strings.Contains(text, key) {
		t.Errorf("got error %q, want the key %s in it", text, key)
	}
	if strings.Contains(text+e.Events.Log(), "hunter2") {
		t.Errorf("got error %q, want it without the value", text)
	}
}

func TestKeyValueThatDoesNotDecode(t *testing.T) {
	t.Parallel()
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
			e := stage.NewMini(t)
			visit := visits(t, e.Manager(t))
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
