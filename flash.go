package redsession

import (
	"crypto/rand"
	"slices"

	"github.com/redsession/redsession/internal/record"
)

// flashKey is where flashes lie among the values.
const flashKey = "_flash"

// maxFlashes are kept, the latest ones: pages that show none must not fill the
// session.
const maxFlashes = 50

// flash is a message and what tells it from an equal one.
type flash [2]string

// Flash keeps a message for the next page that asks for Flashes. It survives
// login and logout, but not a login as another user. The latest 50 are kept.
func (s *Session) Flash(message string) {
	f := flash{rand.Text()[:6], message}
	s.updateFlashes(func(old []flash) []flash {
		return append(old[max(0, len(old)-maxFlashes+1):], f)
	})
}

// Flashes returns the messages not shown yet, oldest first, and removes them.
// If two requests ask at once both may get a message; none is lost.
func (s *Session) Flashes() []string {
	raw, ok := s.value(flashKey)
	if !ok {
		return nil
	}
	shown, err := decodeValue[[]flash](raw)
	if err != nil {
		s.record(deleteOp(flashKey))
		return nil
	}
	s.updateFlashes(func(old []flash) []flash {
		return slices.DeleteFunc(old, func(f flash) bool { return slices.Contains(shown, f) })
	})
	messages := make([]string, len(shown))
	for i, f := range shown {
		messages[i] = f[1]
	}
	return messages
}

func (s *Session) updateFlashes(fn func([]flash) []flash) {
	s.update(flashKey, func(raw string) (string, error) {
		var old []flash
		if raw != "" {
			var err error
			if old, err = decodeValue[[]flash](raw); err != nil {
				return "", err
			}
		}
		if next := fn(old); len(next) > 0 {
			return encodeValue(next)
		}
		return "", nil
	})
}

func setOp(name, raw string) record.Op { return record.Op{Kind: record.Set, Name: name, Raw: raw} }

func deleteOp(name string) record.Op { return record.Op{Kind: record.Delete, Name: name} }
