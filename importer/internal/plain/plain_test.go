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

func TestWhatJSONCannotSayIsLeftOut(t *testing.T) {
	deep := any("x")
	for range 100 {
		deep = []any{deep}
	}
	wide := any(strings.Repeat("x", 100))
	for range 8 {
		wide = []any{wide, wide, wide, wide, wide, wide, wide, wide}
	}
	one := func(err error) []string { return []string{plain.NoteDropped(err)} }
	for _, row := range []struct {
		name  string
		in    any
		left  string
		notes []string
	}{
		{"not a number", math.NaN(), `{}`, one(plain.ErrNotFinite)},
		{"infinite", math.Inf(-1), `{}`, one(plain.ErrNotFinite)},
		{"a number that no float64 holds", json.Number("1e999"), `{}`, one(plain.ErrNotFinite)},
		{"three in a list, whose other values keep their places", []any{1, math.NaN(), 2, math.Inf(1), math.NaN()}, `{"k":[1,null,2,null,null]}`, slices.Repeat(one(plain.ErrNotFinite), 3)},
		{"one in a map in a list", []any{map[any]any{"x": math.NaN(), "y": 1}}, `{"k":[{"y":1}]}`, one(plain.ErrNotFinite)},
		{"a key of a struct", map[any]any{person{"ada", 36}: 1, "y": 1}, `{"k":{"y":1}}`, append(one(plain.ErrKey), plain.NoteKeys)},
		{"a key of a float", map[any]any{1.5: 1}, `{"k":{}}`, append(one(plain.ErrKey), plain.NoteKeys)},
		{"two keys with one text: that which is text stays", map[any]any{1: 1, "1": 2}, `{"k":{"1":2}}`, append(one(plain.ErrSameKey), plain.NoteKeys)},
		{"a year with five digits", time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), `{}`, one(plain.ErrTime)},
		{"too deep: the whole value of its key", map[string]any{"in": deep, "beside": 1}, `{}`, one(plain.ErrTooDeep)},
		{"a MarshalJSON that panics", panics{}, `{}`, one(plain.ErrNoEncoding)},
		{"a channel", make(chan int), `{}`, one(plain.ErrNoEncoding)},
		{"what a decoder lost", plain.Lost{Err: plain.ErrSelf}, `{}`, one(plain.ErrSelf)},
		{"what a decoder remarks on", []any{plain.Noted{Value: 1, Note: plain.NoteZone}, plain.Noted{Value: 2, Note: plain.NoteZone}}, `{"k":[1,2]}`, []string{plain.NoteZone}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, notes, err := plain.Map(map[string]any{"k": row.in})
			got, _ := json.Marshal(m)
			if err != nil || string(got) != row.left || !slices.Equal(notes, row.notes) {
				t.Errorf("got %s, notes %q and error %v, want %s and %q", got, notes, err, row.left, row.notes)
			}
		})
	}
	if _, _, err := plain.Map(map[string]any{"k": wide}); !errors.Is(err, plain.ErrTooMany) {
		t.Errorf("shared so often that it is too much: got %v, want %v", err, plain.ErrTooMany)
	}
	if _, _, err := plain.Map([]any{1}); !errors.Is(err, plain.ErrNoMap) {
		t.Errorf("a list: got %v, want %v", err, plain.ErrNoMap)
	}
	for _, text := range []string{"", "{", `{"a":NaNx}`, `{"a":Nan}`, `{NaN:1}`, `{}{}`, `{"a":1}x`} {
		if _, err := plain.JSON([]byte(text)); !errors.Is(err, plain.ErrNotJSON) {
			t.Errorf("%q: got %v, want %v", text, err, plain.ErrNotJSON)
		}
	}
}

func TestNumbersOfPythonsJSONAreLeftOut(t *testing.T) {
	v, err := plain.JSON([]byte(`{"a":NaN,"b":[-Infinity,1,Infinity],"c":"NaN \" Infinity \\","d":1e400,"e":1.5}`))
	if err != nil {
		t.Fatal(err)
	}
	m, notes, err := plain.Map(v)
	got, _ := json.Marshal(m)
	if want := `{"b":[null,1,null],"c":"NaN \" Infinity \\","e":1.5}`; err != nil || string(got) != want || len(notes) != 4 {
		t.Errorf("got %s, %d notes and error %v, want %s and 4", got, len(notes), err, want)
	}
}
