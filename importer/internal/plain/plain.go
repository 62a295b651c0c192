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
	"math"
	"math/big"
	"reflect"
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
	ErrNotJSON    = errors.New("not JSON")
	ErrNoEncoding = errors.New("a value does not encode as JSON")
)

// What was changed on the way, for the report.
const (
	NoteKeys = "keys that are not text were taken as their text"
	NoteUTF8 = "strings that are not UTF-8 were taken with replacement characters"
)

// Map returns v, which must be a map, made of nil, bool, string, int64, float64,
// json.Number (whole numbers beyond int64), []byte, time.Time, []any and
// map[string]any alone. The notes say what had to be changed. v stays as it is.
// Errors show no value.
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
	if w.keys {
		notes = append(notes, NoteKeys)
	}
	if w.utf8 {
		notes = append(notes, NoteUTF8)
	}
	return m, notes, nil
}

// JSON decodes one JSON value, for Map.
func JSON(data []byte) (any, error) {
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

type walker struct {
	nodes, bytes int
	keys, utf8   bool
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
		return number(v), w.grow(len(v))
	case *big.Int:
		// Its text would be made anew wherever it is shared: its length bounds it.
		if err := w.grow(v.BitLen() / 3); err != nil {
			return nil, err
		}
		return number(json.Number(v.String())), nil
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
		w.utf8 = true
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s, w.grow(len(s))
}

func (w *walker) list(v []any, depth int) (any, error) {
	list := make([]any, len(v))
	for i, item := range v {
		var err error
		if list[i], err = w.value(item, depth+1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func gather[K comparable](w *walker, v map[K]any, depth int) (any, error) {
	m := make(map[string]any, len(v))
	for k, item := range v {
		text, err := w.key(k)
		if err != nil {
			return nil, err
		}
		if _, taken := m[text]; taken {
			return nil, ErrSameKey
		}
		if m[text], err = w.value(item, depth+1); err != nil {
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
	w.keys = true
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
		return number(json.Number(strconv.FormatUint(r.Uint(), 10))), nil
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

// number returns an int64 or a float64 where one holds n.
func number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if f, err := n.Float64(); err == nil && strings.ContainsAny(string(n), ".eE") {
		return f
	}
	return n
}

func finite(f float64) (any, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, ErrNotFinite
	}
	return f, nil
}
