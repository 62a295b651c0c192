// Package plain brings values that a decoder made into the form in which JSON can
// say them, within limits.
package plain

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of one session. They bound what a small input may grow to when values
// are shared: ten lists, each ten times in the next, are ten thousand million.
const (
	MaxDepth = 64
	MaxNodes = 100_000
	maxBytes = 4 << 20
)

// What JSON cannot say.
var (
	ErrTooDeep    = fmt.Errorf("values are nested deeper than %d", MaxDepth)
	ErrTooMany    = errors.New("more values than a session can hold")
	ErrNotFinite  = errors.New("a number is infinite or not a number")
	ErrKey        = errors.New("a map has a key that is neither text nor a whole number")
	ErrSameKey    = errors.New("a map has two keys with the same text")
	ErrTime       = errors.New("a time is outside the years 0 to 9999")
	ErrNoMap      = errors.New("the values are no map")
	ErrSelf       = errors.New("a value contains itself")
	ErrNotJSON    = errors.New("not JSON")
	ErrNoEncoding = errors.New("a value does not encode as JSON")
)

// What was changed on the way, for the report.
const (
	NoteKeys = "keys that are not text were taken as their text"
	NoteUTF8 = "strings that are not UTF-8 were taken with replacement characters"
	NoteZone = "times without a time zone were taken as UTC"
)

// Noted is a value that a decoder had to change, and what is to be said of that.
type Noted struct {
	Value any
	Note  string
}

// Lost stands for a value that a decoder could not take, for one of the reasons that
// cost no more than that.
type Lost struct{ Err error }

// dropped are the errors that cost the value which they are about, and not the
// session: it is left out of its map, and is null in its list, whose other values
// keep their places.
var dropped = []error{ErrNotFinite, ErrKey, ErrSameKey, ErrTime, ErrNoEncoding, ErrSelf, ErrTooDeep}

// NoteDropped is the note of a value that was left out because of err, once for
// each of them.
func NoteDropped(err error) string { return "values left out: " + err.Error() }

// Map returns v, which must be a map, made of nil, bool, string, int64, float64,
// json.Number (whole numbers beyond int64), []byte, time.Time, []any and
// map[string]any alone. Values that cannot be are left out: those nested too deep
// with the whole value of v's key that they are in. The notes say, once for each,
// what was left out, and what had to be changed. v stays as it is. Errors show no
// value.
func Map(v any) (m map[string]any, notes []string, err error) {
	w := walker{}
	made, err := w.value(v, 0)
	if err != nil {
		return nil, nil, err
	}
	m, ok := made.(map[string]any)
	if !ok {
		return nil, nil, ErrNoMap
	}
	return m, append(w.dropped, slices.Sorted(maps.Keys(w.notes))...), nil
}

// JSON decodes one JSON value, for Map: numbers that only Python's json writes, NaN
// and the infinite ones, are left out there.
func JSON(data []byte) (any, error) {
	v, err := decodeJSON(data)
	if err != nil {
		if finite := withoutNaN(data); finite != nil {
			v, err = decodeJSON(finite)
		}
	}
	return v, err
}

func decodeJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, ErrNotJSON // its own error may show a character of the session
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrNotJSON
	}
	return v, nil
}

// python matches strings, which stay, and the three numbers of Python's json that
// JSON does not know.
var python = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// withoutNaN returns data with a number that no float64 holds in the place of NaN
// and the infinite ones, and nil if there are none.
func withoutNaN(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return nil
	}
	return python.ReplaceAllFunc(data, func(match []byte) []byte {
		if match[0] == '"' {
			return match
		}
		return []byte("1e999")
	})
}

type walker struct {
	nodes, bytes int
	notes        map[string]bool
	dropped      []string
}

func (w *walker) note(text string) {
	if w.notes == nil {
		w.notes = map[string]bool{}
	}
	w.notes[text] = true
}

// drops tells whether err costs no more than the value at this depth, and notes it.
func (w *walker) drops(err error, depth int) bool {
	if errors.Is(err, ErrTooDeep) && depth > 1 {
		return false
	}
	for _, known := range dropped {
		if errors.Is(err, known) {
			w.dropped = append(w.dropped, NoteDropped(known))
			return true
		}
	}
	return false
}

