// Package lease says who does what is to be done once per session: one lease for each name,
// all of them in one text, which lies in the session's record. Whoever holds a lease has its
// number, and writes nothing once that is not there any more.
package lease

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Lease is what the text says of one name.
type Lease struct {
	Tag    string // of the name
	Number string // of whoever holds it, or failed
	Until  time.Time
	Failed bool // what was to be done failed, at Until
}

const (
	tagLen  = 8
	numLen  = 8
	keptFor = 10 * time.Minute // what is over, for those who waited for it
	news    = 10 * time.Second // for how long a failure is one that others waited for
)

// Tag is short, fits into the text, and has nothing of the name in it.
func Tag(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:tagLen*3/4])
}

// New returns a lease on the name of tag under a number that nobody else has.
func New(tag string, until time.Time) Lease {
	var b [numLen * 3 / 4]byte
	rand.Read(b[:]) // never fails: crypto/rand crashes the program instead
	return Lease{Tag: tag, Number: base64.RawURLEncoding.EncodeToString(b[:]), Until: until}
}

// encode makes one word of l: tag, number, the mark of a failure, and the end in
// milliseconds.
func (l Lease) encode() string {
	mark := "."
	if l.Failed {
		mark = "!"
	}
	return l.Tag + l.Number + mark + strconv.FormatInt(l.Until.UnixMilli(), 36)
}

func decode(word string) (l Lease, ok bool) {
	const at = tagLen + numLen
	if len(word) <= at+1 {
		return l, false
	}
	until, err := strconv.ParseInt(word[at+1:], 36, 64)
	return Lease{Tag: word[:tagLen], Number: word[tagLen:at], Failed: word[at] == '!', Until: time.UnixMilli(until)}, err == nil
}

// Find returns the lease of tag; the zero value stands for none.
func Find(text, tag string) Lease {
	for word := range strings.FieldsSeq(text) {
		if l, ok := decode(word); ok && l.Tag == tag {
			return l
		}
	}
	return Lease{}
}

// Put returns text with l in the place of what it says of the same name. What else was over
// long before now goes.
func Put(text string, l Lease, now time.Time) string {
	return rebuild(text, l.encode(), func(old Lease) bool { return old.Tag != l.Tag && now.Sub(old.Until) < keptFor })
}

// Remove returns text without the lease of tag.
func Remove(text, tag string) string {
	return rebuild(text, "", func(old Lease) bool { return old.Tag != tag })
}

func rebuild(text, add string, keep func(Lease) bool) string {
	var words []string
	for word := range strings.FieldsSeq(text) {
		if l, ok := decode(word); ok && keep(l) {
			words = append(words, word)
		}
	}
	if add != "" {
		words = append(words, add)
	}
	return strings.Join(words, " ")
}

// State is what a lease means for somebody who wants it.
type State int

// What a lease may mean.
const (
	Free   State = iota // it may be taken
	Held                // somebody else holds it
	Failed              // whoever held it failed meanwhile
)

// StateAt judges l at now, for somebody who knew the number known before, "" for none: a
// failure that they knew of, or that is old, keeps them from nothing.
func (l Lease) StateAt(now time.Time, known string) State {
	switch {
	case l.Failed && l.Number != known && now.Sub(l.Until) < news:
		return Failed
	case !l.Failed && now.Before(l.Until):
		return Held
	}
	return Free
}
