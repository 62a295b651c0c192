package dbsc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
)

// device is a browser with one key.
type device struct {
	key            crypto.Signer
	algorithm, jwk string
}

var b64 = base64.RawURLEncoding.EncodeToString

func newECDevice() *device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	d := &device{key: key, algorithm: "ES256"}
	d.jwk = ecJWK(d.point()[:32], d.point()[32:])
	return d
}

// point returns x and y of an EC device.
func (d *device) point() []byte {
	point, err := d.key.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		panic(err)
	}
	return point[1:]
}

func ecJWK(x, y []byte) string {
	return `{"crv":"P-256","kty":"EC","x":"` + b64(x) + `","y":"` + b64(y) + `"}`
}

// rsaDevice is made once, as that takes a while.
var rsaDevice = sync.OnceValue(func() *device {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return &device{key, "RS256", rsaJWK(key.N.Bytes())}
})

func rsaJWK(modulus []byte) string { return `{"e":"AQAB","kty":"RSA","n":"` + b64(modulus) + `"}` }

// modulus returns an odd number of that many bits.
func modulus(bits int) []byte {
	n := make([]byte, (bits+7)/8)
	n[0] = 1 << ((bits - 1) % 8)
	n[len(n)-1] |= 1
	return n
}

// sign makes a JWT of what may be no JSON.
func (d *device) sign(header, claims string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(d.signature(signed))
}

func (d *device) signature(signed string) []byte {
	digest := sha256.Sum256([]byte(signed))
	if key, ok := d.key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	sum, err := d.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return sum
}

// registered makes a JWT whose header says that it was signed by jwk.
func (d *device) registered(algorithm, jwk string) string {
	return d.sign(`{"alg":"`+algorithm+`","jwk":`+jwk+`,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`)
}

func (d *device) registration() string { return d.registered(d.algorithm, d.jwk) }

func (d *device) refresh() string {
	return d.sign(`{"alg":"`+d.algorithm+`","typ":"dbsc+jwt"}`, `{"jti":"challenge"}`)
}

// with adds members to the device's JWK.
func (d *device) with(members string) string {
	return strings.TrimSuffix(d.jwk, "}") + "," + members + "}"
}
