// Package dbsc speaks Device Bound Session Credentials (W3C draft,
// https://w3c.github.io/webappsec-dbsc/): it checks the proofs that browsers send, writes
// the headers and bodies that they read, and signs what a server needs to keep no state of
// its own: challenges, the short-lived bound cookie, and tokens that name a registration.
//
// It reads no clock and no store, and knows nothing of sessions: a binding is an id that the
// caller draws, and once a device has registered its key, an identifier made of both. No
// error quotes what came in.
package dbsc

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

const (
	bindingIDLen   = 8  // characters, 48 random bits
	thumbprintLen  = 43 // characters, a SHA-256
	identifierLen  = bindingIDLen + 1 + thumbprintLen
	bindingIDBytes = 6
)

// strict refuses a last character whose spare bits are not zero, so that nothing has two
// spellings.
var strict = base64.RawURLEncoding.Strict()

// NewBindingID draws the id of a binding: 8 characters of base64url.
func NewBindingID() string {
	var b [bindingIDBytes]byte
	rand.Read(b[:]) // never fails: crypto/rand crashes the program instead
	return strict.EncodeToString(b[:])
}

// Identifier is the session identifier of the protocol (W3C draft, session instructions)
// for a binding and the key that Key.Thumbprint is of. Browsers tell the sessions of a site
// apart by it.
func Identifier(bindingID, thumbprint string) string { return bindingID + "." + thumbprint }

// SplitIdentifier returns what Identifier joined, and false for whatever has another form.
func SplitIdentifier(identifier string) (bindingID, thumbprint string, ok bool) {
	if len(identifier) != identifierLen || identifier[bindingIDLen] != '.' {
		return "", "", false
	}
	bindingID, thumbprint = identifier[:bindingIDLen], identifier[bindingIDLen+1:]
	if !isBase64URL(bindingID) || !isBase64URL(thumbprint) {
		return "", "", false
	}
	return bindingID, thumbprint, true
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// decode decodes base64url without padding, in one spelling alone: encoding/base64 skips
// line feeds.
func decode(s string) ([]byte, bool) {
	b, err := strict.DecodeString(s)
	return b, err == nil && strict.EncodedLen(len(b)) == len(s)
}

// unquoted takes off the double quotes around a value. No value of ours needs an escape
// inside of them.
func unquoted(value string) string {
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		return value[1 : n-1]
	}
	return value
}

// bare returns the item of a structured field (RFC 9651) without quotes and parameters. The
// draft asks for strings, Chromium 156 sends what is none.
func bare(field string) string {
	item, _, _ := strings.Cut(field, ";")
	return unquoted(strings.Trim(item, " \t"))
}
