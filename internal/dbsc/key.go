package dbsc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
)

// The algorithms that browsers are offered (RFC 7518 3.1).
const (
	es256 = "ES256"
	rs256 = "RS256"
)

const (
	coordinateLen = 32 // bytes of a P-256 coordinate, leading zeros included (RFC 7518 6.2.1.2)
	minRSABits    = 2048
	maxRSABits    = 4096 // what is longer takes too long to verify for who has not shown anything
	rsaExponent   = 65537
	rsaExponent64 = "AQAB" // base64url of it
)

var (
	errAlgorithm = errors.New("the algorithm is neither ES256 nor RS256")
	errKeyType   = errors.New("the key does not fit its algorithm")
	errCurve     = errors.New("the key is no point of P-256")
	errRSA       = errors.New("the key is not RSA of 2048 to 4096 bits with exponent 65537")
	errPrivate   = errors.New("the key has private members")
)

// Key is the public half of a device's key: ES256, which is ECDSA with P-256, or RS256,
// which is RSASSA-PKCS1-v1_5 with 2048 to 4096 bits and exponent 65537. It is immutable and
// safe for concurrent use. Two are equal if their Thumbprints are. The zero value has empty
// texts, and verifies nothing.
type Key struct {
	public     crypto.PublicKey // *ecdsa.PublicKey or *rsa.PublicKey
	text       string
	thumbprint string
}

// Thumbprint is the JWK thumbprint (RFC 7638) by SHA-256: 43 characters of base64url.
func (k Key) Thumbprint() string { return k.thumbprint }

// Encode returns a compact text for storing, of which ParseKey makes the same key: the
// algorithm and the members of the JWK, as "ES256.<x>.<y>" or "RS256.<n>".
func (k Key) Encode() string { return k.text }

// ParseKey reads what Encode wrote, and accepts no key that ParseRegistration would not.
func ParseKey(text string) (Key, error) {
	algorithm, members, _ := strings.Cut(text, ".")
	switch algorithm {
	case es256:
		x, y, _ := strings.Cut(members, ".")
		return newECKey(x, y)
	case rs256:
		return newRSAKey(members)
	}
	return Key{}, errAlgorithm
}

// parseJWK reads a JSON Web Key (RFC 7517) that is to be used with algorithm. Members that
// say nothing of a public key are ignored, as RFC 7517 4 asks.
func parseJWK(algorithm string, raw []byte) (Key, error) {
	jwk, err := parseObject(raw)
	if err != nil {
		return Key{}, err
	}
	// Whoever lets the private half travel has no key that is bound to a device.
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, there := jwk[private]; there {
			return Key{}, errPrivate
		}
	}
	kty := jwk.text("kty")
	switch {
	case algorithm == es256 && kty == "EC" && jwk.text("crv") == "P-256":
		return newECKey(jwk.text("x"), jwk.text("y"))
	case algorithm == rs256 && kty == "RSA":
		if jwk.text("e") != rsaExponent64 {
			return Key{}, errRSA
		}
		return newRSAKey(jwk.text("n"))
	case algorithm == es256 || algorithm == rs256:
		return Key{}, errKeyType
	}
	return Key{}, errAlgorithm
}

// newECKey makes a key of the members x and y of a JWK.
func newECKey(x, y string) (Key, error) {
	xs, xok := decode(x)
	ys, yok := decode(y)
	if !xok || !yok || len(xs) != coordinateLen || len(ys) != coordinateLen {
		return Key{}, errCurve
	}
	point := append(append([]byte{4}, xs...), ys...) // SEC 1, 2.3.3: uncompressed
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return Key{}, errCurve
	}
	return newKey(public, es256+"."+x+"."+y, `{"crv":"P-256","kty":"EC","x":"`+x+`","y":"`+y+`"}`), nil
}

// newRSAKey makes a key of the member n of a JWK, which has no leading zeros (RFC 7518 2).
func newRSAKey(n string) (Key, error) {
	modulus, ok := decode(n)
	if !ok || len(modulus) == 0 || modulus[0] == 0 || modulus[len(modulus)-1]&1 == 0 {
		return Key{}, errRSA
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: rsaExponent}
	if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return Key{}, errRSA
	}
	return newKey(public, rs256+"."+n, `{"e":"`+rsaExponent64+`","kty":"RSA","n":"`+n+`"}`), nil
}

// newKey takes the canonical form of the JWK of which RFC 7638 makes the thumbprint: the
// required members alone, sorted and without spaces.
func newKey(public crypto.PublicKey, text, canonical string) Key {
	sum := sha256.Sum256([]byte(canonical))
	return Key{public: public, text: text, thumbprint: strict.EncodeToString(sum[:])}
}

// verifies tells whether signature is that of the key over signed, and algorithm the key's
// own: what a token says of its algorithm never chooses how it is verified.
func (k Key) verifies(algorithm, signed string, signature []byte) bool {
	digest := sha256.Sum256([]byte(signed))
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		if algorithm != es256 || len(signature) != 2*coordinateLen { // RFC 7518 3.4: r and s, no ASN.1
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:coordinateLen]), new(big.Int).SetBytes(signature[coordinateLen:])
		return ecdsa.Verify(public, digest[:], r, s)
	case *rsa.PublicKey:
		return algorithm == rs256 && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}
