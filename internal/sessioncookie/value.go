package sessioncookie

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"math"
	"strings"
	"sync"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession/internal/keyspace"
)

// A token's bytes are SID, idle seconds and deadline, and of a bound session the id of its
// binding.
const (
	tokenLen = keyspace.SIDLen + 4 + 8
	boundLen = tokenLen + BindingLen
)

// strict refuses a last character whose spare bits are not zero: nobody can change a
// character of a value and have it accepted.
var strict = base64.RawURLEncoding.Strict()

// plain takes off the double quotes and the padding that a client may have put around
// a value. Ours needs neither: it is of A-Z, a-z, 0-9, - and _ alone. net/http accepts
// quotes, and earlier values ended in "=".
func plain(value string) string {
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	return strings.TrimSuffix(value, "=")
}

// Decode returns the token in value, and whether one of our keys signed it for our
// cookie's name, or for that of the other mode. The value may be padded and in double quotes.
// Its deadline may be past.
func (c *Codec) Decode(value string) (tk Token, ok bool) {
	value = plain(value)
	if tk, ok = c.secure.session.decode(value); !ok && c.insecure != nil {
		tk, ok = c.insecure.session.decode(value)
	}
	return tk, ok
}

// purpose is what a value is signed for. One that was signed for another is none of its.
type purpose struct {
	name    string
	signers []*signer
	encoder *securecookie.SecureCookie // signs with the newest key
}

// newPurpose signs with the first of keys and verifies with all of them.
func newPurpose(name string, keys [][]byte) *purpose {
	p := &purpose{name: name}
	for _, key := range keys {
		p.signers = append(p.signers, newSigner(name, key))
	}
	var newest []byte
	if len(keys) > 0 {
		newest = keys[0]
	}
	p.encoder = securecookie.New(newest, nil).SetSerializer(securecookie.NopEncoder{}).MaxLength(MaxValueLen)
	return p
}

// decode reads what securecookie writes: base64url of "date|base64url of the
// token|HMAC". It keeps the state of the HMAC between requests, which saves 12
// allocations. The date is not looked at: the token's deadline and the record decide.
func (p *purpose) decode(value string) (t Token, ok bool) {
	var text, signed [MaxValueLen]byte
	if len(value) > len(text) {
		return t, false
	}
	n, err := strict.Decode(signed[:], text[:copy(text[:], value)])
	if err != nil || n <= sha256.Size || strict.EncodedLen(n) != len(value) { // it skips line feeds
		return t, false
	}
	body, sum := signed[:n-sha256.Size-1], signed[n-sha256.Size:n]
	_, payload, found := bytes.Cut(body, []byte{'|'})
	if !found || signed[len(body)] != '|' || !p.verify(body, sum) {
		return t, false
	}
	b := text[:]
	if n, err = base64.URLEncoding.Decode(b, payload); err != nil || n != tokenLen && n != boundLen {
		return t, false
	}
	copy(t.SID[:], b)
	t.Idle = int64(binary.BigEndian.Uint32(b[keyspace.SIDLen:]))
	t.Deadline = int64(binary.BigEndian.Uint64(b[keyspace.SIDLen+4:]))
	if n == boundLen {
		copy(t.Binding[:], b[tokenLen:])
	}
	return t, true
}

func (p *purpose) encode(t Token) (string, error) {
	b := make([]byte, 0, boundLen)
	b = append(b, t.SID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(max(0, min(t.Idle, math.MaxUint32))))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Deadline))
	if t.Bound() {
		b = append(b, t.Binding[:]...)
	}
	value, err := p.encoder.Encode(p.name, b)
	return strings.TrimRight(value, "="), err
}

func (p *purpose) verify(body, sum []byte) bool {
	for _, s := range p.signers {
		if s.verify(body, sum) {
			return true
		}
	}
	return false
}

// signer computes HMAC-SHA256 over the cookie's name, "|" and a body, under one key.
type signer struct {
	name string
	pool sync.Pool // of *state
}

// state is pooled: a fresh HMAC costs two more compressions and several allocations on
// every request.
type state struct {
	mac hash.Hash
	buf []byte
}

func newSigner(name string, key []byte) *signer {
	return &signer{name: name, pool: sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, key)} }}}
}

// verify tells in constant time whether sum is the HMAC of body.
func (s *signer) verify(body, sum []byte) bool {
	st := s.pool.Get().(*state)
	defer s.pool.Put(st)
	st.mac.Reset()
	st.buf = append(append(append(st.buf[:0], s.name...), '|'), body...)
	st.mac.Write(st.buf)
	st.buf = st.mac.Sum(st.buf[:0])
	return subtle.ConstantTimeCompare(st.buf, sum) == 1
}
