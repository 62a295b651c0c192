package record

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
)

// Ring holds the keys derived from each server secret, newest first. The
// newest signs and encrypts; all of them verify. A Ring is immutable and safe
// for concurrent use. A nil Ring verifies nothing.
type Ring []*Keys

// Keys are derived from one secret with HKDF-SHA256 (RFC 5869), one purpose
// each, so that a leak or a misuse of one says nothing about the others.
type Keys struct {
	Cookie  []byte    // HMAC key of the cookie's signature
	Ending  []byte    // HMAC key of the signature of an ending cookie
	Device  [3][]byte // HMAC keys of what a device is given: challenges, the bound cookie, tokens of a registration
	bearer  mac       // derives what encrypts the successor's SID
	seal    mac
	encrypt mac // derives what encrypts the data of one key
	stamp   mac
	csrf    mac
	tag     mac
	tagText mac // derives what encrypts the text of one tag
}

// NewRing derives a ring from secrets, newest first.
func NewRing(secrets [][]byte) (Ring, error) {
	ring := make(Ring, 0, len(secrets))
	for _, secret := range secrets {
		var derived [12][]byte
		for i, purpose := range [...]string{"cookie", "tombstone", "seal", "encrypt", "stamp", "csrf", "ending", "challenge", "bound cookie", "registration", "tag", "tag text"} {
			key, err := hkdf.Key(sha256.New, secret, nil, "redsession "+purpose+" v1", sha256.Size)
			if err != nil {
				return nil, err
			}
			derived[i] = key
		}
		ring = append(ring, &Keys{
			Cookie: derived[0], Ending: derived[6], Device: [3][]byte(derived[7:10]), bearer: newMAC(derived[1]), seal: newMAC(derived[2]),
			encrypt: newMAC(derived[3]), stamp: newMAC(derived[4]), csrf: newMAC(derived[5]), tag: newMAC(derived[10]), tagText: newMAC(derived[11]),
		})
	}
	return ring, nil
}

// Stamp is what a record keeps of the user's stamp: it tells a changed one,
// and says nothing about the stamp itself, which may be a password hash.
func (k *Keys) Stamp(user, stamp string) string {
	return base64.RawURLEncoding.EncodeToString(k.stamp.sum(nil, user, stamp)[:9])
}

// CSRF is the secret behind the CSRF tokens of the login named by parts.
func (k *Keys) CSRF(parts ...string) []byte { return k.csrf.sum(nil, parts...) }

// mac computes HMAC-SHA256 over parts, each preceded by its length, so that
// no two lists of parts share an input.
type mac struct{ pool *sync.Pool }

// state is pooled: a fresh HMAC costs two more compressions and several
// allocations on every request.
type state struct {
	h   hash.Hash
	buf []byte
}

func newMAC(key []byte) mac {
	return mac{&sync.Pool{New: func() any { return &state{h: hmac.New(sha256.New, key)} }}}
}

func (m mac) sum(dst []byte, parts ...string) []byte {
	st := m.pool.Get().(*state)
	defer m.pool.Put(st)
	return append(dst, st.sum(parts...)...)
}

// equal tells whether the HMAC of parts begins with prefix, in constant time.
func (m mac) equal(prefix []byte, parts ...string) bool {
	st := m.pool.Get().(*state)
	defer m.pool.Put(st)
	return subtle.ConstantTimeCompare(st.sum(parts...)[:len(prefix)], prefix) == 1
}

// sum returns the HMAC of parts; it is good until the next call.
func (st *state) sum(parts ...string) []byte {
	st.h.Reset()
	st.buf = st.buf[:0]
	for _, p := range parts {
		st.buf = binary.BigEndian.AppendUint64(st.buf, uint64(len(p)))
		st.buf = append(st.buf, p...)
	}
	st.h.Write(st.buf)
	st.buf = st.h.Sum(st.buf[:0])
	return st.buf
}

const (
	sealBytes = 16 // 128 bits of the HMAC
	tokenLen  = 22 // in base64url
)

// strict refuses a last character whose spare bits are not zero: a token has one
// form.
var strict = base64.RawURLEncoding.Strict()

func (k *Keys) token(key, body string) string {
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(k.seal.sum(sum[:0], key, body)[:sealBytes])
}

// verify finds the keys that sealed body under key, and nil when none did.
func (r Ring) verify(key, body, token string) *Keys {
	var claimed [sealBytes + 2]byte // the decoder wants room for whole quanta
	if n, err := strict.Decode(claimed[:], []byte(token)); err != nil || n != sealBytes {
		return nil
	}
	for _, k := range r {
		if k.seal.equal(claimed[:sealBytes], key, body) {
			return k
		}
	}
	return nil
}
