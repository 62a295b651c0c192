package redsession

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Key names a value of type T in a session. Declare keys as constants:
//
//	const cart = redsession.Key[[]Item]("cart")
//
// Values are kept as JSON, so T must survive encoding/json. The name must be
// valid UTF-8 and may not be "_flash", where flashes are kept.
type Key[T any] string

var errKeyNotUTF8 = errors.New("redsession: a key is not valid UTF-8")

// Get returns the value and whether there is one that decodes into T.
func (k Key[T]) Get(s *Session) (T, bool) {
	v, ok, err := k.Load(s)
	return v, ok && err == nil
}

// Load is Get for those who need to tell an absent value (false, nil) from one
// that does not decode into T (true and the error).
func (k Key[T]) Load(s *Session) (v T, ok bool, err error) {
	raw, ok := s.value(k.name())
	if !ok {
		return v, false, nil
	}
	if v, err = decodeValue[T](raw); err != nil {
		var zero T
		return zero, true, k.failed("decoding", err)
	}
	return v, true, nil
}

// valueError is that a value of a session did not encode or decode. Its text
// leaves the cause out, which may quote the value; errors.As finds it.
type valueError struct {
	what  string
	cause error
}

func (e *valueError) Error() string { return fmt.Sprintf("%s failed (%T)", e.what, e.cause) }
func (e *valueError) Unwrap() error { return e.cause }

func (k Key[T]) failed(doing string, cause error) error {
	var v T
	return &valueError{fmt.Sprintf("redsession: %s %q as %T", doing, string(k), v), cause}
}

// Set keeps v, encoded now, so that later changes of what v points to are not
// kept. Of two requests that set the same key, the later commit wins. A value
// that does not encode fails the commit.
func (k Key[T]) Set(s *Session, v T) {
	raw, err := encodeValue(v)
	if err != nil {
		s.fail(k.failed("encoding", err))
		return
	}
	s.record(setOp(k.name(), raw))
}

// Update replaces the value by what fn makes of it, exactly once, whatever
// other requests do to it. fn gets the zero T if there is no value. It runs at
// once, and again for each conflict, so it must be pure. Update of a value that
// does not decode fails the commit.
func (k Key[T]) Update(s *Session, fn func(T) T) {
	s.update(k.name(), func(raw string) (string, error) {
		var old T
		if raw != "" {
			var err error
			if old, err = decodeValue[T](raw); err != nil {
				return "", k.failed("decoding", err)
			}
		}
		next, err := encodeValue(fn(old))
		if err != nil {
			return "", k.failed("encoding", err)
		}
		return next, nil
	})
}

// Delete removes the value.
func (k Key[T]) Delete(s *Session) { s.record(deleteOp(k.name())) }

// Take removes the value and commits at once, with whatever else is pending,
// so that of two requests one gets it. Errors are those of Save; the value is
// then not to be used. While Redis is away it is ErrUnavailable in any case: no
// other server could be kept from taking the value as well.
func (k Key[T]) Take(ctx context.Context, s *Session) (v T, ok bool, err error) {
	taken, err := s.take(ctx, k.name())
	if err != nil || taken == "" {
		return v, false, err
	}
	if v, err = decodeValue[T](taken); err != nil {
		return v, true, k.failed("decoding", err)
	}
	return v, true, nil
}

func (k Key[T]) name() string {
	if k == flashKey {
		panic(`redsession: the key "_flash" is where flashes are kept: use another name`)
	}
	return string(k)
}

// encodeValue is json.Marshal without its escaping for HTML, which would only
// make the record longer.
func encodeValue(v any) (string, error) {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// decodeValue is json.Unmarshal with a short way for what sessions hold most.
func decodeValue[T any](raw string) (T, error) {
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