func (w *walker) value(v any, depth int) (any, error) {
	if w.nodes++; w.nodes > MaxNodes {
		return nil, ErrTooMany
	}
	if depth > MaxDepth {
		return nil, ErrTooDeep
	}
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case string:
		return w.text(v)
	case []byte:
		return v, w.grow(len(v))
	case json.Number:
		return number(v, w.grow(len(v)))
	case Noted:
		w.note(v.Note)
		return w.value(v.Value, depth)
	case Lost:
		return nil, v.Err
	case *big.Int:
		// Its text would be made anew wherever it is shared: its length bounds it.
		if err := w.grow(v.BitLen() / 3); err != nil {
			return nil, err
		}
		return number(json.Number(v.String()), nil)
	case float64:
		return finite(v)
	case float32:
		return finite(float64(v))
	case time.Time:
		if y := v.Year(); y < 0 || y > 9999 {
			return nil, ErrTime
		}
		return v, nil
	case []any:
		return w.list(v, depth)
	case map[string]any:
		return gather(w, v, depth)
	case map[any]any:
		return gather(w, v, depth)
	}
	return w.other(v, depth)
}

func (w *walker) grow(n int) error {
	if w.bytes += n; w.bytes > maxBytes {
		return ErrTooMany
	}
	return nil
}

func (w *walker) text(s string) (string, error) {
	if !utf8.ValidString(s) {
		w.note(NoteUTF8)
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s, w.grow(len(s))
}

func (w *walker) list(v []any, depth int) (any, error) {
	list := make([]any, len(v))
	for i, item := range v {
		var err error
		if list[i], err = w.value(item, depth+1); err != nil && !w.drops(err, depth+1) {
			return nil, err
		}
	}
	return list, nil
}

func gather[K comparable](w *walker, v map[K]any, depth int) (any, error) {
	m := make(map[string]any, len(v))
	texts := make(map[string]bool) // keys that are text already come before those that become it
	for k, item := range v {
		text, err := w.key(k)
		_, taken := m[text]
		isText := any(k) == any(text)
		if err == nil && taken && (texts[text] || !isText) {
			err = ErrSameKey
		}
		var made any
		if err == nil {
			made, err = w.value(item, depth+1)
		}
		switch {
		case err == nil:
			if taken {
				w.drops(ErrSameKey, depth+1)
			}
			m[text], texts[text] = made, isText
		case !w.drops(err, depth+1):
			return nil, err
		}
	}
	return m, nil
}

// key returns the text of a key: of strings, whole numbers and booleans, named
// types included (an application's own key type is most often a string).
func (w *walker) key(k any) (string, error) {
	if s, ok := k.(string); ok {
		return w.text(s)
	}
	w.note(NoteKeys)
	if _, ok := k.(encoding.TextMarshaler); ok {
		return "", ErrKey // what its text is, is the application's to say
	}
	switch v := reflect.ValueOf(k); {
	case !v.IsValid():
		return "", ErrKey
	case v.Kind() == reflect.String:
		return w.text(v.String())
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10), nil
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10), nil
	}
	return "", ErrKey
}

// other makes plain what is of none of the usual types: through its JSON if it is
// an application's own.
func (w *walker) other(v any, depth int) (made any, err error) {
	switch r := reflect.ValueOf(v); {
	case r.Type().PkgPath() != "": // a named type may have a MarshalJSON
	case r.CanInt():
		return r.Int(), nil
	case r.CanUint():
		return number(json.Number(strconv.FormatUint(r.Uint(), 10)), nil)
	}
	defer func() {
		if recover() != nil { // in the application's MarshalJSON
			made, err = nil, ErrNoEncoding
		}
	}()
	data, err := json.Marshal(v)
	if err != nil || w.grow(len(data)) != nil {
		return nil, ErrNoEncoding
	}
	parsed, err := JSON(data)
	if err != nil {
		return nil, err
	}
	return w.value(parsed, depth)
}

// number returns an int64 or a float64 where one holds n, and err if it is not nil.
func number(n json.Number, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	if !strings.ContainsAny(string(n), ".eE") {
		return n, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, ErrNotFinite
	}
	return f, nil
}

func finite(f float64) (any, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, ErrNotFinite
	}
	return f, nil
}
