package redsession

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"

	"github.com/redsession/redsession/internal/flash"
	"github.com/redsession/redsession/internal/jsonvalue"
)

// flashKey is where flashes lie among the values.
const flashKey = "_flash"

// maxFlashes are kept, the latest ones: pages that show none must not fill the
// session.
const maxFlashes = 50

// FlashKey names values of type T for the next page that takes them: messages with a level or
// a link. Declare keys as constants:
//
//	const notices = redsession.FlashKey[Notice]("notice")
//
// What it adds is kept with the messages of Session.Flash: it survives login, Logout and Clear,
// but not a login as another user, and of all together the latest 50 are kept. Keys and
// FlashKeys of the same name are different things. Values are kept as JSON, so T must survive
// encoding/json; the name must be valid UTF-8. Adding and taking cost what setting a value does.
type FlashKey[T any] string

// Add keeps v, encoded now, for the next page that calls Take. A value that does not encode, or
// holds a string that is not valid UTF-8, fails the commit.
func (k FlashKey[T]) Add(s *Session, v T) {
	raw, err := jsonvalue.Encode(v)
	if err != nil {
		s.fail(Key[T](k).failed("encoding flash", err))
		return
	}
	s.addFlash(flash.Entry{Kind: flash.Value, Name: string(k), Text: raw})
}

// Take returns the values not shown yet, oldest first, and removes them. In a HEAD request and a
// prefetch, which show nobody anything, they stay. If two requests ask at once both may get a
// value; none is lost. One that does not decode into T, as after T has changed, is left out,
// stays for a program that can decode it, and is told of in the log, without the value.
func (k FlashKey[T]) Take(s *Session) []T {
	var values []T
	s.takeFlashes(func(f flash.Entry) bool {
		if f.Kind != flash.Value || f.Name != string(k) {
			return false
		}
		v, err := jsonvalue.Decode[T](f.Text)
		if err != nil {
			s.m.flashTold.tell(s.m.cfg.Now(), func() {
				s.m.cfg.Logger.Warn("a flash does not decode, and stays in its session", "error", Key[T](k).failed("decoding flash", err).Error())
			})
			return false
		}
		values = append(values, v)
		return true
	})
	return values
}

// Flash keeps a message for the next page that asks for Flashes. It survives
// login and logout, but not a login as another user. The latest 50 are kept, those of a FlashKey
// among them. A message that is not valid UTF-8 fails the commit.
func (s *Session) Flash(message string) { s.addFlash(flash.Entry{Text: message}) }

// Flashes returns the messages not shown yet, oldest first, and removes them. In a HEAD
// request, a prefetch and Manager.Change, which show nobody anything, they stay. If two requests ask at
// once both may get a message; none is lost.
func (s *Session) Flashes() []string {
	var messages []string
	s.takeFlashes(func(f flash.Entry) bool {
		if f.Kind == flash.Message {
			messages = append(messages, f.Text)
		}
		return f.Kind == flash.Message
	})
	return messages
}

func (s *Session) addFlash(f flash.Entry) {
	f.ID = rand.Text()[:6]
	s.updateFlashes(func(old []flash.Entry) []flash.Entry {
		return append(old[max(0, len(old)-maxFlashes+1):], f)
	})
}

// takeFlashes removes those that show takes, if somebody is going to see the response.
func (s *Session) takeFlashes(show func(flash.Entry) bool) {
	raw, ok := s.value(flashKey)
	if !ok {
		return
	}
	var shown []flash.Entry
	for _, f := range flash.Read(raw) {
		if show(f) {
			shown = append(shown, f)
		}
	}
	if len(shown) == 0 || s.unseen() {
		return
	}
	s.updateFlashes(func(old []flash.Entry) []flash.Entry {
		return slices.DeleteFunc(old, func(f flash.Entry) bool { return slices.Contains(shown, f) })
	})
}

// unseen tells whether nobody is going to see the response now.
func (s *Session) unseen() bool {
	if s.outside != nil {
		return true
	}
	h := s.r.Header
	return s.r.Method == http.MethodHead || strings.Contains(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch"
}

func (s *Session) updateFlashes(fn func([]flash.Entry) []flash.Entry) {
	s.update(flashKey, func(raw string) (string, error) {
		if next := fn(flash.Read(raw)); len(next) > 0 {
			return jsonvalue.Encode(next)
		}
		return "", nil
	})
}
