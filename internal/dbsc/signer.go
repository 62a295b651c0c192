package dbsc

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"sync"
	"time"
)

const (
	timeLen = 5  // bytes of a time in Unix seconds
	macLen  = 16 // bytes of a MAC: half of HMAC-SHA256, the least that RFC 2104 5 allows

	challengeLen = 28 // characters of a challenge: base64url of a time and a MAC
	maxTokenLen  = 256
)

// Keys sign (HMAC-SHA256). The first of each list signs, all of them verify. Each has 32
// bytes, and must be derived for its purpose alone.
type Keys struct{ Challenge, Cookie, Token [][]byte }

// Signer makes what a server hands out and knows again without having kept it: challenges,
// bound cookies and registration tokens. It is immutable and safe for concurrent use. All
// times are kept in whole seconds.
type Signer struct{ challenges, cookies, tokens purpose }

// NewSigner returns a Signer. It panics if a purpose has no key.
func NewSigner(k Keys) *Signer {
	return &Signer{challenges: newPurpose(k.Challenge), cookies: newPurpose(k.Cookie), tokens: newPurpose(k.Token)}
}

// Verdict is what became of a challenge.
type Verdict int

const (
	Forged Verdict = iota // not ours, or for another purpose or identifier
	Stale                 // ours, and expired: the browser is to get a fresh one
	Good
)

// Challenge makes a challenge of A-Z, a-z, 0-9, - and _ for a purpose, which must have no
// NUL in it, and an identifier. It may be used until expires, also more than once: browsers
// repeat a proof after an answer that was lost, so a challenge proves no more than that the
// key was there since it was made.
func (s *Signer) Challenge(purpose, identifier string, expires time.Time) string {
	b := appendTime(make([]byte, 0, timeLen+macLen), expires.Unix())
	sum := s.challenges.sign(b, purpose+"\x00"+identifier)
	return strict.EncodeToString(append(b, sum[:]...))
}

// CheckChallenge tells what a challenge is worth for purpose and identifier at now.
func (s *Signer) CheckChallenge(purpose, identifier, challenge string, now time.Time) Verdict {
	if len(challenge) != challengeLen {
		return Forged
	}
	b, ok := decode(challenge)
	if !ok || !s.challenges.verify(b[timeLen:], b[:timeLen], purpose+"\x00"+identifier) {
		return Forged
	}
	if now.Unix() >= readTime(b) {
		return Stale
	}
	return Good
}

// EncodeToken makes a token of A-Z, a-z, 0-9, - and _ that stands for subject until expires.
// It is signed, and not secret: whoever has it can read the subject. That has at most 171
// bytes; DecodeToken takes no longer ones.
func (s *Signer) EncodeToken(subject string, expires time.Time) string {
	b := appendTime(make([]byte, 0, timeLen+macLen+len(subject)), expires.Unix())
	sum := s.tokens.sign(b, subject)
	return strict.EncodeToString(append(append(b, sum[:]...), subject...))
}

// DecodeToken returns the subject of a token, and whether it is one of ours and has not
// expired at now.
func (s *Signer) DecodeToken(token string, now time.Time) (subject string, ok bool) {
	if len(token) > maxTokenLen {
		return "", false
	}
	b, ok := decode(token)
	if !ok || len(b) < timeLen+macLen {
		return "", false
	}
	subject = string(b[timeLen+macLen:])
	if !s.tokens.verify(b[timeLen:timeLen+macLen], b[:timeLen], subject) || now.Unix() >= readTime(b) {
		return "", false
	}
	return subject, true
}

// purpose is the keys for one of the things that are signed.
type purpose []*signingKey

func newPurpose(keys [][]byte) purpose {
	if len(keys) == 0 {
		panic("dbsc: a purpose has no key")
	}
	var p purpose
	for _, key := range keys {
		p = append(p, &signingKey{pool: sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, key)} }}})
	}
	return p
}

// sign returns the MAC over times, which always have the same length, and text.
func (p purpose) sign(times []byte, text string) [macLen]byte { return p[0].sum(times, text) }

// verify tells in constant time whether sum is the MAC by one of the keys.
func (p purpose) verify(sum, times []byte, text string) bool {
	for _, key := range p {
		if want := key.sum(times, text); subtle.ConstantTimeCompare(sum, want[:]) == 1 {
			return true
		}
	}
	return false
}

type signingKey struct{ pool sync.Pool } // of *state

// state is pooled: the bound cookie is verified on every request, and a fresh HMAC costs
// two more compressions and several allocations.
type state struct {
	mac hash.Hash
	buf []byte
}

func (k *signingKey) sum(times []byte, text string) (sum [macLen]byte) {
	st := k.pool.Get().(*state)
	defer k.pool.Put(st)
	st.mac.Reset()
	st.buf = append(append(st.buf[:0], times...), text...)
	st.mac.Write(st.buf)
	st.buf = st.mac.Sum(st.buf[:0])
	copy(sum[:], st.buf)
	return sum
}

// appendTime appends seconds, and what does not fit as the nearest that does: 0 is 1970, and
// the greatest is after the year 36000.
func appendTime(b []byte, seconds int64) []byte {
	u := uint64(max(0, min(seconds, 1<<(8*timeLen)-1)))
	return append(b, byte(u>>32), byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}

// readTime reads what appendTime wrote, from the beginning of b.
func readTime(b []byte) (seconds int64) {
	for _, c := range b[:timeLen] {
		seconds = seconds<<8 | int64(c)
	}
	return seconds
}
