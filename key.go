package redsession

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/redsession/redsession/internal/jsonvalue"
	"github.com/redsession/redsession/internal/record"
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
	if v, err = jsonvalue.Decode[T](raw); err != nil {
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

// flashKey is where flashes lie among the values.
const flashKey = "_flash"

// maxFlashes are kept, the latest ones: pages that show none must not fill the
// session.
const maxFlashes = 50

// flash is a message and what tells it from an equal one. An imported one is a text alone.
type flash [2]string

func (f *flash) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, (*[2]string)(f)) == nil {
		return nil
	}
	return json.Unmarshal(raw, &f[1])
}

// readFlashes returns what raw holds. What does not decode is none: it must not keep a
// session from going on.
func readFlashes(raw string) []flash {
	list, err := jsonvalue.Decode[[]flash](raw)
	if err != nil {
		return nil
	}
	return list
}

// Flash keeps a message for the next page that asks for Flashes. It survives
// login and logout, but not a login as another user. The latest 50 are kept. A message
// that is not valid UTF-8 fails the commit.
func (s *Session) Flash(message string) {
	f := flash{rand.Text()[:6], message}
	s.updateFlashes(func(old []flash) []flash {
		return append(old[max(0, len(old)-maxFlashes+1):], f)
	})
}

// Flashes returns the messages not shown yet, oldest first, and removes them. In a HEAD
// request, a prefetch and Manager.Change, which show nobody anything, they stay. If two requests ask at
// once both may get a message; none is lost.
func (s *Session) Flashes() []string {
	raw, ok := s.value(flashKey)
	if !ok {
		return nil
	}
	shown := readFlashes(raw)
	if !s.unseen() {
		s.updateFlashes(func(old []flash) []flash {
			return slices.DeleteFunc(old, func(f flash) bool { return slices.Contains(shown, f) })
		})
	}
	messages := make([]string, len(shown))
	for i, f := range shown {
		messages[i] = f[1]
	}
	return messages
}

// unseen tells whether nobody is going to see the response now.
func (s *Session) unseen() bool {
	if s.outside != nil {
		return true
	}
	h := s.r.Header
	return s.r.Method == http.MethodHead || strings.Contains(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch"
}

func (s *Session) updateFlashes(fn func([]flash) []flash) {
	s.update(flashKey, func(raw string) (string, error) {
		if next := fn(readFlashes(raw)); len(next) > 0 {
			return jsonvalue.Encode(next)
		}
		return "", nil
	})
}

func setOp(name, raw string) record.Op { return record.Op{Kind: record.Set, Name: name, Raw: raw} }

func deleteOp(name string) record.Op { return record.Op{Kind: record.Delete, Name: name} }
