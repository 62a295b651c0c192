package redsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/redsession/redsession/internal/jsonvalue"
	"github.com/redsession/redsession/internal/record"
)

// Key names a value of type T in a session. Declare keys as constants:
//
//	const cart = redsession.Key[[]Item]("cart")
//
// Values are kept as JSON, so T must survive encoding/json. What would silently be lost there
// fails the commit: a value of a struct type without exported fields, if it has neither
// MarshalJSON nor MarshalText, and a value of an interface type that is not empty, wherever in
// the value they are; unexported fields beside exported ones are no mistake. The name must be
// valid UTF-8 and may not be "_flash", where flashes are kept. A FlashKey of the same name is
// something else.
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
	if v, err = jsonvalue.Decode[T](raw); err != nil {
		var zero T
		return zero, true, k.failed("decoding", err)
	}
	return v, true, nil
}

// valueError is that a value of a session did not encode or decode. Its text
// leaves the cause out, which may quote the value, unless it names types alone; errors.As
// finds it.
type valueError struct {
	what  string
	cause error
}

func (e *valueError) Error() string {
	var said jsonvalue.Error
	if errors.As(e.cause, &said) {
		return e.what + ": " + said.Error()
	}
	return fmt.Sprintf("%s failed (%T)", e.what, e.cause)
}
func (e *valueError) Unwrap() error { return e.cause }

func (k Key[T]) failed(doing string, cause error) error {
	var v T
	return &valueError{fmt.Sprintf("redsession: %s %q as %T", doing, string(k), v), cause}
}

// Set keeps v, encoded now, so that later changes of what v points to are not
// kept. Of two requests that set the same key, the later commit wins. A value
// that does not encode, or holds a string that is not valid UTF-8, fails the commit.
func (k Key[T]) Set(s *Session, v T) {
	raw, err := jsonvalue.Encode(v)
	if err != nil {
		s.fail(k.failed("encoding", err))
		return
	}
	s.record(setOp(k.name(), raw))
}

// Update replaces the value by what fn makes of it, exactly once, whatever
// other requests do to it. fn gets the zero T if there is no value. It runs at
// once, and again for each conflict, so it must be pure: Refresh is for what is not. Update of a
// value that does not decode fails the commit.
func (k Key[T]) Update(s *Session, fn func(T) T) {
	s.update(k.name(), func(raw string) (string, error) {
		var old T
		if raw != "" {
			var err error
			if old, err = jsonvalue.Decode[T](raw); err != nil {
				return "", k.failed("decoding", err)
			}
		}
		next, err := jsonvalue.Encode(fn(old))
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
// then not to be used.
func (k Key[T]) Take(ctx context.Context, s *Session) (v T, ok bool, err error) {
	taken, err := s.take(ctx, k.name())
	if err != nil || taken == "" {
		return v, false, err
	}
	if v, err = jsonvalue.Decode[T](taken); err != nil {
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

// record applies op to what the handler sees and keeps it for the commit.
func (s *Session) record(op record.Op) {
	s.warnOfLate("value", op.Name)
	s.lock()
	defer s.mu.Unlock()
	s.recordLocked(op, op)
}

// recordLocked keeps op for the commit and shows the handler its effect.
func (s *Session) recordLocked(op, effect record.Op) {
	fields, err := record.Apply(s.view(), []record.Op{effect})
	if err == nil && !utf8.ValidString(op.Name) {
		err = errKeyNotUTF8
	}
	if err != nil {
		if s.pending.err == nil {
			s.pending.err = err
		}
		return
	}
	s.fields = fields
	switch op.Kind { // what op makes void need not be applied again
	case record.Clear:
		s.pending.ops = slices.DeleteFunc(s.pending.ops, func(o record.Op) bool { return o.Name != flashKey })
	case record.Set, record.Delete:
		s.pending.ops = slices.DeleteFunc(s.pending.ops, func(o record.Op) bool { return o.Kind != record.Clear && o.Name == op.Name })
	}
	s.pending.ops = append(s.pending.ops, op)
}

// update replaces the value called name by what fn makes of it, now and once
// more for each conflict. fn runs without the lock, so that it cannot
// deadlock; if the value changed meanwhile it runs again.
func (s *Session) update(name string, fn func(old string) (string, error)) {
	s.warnOfLate("value", name)
	for {
		old, _ := s.value(name)
		raw, err := fn(old)
		if err != nil {
			s.fail(err)
			return
		}
		if s.updateFrom(name, old, raw, fn) {
			return
		}
	}
}

// updateFrom records that fn made raw of old, unless the value is another now.
func (s *Session) updateFrom(name, old, raw string, fn func(old string) (string, error)) bool {
	s.lock()
	defer s.mu.Unlock()
	if now, _ := record.Find(s.view(), name); now != old {
		return false
	}
	effect := setOp(name, raw)
	if raw == "" {
		effect = deleteOp(name)
	}
	s.recordLocked(record.Op{Kind: record.Update, Name: name, Func: fn}, effect)
	return true
}

// take removes the value called name by a commit of its own, and returns it as the
// application that Redis accepted found it, "" for none.
func (s *Session) take(ctx context.Context, name string) (taken string, err error) {
	if s.outside != nil {
		return "", errOutside("Take")
	}
	if _, there := s.value(name); !there {
		return "", s.broken
	}
	remove := func(old string) (string, error) {
		taken = old
		return "", nil
	}
	err = s.commit(ctx, ctx, func() {
		if taken, _ = record.Find(s.view(), name); taken != "" {
			s.recordLocked(record.Op{Kind: record.Update, Name: name, Func: remove}, deleteOp(name))
		}
	})
	return taken, err
}

// value returns the JSON of the value called name.
func (s *Session) value(name string) (string, bool) {
	s.lock()
	defer s.mu.Unlock()
	return record.Find(s.view(), name)
}

func setOp(name, raw string) record.Op { return record.Op{Kind: record.Set, Name: name, Raw: raw} }

func deleteOp(name string) record.Op { return record.Op{Kind: record.Delete, Name: name} }
