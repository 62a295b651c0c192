// Package loginfact has the rules for what a login says of itself beside its user: the
// label of its session, tags to find it by, and what it proved.
package loginfact

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a login may say.
const (
	MaxLabel   = 128 // bytes
	MaxTags    = 4
	MaxTag     = 256 // bytes
	MaxLevel   = 3   // NIST SP 800-63B-4 has three
	MaxMethods = 16
	MaxMethod  = 64 // bytes
)

// CheckLabel tells what is wrong with a label: lists show it, so that it must neither be
// long nor change how a line reads.
func CheckLabel(text string) error {
	switch {
	case len(text) > MaxLabel:
		return fmt.Errorf("the label has %d bytes, want at most %d", len(text), MaxLabel)
	case !utf8.ValidString(text):
		return errors.New("the label is not valid UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}):
		return errors.New("the label has a control character")
	}
	return nil
}

// CheckTags tells what is wrong with tags. No error shows one.
func CheckTags(tags []string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%d tags, want at most %d", len(tags), MaxTags)
	}
	for _, tag := range tags {
		if err := CheckTag(tag); err != nil {
			return err
		}
	}
	return nil
}

// CheckTag tells what is wrong with a tag.
func CheckTag(tag string) error {
	if tag == "" || len(tag) > MaxTag {
		return fmt.Errorf("a tag has %d bytes, want 1 to %d", len(tag), MaxTag)
	}
	return nil
}

// Proof is what a login proved. The zero value is nothing.
type Proof struct {
	Level   int // 1 to 3, 0 for none
	Methods []string
}

// CheckMethods tells what is wrong with the names of methods.
func CheckMethods(methods []string) error {
	if len(methods) > MaxMethods {
		return fmt.Errorf("%d methods, want at most %d", len(methods), MaxMethods)
	}
	for _, m := range methods {
		switch {
		case m == "" || len(m) > MaxMethod:
			return fmt.Errorf("the name of a method has %d bytes, want 1 to %d", len(m), MaxMethod)
		case !utf8.ValidString(m) || strings.ContainsFunc(m, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
			return errors.New("the name of a method is not valid UTF-8, or has a space or a control character")
		}
	}
	return nil
}

// And is what p and other prove together: the higher level, and all methods, in the order
// in which they came, each once and at most MaxMethods.
func (p Proof) And(other Proof) Proof {
	both := Proof{Level: max(p.Level, other.Level)}
	for _, m := range slices.Concat(p.Methods, other.Methods) {
		if !slices.Contains(both.Methods, m) && len(both.Methods) < MaxMethods {
			both.Methods = append(both.Methods, m)
		}
	}
	return both
}

// String is the proof as a record keeps it; "" for none.
func (p Proof) String() string {
	if p.Level == 0 && len(p.Methods) == 0 {
		return ""
	}
	return strings.Join(append([]string{strconv.Itoa(p.Level)}, p.Methods...), " ")
}

// Parse reads what String returned. Anything else proves nothing.
func Parse(text string) Proof {
	level, rest, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(level)
	if err != nil || n < 0 || n > MaxLevel {
		return Proof{}
	}
	return Proof{n, strings.Fields(rest)}
}
