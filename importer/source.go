// Package importer moves sessions of other packages and frameworks into
// redsession, without logging anybody out: all at once from where they are kept
// (Run, Once), or one by one as their browsers come back (the Adopt functions,
// for redsession.Config.Adopt).
//
// The sources are values whose fields are options, and any type with the methods
// of Source is one:
//
//	source := importer.Odoo("/var/lib/odoo/sessions")
//	source.Lifetime = 14 * 24 * time.Hour
//	report, err := importer.Run(ctx, m, source, importer.Options{})
//
// What is found is data from outside: sizes, depths and counts are limited,
// nothing in it is ever run, and a session that cannot be read is counted in the
// report by its reason and never stops the import.
package importer

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/gobvalue"
	"github.com/redsession/redsession/importer/internal/php"
	"github.com/redsession/redsession/importer/internal/pickle"
	"github.com/redsession/redsession/importer/internal/plain"
)

// Source is a place where sessions lie.
type Source interface {
	// Name is the LegacyRecord.Source of the sessions: lower-case letters, digits
	// and hyphens.
	Name() string
	// Sessions walks over everything that lies there. It must need bounded memory,
	// and stop soon after ctx ends. An error ends the walk and the import: it is for
	// a place that cannot be read at all.
	Sessions(ctx context.Context) iter.Seq2[Read, error]
}

// Read reads and decodes one session. Run calls it once at most, from any
// goroutine, until a few hundred Reads later. The notes are remarks for the
// report, and, as the error, must show nothing of the session itself.
//
// A *Skipped error is counted by its reason, any other as failed.
type Read func() (rec redsession.LegacyRecord, notes []string, err error)

// Reason is why something that was found was not imported.
type Reason string

// The reasons. They are stable: scripts may compare them.
const (
	Temporary   Reason = "temporary"    // left over by a writer that crashed
	Foreign     Reason = "foreign"      // something else that lies in the same place
	BadID       Reason = "bad-id"       // named as sessions are, with an id that the source never gives out
	Symlink     Reason = "symlink"      // links are not followed
	NotOwned    Reason = "not-owned"    // a file of another user than Common.Owner
	Unreadable  Reason = "unreadable"   // for example without permission
	Vanished    Reason = "vanished"     // gone between being found and being read
	Oversized   Reason = "oversized"    // beyond the limit of the source
	Corrupt     Reason = "corrupt"      // cut off, or not in the source's format
	Unsafe      Reason = "unsafe"       // a pickle or a PHP session with objects
	UnknownType Reason = "unknown-type" // a gob with a type that is not registered
	Unsupported Reason = "unsupported"  // values that JSON cannot say
	Encrypted   Reason = "encrypted"    // by the old package, with a key that is not known here
	Unverified  Reason = "unverified"   // signed with none of the keys, or for another name
	Predecessor Reason = "predecessor"  // rotated away: its successor is imported
	HalfOpen    Reason = "half-open"    // password given, second factor missing
	Empty       Reason = "empty"        // nobody logged in and no values
)

// Skipped is the error of a Read that found no session to import.
type Skipped struct {
	Reason Reason
	Err    error // details, or nil
}

func (e *Skipped) Error() string {
	if e.Err == nil {
		return "importer: " + string(e.Reason)
	}
	return "importer: " + string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns the details.
func (e *Skipped) Unwrap() error { return e.Err }

func skip(r Reason) error { return &Skipped{Reason: r} }

// Common are the options that every source has.
type Common struct {
	// Label is used in the place of the source's own name, such as "odoo", so that
	// several places of one kind can be told apart.
	Label string
	// Lifetime is how long a session lives after its last use where the source does
	// not store it. The default is the source's own.
	Lifetime time.Duration
	// MaxBytes is the largest session to read: 1 MiB unless set.
	MaxBytes int
	// Owner is, for folders on Unix, the numeric id of the user as whom the old
	// servers run. Other users' files, but for root's, are not read, as PHP itself
	// does. Set it where others may write to the folder: whoever can plant a file can
	// log in as anybody. 0 reads all files.
	Owner int
	// UserID returns the user who is logged in, "" for none. The default is that
	// of the source. Options.UserID is asked instead if both are set.
	UserID func(redsession.LegacyRecord) string
}

// None is the prefix, or the extension, that is really empty, where "" stands for
// the usual one.
const None = "\x00"

// usual returns what of a prefix or an extension is meant.
func usual(set, standard string) string {
	if set == None {
		return ""
	}
	return cmp.Or(set, standard)
}

const defaultMaxBytes = 1 << 20

func (c *Common) owner() int { return c.Owner }

func (c *Common) maxBytes() int { return cmp.Or(max(c.MaxBytes, 0), defaultMaxBytes) }

// finish completes a record whose values are as a decoder returned them.
func (c *Common) finish(rec redsession.LegacyRecord, values any) (redsession.LegacyRecord, []string, error) {
	var notes []string
	var err error
	if rec.Values, notes, err = plain.Map(values); err != nil {
		return rec, nil, explain(err)
	}
	if v, there := rec.Values[flashName]; there {
		if texts, ok := flashes(v); ok {
			rec.Values[flashName] = texts
		} else {
			delete(rec.Values, flashName)
			notes = append(notes, "flashes that are not texts are left out")
		}
	}
	return c.user(rec), notes, nil
}

// flashName is where gorilla/sessions keeps flashes, and redsession too.
const flashName = "_flash"

func flashes(v any) ([]string, bool) {
	list, ok := v.([]any)
	texts := make([]string, len(list))
	for i, e := range list {
		text, isText := e.(string)
		texts[i], ok = text, ok && isText
	}
	return texts, ok
}

func (c *Common) user(rec redsession.LegacyRecord) redsession.LegacyRecord {
	if c.UserID != nil {
		rec.UserID = c.UserID(rec)
	}
	return rec
}

// explain gives an error of a decoder its reason.
func explain(err error) error {
	var call *pickle.CallError
	var unknown *gobvalue.UnknownTypeError
	reason := Corrupt
	switch {
	case errors.As(err, &call), errors.Is(err, php.ErrObject):
		reason = Unsafe
	case errors.As(err, &unknown):
		reason = UnknownType
	case slices.ContainsFunc(unsupported, func(e error) bool { return errors.Is(err, e) }):
		reason = Unsupported
	}
	return &Skipped{Reason: reason, Err: err}
}

var unsupported = []error{
	plain.ErrTooDeep, plain.ErrTooMany, pickle.ErrTooMany, pickle.ErrNumber,
}

// drop returns m without keys.
func drop(m map[string]any, keys ...string) map[string]any {
	m = maps.Clone(m)
	for _, key := range keys {
		delete(m, key)
	}
	return m
}

// form tells whether s has between least and most characters, of the kinds that
// allowed knows.
func form(s string, least, most int, allowed func(byte) bool) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

func isHex(c byte) bool       { return isDigit(c) || c >= 'a' && c <= 'f' }
func isBase32(c byte) bool    { return isUpper(c) || c >= '2' && c <= '7' }
func isBase64URL(c byte) bool { return isDigit(c) || isLower(c) || isUpper(c) || c == '-' || c == '_' }
