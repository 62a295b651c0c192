package gobvalue_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"math/big"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/importer/internal/gobvalue"
	"github.com/redsession/redsession/importer/internal/plain"
)

// account has a field of each kind that a gob can describe.
type account struct {
	Name    string
	Unset   int
	Rights  []string
	Matrix  [2][3]float64
	Claims  map[string]any
	Next    *account
	Balance complex128
	Photo   []byte
	Active  bool
	Late    uint
	Any     any
}

// wide has so many fields that the number of the last takes two bytes.
type wide struct {
	Grid [4]struct{ Row [300]bool }
	A, B, C, D, E, F, G, H, I, J, K, L, M,
	N, O, P, Q, R, S, T, U, V, W, X, Y, Z int
}

func init() {
	gob.Register(account{})
	gob.Register(&wide{})
	gob.Register([][]string{})
	gob.Register([2]int{})
	gob.Register(big.NewInt(0))
	gob.Register(&url.URL{})
	gob.Register(map[int][]account{})
}

func TestWhatGobEncodesIsRead(t *testing.T) {
	ada := account{
		Name: "ada", Rights: []string{"", "admin"}, Matrix: [2][3]float64{{1}, {2, 3}}, Balance: complex(1, -1), Photo: []byte{0, 255}, Active: true, Late: 1 << 31,
		Claims: map[string]any{"groups": []any{"a", 1, nil, map[string]any{}}, "at": time.Unix(1763755943, 0).UTC()},
		Next:   &account{Name: "bob", Any: account{Rights: []string{}, Name: "carol"}},
	}
	for name, want := range map[string]map[any]any{
		"nothing":                    {},
		"values of every basic type": {"a": 1, "b": int8(-2), "c": uint64(1 << 63), "d": 1.5, "e": float32(2), "f": true, "g": "x", "h": []byte("y"), "i": complex64(1), "j": 'r', 7: "number", false: "bool"},
		"times":                      {"a": time.Unix(0, 1).UTC(), "b": time.Time{}},
		"what encodes itself":        {"a": big.NewInt(7), "b": &url.URL{Scheme: "https", Host: "example.com"}},
		"an application's type":      {"user": ada},
		"the same type again":        {"a": ada, "b": account{}, "c": map[int][]account{1: {ada, {}}, 2: nil}},
		"many fields":                {"w": &wide{Z: 1, M: -1}},
		"lists in lists":             {"a": [][]string{{}, {"x"}}, "b": [2]int{1, 2}, "c": []any{[]any{[]any{}}}},
		"new types deep inside":      {"a": map[string]any{"b": []any{map[any]any{"c": ada, "d": map[string]string{"e": "f"}}}, "g": [2]int{}}, "h": []any{&wide{}, [][]string{}}},
	} {
		data := encode(t, want)
		var direct map[any]any
		if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&direct); err != nil {
			t.Fatal(err)
		}
		got, err := gobvalue.Gorilla(data)
		if err != nil || !reflect.DeepEqual(got, direct) || len(got) != len(want) {
			t.Errorf("%s: got %v and error %v, want %v", name, got, err, direct)
		}
	}
}

// TestAGobOfClaimsEndsNoProgram holds that nothing is made room for that is not
// there: encoding/gob makes a map as large as the gob says it is.
func TestAGobOfClaimsEndsNoProgram(t *testing.T) {
	deep := any("x")
	for range 1000 {
		deep = []any{deep}
	}
	empty := strings.TrimSuffix(string(encode(t, map[any]any{})), "\x04\xff\x80\x00\x00")
	for _, row := range []struct {
		name string
		data []byte
		want error
	}{
		{"a map", []byte(empty + "\x0c\xff\x80\x00\xf8\x10\x00\x00\x00\x00\x00\x00\x00"), gobvalue.ErrCorrupt},
		{"a map of less than nothing", []byte(empty + "\x0c\xff\x80\x00\xf8\xff\xff\xff\xff\xff\xff\xff\xff"), gobvalue.ErrCorrupt},
		{"one element too many", []byte(empty + "\x05\xff\x80\x00\x01\x00"), gobvalue.ErrCorrupt},
		{"a type described twice", []byte(empty + empty + "\x04\xff\x80\x00\x00"), gobvalue.ErrCorrupt},
		{"a type that is a map and a list", []byte("\x15\x7f\x02\x01\x02\xff\x80\x00\x01\x10\x00\x02\x01\x02\xff\x80\x00\x01\x10\x01\x10\x00\x00\x04\xff\x80\x00\x00"), gobvalue.ErrCorrupt},
		{"a second value", append(encode(t, map[any]any{}), "\x04\xff\x80\x00\x00"...), gobvalue.ErrCorrupt},
		{"lists a thousand deep", encode(t, map[any]any{"a": deep}), plain.ErrTooDeep},
		{"a hundred thousand and one", encode(t, map[any]any{"a": make([]any, plain.MaxNodes)}), plain.ErrTooMany},
	} {
		if _, err := gobvalue.Gorilla(row.data); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
	unknown := encode(t, struct {
		Deadline time.Time
		Other    []any
	}{time.Unix(1763755943, 0), []any{nil}})
	if _, _, err := gobvalue.SCS(unknown); !errors.Is(err, gobvalue.ErrCorrupt) {
		t.Errorf("a field that scs does not have: got %v, want %v", err, gobvalue.ErrCorrupt)
	}
}
