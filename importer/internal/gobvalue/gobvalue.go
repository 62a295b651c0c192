// Package gobvalue reads the sessions that scs and gorilla keep as gobs.
package gobvalue

import (
	"bytes"
	"encoding/gob"
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrCorrupt tells of what is no gob of the kind that was asked for.
var ErrCorrupt = errors.New("the gob is broken or of another kind")

// UnknownTypeError tells of an application's type that this program has not
// registered.
type UnknownTypeError struct{ Name string }

func (e *UnknownTypeError) Error() string {
	return "the gob has values of type " + e.Name + ", which is not registered: gob.Register it before importing"
}

// SCS reads what scs's GobCodec writes.
func SCS(data []byte) (deadline time.Time, values map[string]any, err error) {
	var v struct {
		Deadline time.Time
		Values   map[string]interface{}
	}
	err = decode(data, &v, "Deadline", "Values")
	return v.Deadline, v.Values, err
}

// Gorilla reads the values of a gorilla session.
func Gorilla(data []byte) (map[any]any, error) {
	var v map[any]any
	err := decode(data, &v)
	return v, err
}

// gorilla/sessions registers the first itself, for its flashes; the others need no
// package of the application's either.
func init() {
	for _, v := range []any{[]any{}, map[string]any{}, map[any]any{}, map[string]string{}, time.Time{}} {
		gob.Register(v)
	}
}

// String reads one string, such as the id in a gorilla cookie.
func String(data []byte) (string, error) {
	var v string
	err := decode(data, &v)
	return v, err
}

// decode leaves the decoding, and the application's types, to encoding/gob. That
// package does not call itself hardened: what the gob claims is checked before, and
// a panic in it or in a GobDecode is one broken session.
func decode(data []byte, v any, fields ...string) (err error) {
	if err := check(data, fields...); err != nil {
		return err
	}
	defer func() {
		if recover() != nil {
			err = ErrCorrupt
		}
	}()
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(v); err != nil {
		return explain(err)
	}
	return nil
}

// explain keeps the name of a type out of err and nothing else, since err may
// show values.
func explain(err error) error {
	_, quoted, found := strings.Cut(err.Error(), "name not registered for interface: ")
	if !found {
		return ErrCorrupt
	}
	name, err := strconv.Unquote(quoted)
	if err != nil || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ErrCorrupt
	}
	return &UnknownTypeError{Name: name}
}
