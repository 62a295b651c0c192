package plain_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/importer/internal/plain"
)

type (
	kind   string
	person struct {
		Name string `json:"name"`
		Age  int
	}
	panics struct{}
)

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

func TestMap(t *testing.T) {
	many := new(big.Int).Lsh(big.NewInt(1), 80)
	for _, row := range []struct {
		name, want string
		in         any
		notes      []string
	}{
		{
			"numbers of every size", `{"a":1,"b":-2,"c":18446744073709551615,"d":1.5,"e":1208925819614629174706176}`,
			map[string]any{"a": int8(1), "b": int64(-2), "c": uint64(math.MaxUint64), "d": float32(1.5), "e": many},
			nil,
		},
		{"times as RFC 3339", `{"t":"2026-01-02T03:04:05.000000006Z"}`, map[string]any{"t": time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}, nil},
		{"bytes as base64", `{"b":"AP8="}`, map[string]any{"b": []byte{0, 255}}, nil},
		{
			"types of the application by their JSON", `{"d":1000000000,"k":"x","l":["a"],"p":{"Age":36,"name":"ada"}}`,
			map[string]any{"p": person{"ada", 36}, "k": kind("x"), "d": time.Second, "l": []string{"a"}},
			nil,
		},
		{"keys that are no text, as text", `{"1":"a","true":"b","user":"c"}`, map[any]any{1: "a", true: "b", kind("user"): "c"}, []string{plain.NoteKeys}},
		{"strings that are not UTF-8", `{"s":"caf�"}`, map[string]any{"s": "caf\xe9"}, []string{plain.NoteUTF8}},
		{"lists and maps in each other", `{"l":[null,true,{"m":[]}]}`, map[string]any{"l": []any{nil, true, map[any]any{"m": []any{}}}}, nil},
	} {
		m, notes, err := plain.Map(row.in)
		if err != nil {
			t.Errorf("%s: got error %v, want none", row.name, err)
			continue
		}
		if got, err := json.Marshal(m); string(got) != row.want || err != nil {
			t.Errorf("%s: got %s and error %v, want %s", row.name, got, err, row.want)
		}
		if !slices.Equal(notes, row.notes) {
			t.Errorf("%s: got the notes %q, want %q", row.name, notes, row.notes)
		}
	}
}

func TestWhatJSONCannotSayIsRefused(t *testing.T) {
	deep := any("x")
	for range 100 {
		deep = []any{deep}
	}
	wide := any(strings.Repeat("x", 100))
	for range 8 {
		wide = []any{wide, wide, wide, wide, wide, wide, wide, wide}
	}
	for _, row := range []struct {
		name string
		in   any
		want error
	}{
		{"not a number", math.NaN(), plain.ErrNotFinite},
		{"infinite", math.Inf(-1), plain.ErrNotFinite},
		{"a key of a struct", map[any]any{person{"ada", 36}: 1}, plain.ErrKey},
		{"a key of a float", map[any]any{1.5: 1}, plain.ErrKey},
		{"two keys with one text", map[any]any{1: 1, "1": 1}, plain.ErrSameKey},
		{"a year with five digits", time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), plain.ErrTime},
		{"too deep", deep, plain.ErrTooDeep},
		{"shared so often that it is too much", wide, plain.ErrTooMany},
		{"a MarshalJSON that panics", panics{}, plain.ErrNoEncoding},
		{"a channel", make(chan int), plain.ErrNoEncoding},
	} {
		if _, _, err := plain.Map(map[string]any{"k": row.in}); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
	if _, _, err := plain.Map([]any{1}); !errors.Is(err, plain.ErrNoMap) {
		t.Errorf("a list: got %v, want %v", err, plain.ErrNoMap)
	}
	for _, text := range []string{"", "{", `{"a":NaN}`, `{}{}`, `{"a":1}x`} {
		if _, err := plain.JSON([]byte(text)); !errors.Is(err, plain.ErrNotJSON) {
			t.Errorf("%q: got %v, want %v", text, err, plain.ErrNotJSON)
		}
	}
}
