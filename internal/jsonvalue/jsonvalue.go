// Package jsonvalue encodes the values of a session as JSON, and decodes them, with a
// short way for what sessions hold most.
package jsonvalue

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is why a value is refused that encoding/json would take. Its text names types alone,
// and may be shown.
type Error string

func (e Error) Error() string { return string(e) }

// ErrNotUTF8 is a string that encoding/json would silently change.
const ErrNotUTF8 = Error("a string is not valid UTF-8")

// Encode is json.Marshal without its escaping for HTML, which would only make the record
// longer. It refuses what would not come back as it was: strings, keys of maps among them, that
// are not valid UTF-8; what has no exported fields and no MarshalJSON or MarshalText; and values
// of interface types that are not empty. Methods with a pointer receiver are found as well.
func Encode[T any](v T) (string, error) {
	switch plain := any(v).(type) {
	case int:
		return strconv.Itoa(plain), nil
	case bool:
		return strconv.FormatBool(plain), nil
	case string:
		return encode(v)
	}
	sh := shapeOf(site{reflect.TypeFor[T](), true})
	if sh.lost != "" {
		return "", sh.lost
	}
	boxed := any(v)
	if sh.byAddress {
		p := new(T)
		*p = v
		boxed = p
	}
	text, err := encode(boxed)
	if err == nil && sh.look { // what has been encoded has an end
		if why := lostIn(boxed); why != "" {
			return "", why
		}
	}
	return text, err
}

func encode(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	// encoding/json writes this in the place of a byte that is not UTF-8, up to Go 1.26 as an
	// escape, and so does who makes JSON by themselves and means it.
	replaced := strings.Contains(text, `\ufffd`) || strings.Contains(text, "\ufffd")
	if replaced && invalid(reflect.ValueOf(v), 0) {
		return "", ErrNotUTF8
	}
	return text, nil
}

const maxDepth = 1000 // that of encoding/json; what is deeper did not encode

// invalid tells whether v holds a string that is not valid UTF-8 where encoding/json
// finds it.
func invalid(v reflect.Value, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch v.Kind() {
	case reflect.String:
		return !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && invalid(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if invalid(v.Field(i), depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if invalid(v.Index(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if invalid(it.Key(), depth+1) || invalid(it.Value(), depth+1) {
				return true
			}
		}
	}
	return false
}

// Decode is json.Unmarshal with a short way for what sessions hold most.
func Decode[T any](raw string) (T, error) {
	var v T
	if decodePlain(raw, &v) {
		return v, nil
	}
	return decodeJSON[T](raw)
}

// decodeJSON has a value of its own, as this one lands on the heap.
func decodeJSON[T any](raw string) (v T, err error) {
	err = json.Unmarshal([]byte(raw), &v)
	return v, err
}

// decodePlain decodes strings without escapes and integers into v.
func decodePlain(raw string, v any) bool {
	switch v := v.(type) {
	case *string:
		if len(raw) < 2 || raw[0] != '"' || strings.IndexByte(raw, '\\') >= 0 {
			return false
		}
		*v = raw[1 : len(raw)-1]
		return true
	case *int:
		n, err := strconv.Atoi(raw)
		*v = n
		return err == nil
	}
	return false
}
