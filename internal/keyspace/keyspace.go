// Package keyspace names what lies in Redis: the secret that a cookie holds, the
// public id that is derived from it, and the keys under a prefix. It decides which
// keys belong to this package and which do not.
package keyspace

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

const (
	// SIDLen is the length of a SID in bytes.
	SIDLen = 32
	// IDLen is the length of a public id in characters.
	IDLen = 32

	hashedIDBytes   = 24
	hashedUserBytes = 16
	hashedUserLen   = 22 // base64url of them
	hashedTagLen    = 24 // of a tag's keyed hash
	bindingIDLen    = 8
	thumbprintLen   = 43 // of the key of a device
)

// SID is the secret that only the cookie holds: 256 bits of crypto/rand (OWASP ASVS
// 7.2.3 asks for at least 128).
type SID [SIDLen]byte

// NewSID draws a SID.
func NewSID() (s SID) {
	rand.Read(s[:]) // never fails: crypto/rand crashes the program instead
	return s
}

// ID is the public id of the session whose secret this is.
func (s SID) ID() string { return HashID(s[:]) }

// HashID returns the public id that belongs to a secret: a SID, or the id that another
// package gave a session. The secret cannot be found from it, so that what Redis, a
// log or a list holds is of no use as a cookie.
func HashID(secret []byte) string {
	sum := sha256.Sum256(secret)
	return base64.RawURLEncoding.EncodeToString(sum[:hashedIDBytes])
}

// IsID tells whether s has the form of a public id: 32 characters of base64url.
func IsID(s string) bool {
	return len(s) == IDLen && isBase64URL(s)
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Space is the set of keys under one prefix. The zero value has the empty prefix.
type Space struct{ prefix string }

// New returns the keys under prefix.
func New(prefix string) Space { return Space{prefix} }

// Prefix begins every key.
func (s Space) Prefix() string { return s.prefix }

// Session is the key of the record or tombstone with this public id.
func (s Space) Session(id string) string { return s.prefix + id }

// OfSID returns the key of the session whose secret sid is, and its public id, which is
// the end of that: a load needs both, and they are allocated once.
func (s Space) OfSID(sid SID) (key, id string) {
	sum := sha256.Sum256(sid[:])
	b := append(make([]byte, 0, 96), s.prefix...)
	key = string(base64.RawURLEncoding.AppendEncode(b, sum[:hashedIDBytes]))
	return key, key[len(s.prefix):]
}

// User is the key of the index of user's sessions. The user's name is hashed, as it
// may be an address or hold any character.
func (s Space) User(user string) string {
	sum := sha256.Sum256([]byte(user))
	return s.prefix + "user:" + base64.RawURLEncoding.EncodeToString(sum[:hashedUserBytes])
}

// Tag is the key of the index of the sessions with the tag of this keyed hash.
func (s Space) Tag(hash string) string { return s.prefix + "tag:" + hash }

// Import is the key of the state of an import from source.
func (s Space) Import(source string) string { return s.prefix + "import:" + source }

// Binding is the key of a device's public key. identifier has no character that a glob or
// a cluster gives a meaning of its own.
func (s Space) Binding(identifier string) string { return s.prefix + "bind:" + identifier }

// Probe is the nth of the keys that are written and removed to learn whether Redis
// takes writes. They live for seconds.
func (s Space) Probe(n int) string { return s.prefix + "probe:" + strconv.Itoa(n) }

// SessionPattern is the MATCH of a SCAN that finds every session. It may find other
// keys of the same length; SessionID tells them apart.
func (s Space) SessionPattern() string { return EscapeGlob(s.prefix) + strings.Repeat("?", IDLen) }

// Pattern is the MATCH of a SCAN that finds every key under the prefix, those of longer
// prefixes included.
func (s Space) Pattern() string { return EscapeGlob(s.prefix) + "*" }

// SessionID returns the public id that key is the session of, and whether it is one.
// Prefixes "a:" and "a:b:" never take each other's keys for their own.
func (s Space) SessionID(key string) (id string, ok bool) {
	id, ok = strings.CutPrefix(key, s.prefix)
	return id, ok && IsID(id)
}

// IsTag tells whether key is the index of the sessions with some tag.
func (s Space) IsTag(key string) bool {
	hash, ok := strings.CutPrefix(key, s.prefix+"tag:")
	return ok && len(hash) == hashedTagLen && isBase64URL(hash)
}

// IsBinding tells whether key is that of some device's public key.
func (s Space) IsBinding(key string) bool {
	identifier, ok := strings.CutPrefix(key, s.prefix+"bind:")
	id, thumbprint, _ := strings.Cut(identifier, ".")
	return ok && len(id) == bindingIDLen && isBase64URL(id) && len(thumbprint) == thumbprintLen && isBase64URL(thumbprint)
}

// IsUser tells whether key is the index of some user's sessions.
func (s Space) IsUser(key string) bool {
	rest, ok := strings.CutPrefix(key, s.prefix+"user:")
	return ok && len(rest) == hashedUserLen && isBase64URL(rest)
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `-`, `\-`)

// EscapeGlob makes a pattern of Redis's glob style that matches literal alone.
func EscapeGlob(literal string) string { return globEscaper.Replace(literal) }
