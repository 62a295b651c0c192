package dbsc_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/dbsc"
)

const (
	tooLong      = "the proof is too long"
	noJWT        = "the proof is no JWT of three parts"
	noObject     = "the proof has a part that is no JSON object"
	twice        = "the proof has a member twice"
	wrongType    = "the proof is not of type dbsc+jwt"
	critical     = "the proof has critical extensions"
	noKey        = "the registration has no key"
	ownKey       = "the refresh brings a key of its own"
	notSigned    = "the proof is not signed by the key"
	noChallenge  = "the proof has no challenge"
	noAlgorithm  = "the algorithm is neither ES256 nor RS256"
	wrongKeyType = "the key does not fit its algorithm"
	noPoint      = "the key is no point of P-256"
	wrongRSA     = "the key is not RSA of 2048 to 4096 bits with exponent 65537"
	private      = "the key has private members"
)

func TestProofOfChromium(t *testing.T) {
	t.Parallel()
	for _, row := range chromium {
		t.Run(row.name, func(t *testing.T) {
			p, err := dbsc.ParseRegistration(row.registration)
			if err != nil || p.Challenge != row.registered || p.Key.Thumbprint() != row.thumbprint {
				t.Fatalf("got challenge %q, thumbprint %q, error %v, want %q, %q", p.Challenge, p.Key.Thumbprint(), err, row.registered, row.thumbprint)
			}
			if got, err := dbsc.VerifyRefresh(row.refresh, p.Key); err != nil || got != row.refreshed {
				t.Errorf("got challenge %q, error %v, want %q", got, err, row.refreshed)
			}
		})
	}
}

// message returns the text of err, and "" for none.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestProofRegistration(t *testing.T) {
	t.Parallel()
	ec, other, rs := newECDevice(), newECDevice(), rsaDevice()
	header := `{"alg":"ES256","jwk":` + ec.jwk + `,"typ":"dbsc+jwt"}`
	good := ec.registration()
	parts, rsParts := strings.Split(good, "."), strings.Split(rs.registration(), ".")
	for _, row := range []struct{ name, field, want string }{
		{"an ES256 key registers", good, ""},
		{"an RS256 key registers", rs.registration(), ""},
		{"double quotes around it are a structured field's string", `"` + good + `"`, ""},
		{"parameters of the structured field are ignored", `"` + good + `";v=1`, ""},
		{"other claims and header parameters are ignored", ec.sign(`{"alg":"ES256","jwk":`+ec.jwk+`,"kid":"1","typ":"dbsc+jwt"}`, `{"aud":"https://other.example","exp":1,"jti":"challenge","sub":null}`), ""},
		{"other public members of the key are ignored", ec.registered("ES256", ec.with(`"use":"sig","key_ops":["verify"]`)), ""},
		{"spaces in the JSON are none of our business", ec.sign(" "+header+"\n", " { \"jti\" : \"challenge\" } "), ""},

		{"nothing is no proof", "", noJWT},
		{"two quotes are no proof", `""`, noJWT},
		{"one quote alone is no part of a proof", `"` + good, noJWT},
		{"two parts are no proof", parts[0] + "." + parts[1], noJWT},
		{"four parts are no proof", good + "." + parts[2], noJWT},
		{"padding is no base64url", good + "=", noJWT},
		{"a line feed is no base64url", parts[0] + ".\n" + parts[1] + "." + parts[2], noJWT},
		{"a megabyte is not read", good + strings.Repeat("A", 1<<20), tooLong},
		{"a proof of five kilobytes is not read", ec.sign(header, `{"jti":"challenge","pad":"`+strings.Repeat("a", 4<<10)+`"}`), tooLong},

		{"an array is no header", ec.sign("["+header+"]", `{"jti":"challenge"}`), noObject},
		{"a second object behind the header is refused", ec.sign(header+"{}", `{"jti":"challenge"}`), noObject},
		{"an empty header is refused", ec.sign("", `{"jti":"challenge"}`), noObject},
		{"a header that ends early is refused", ec.sign(`{"alg":"ES256"`, `{"jti":"challenge"}`), noObject},
		{"a name without a value is refused", ec.sign(`{"alg"}`, `{"jti":"challenge"}`), noObject},
		{"a value that ends early is refused", ec.sign(`{"alg":[`, `{"jti":"challenge"}`), noObject},
		{"deep nesting is refused", ec.sign(`{"alg":`+strings.Repeat("[", 1000), `{"jti":"challenge"}`), noObject},
		{"two algorithms are refused", ec.sign(`{"alg":"none","alg":"ES256","jwk":`+ec.jwk+`,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), twice},
		{"two algorithms are refused also if one name is escaped", ec.sign(`{"\u0061lg":"none","alg":"ES256","jwk":`+ec.jwk+`,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), twice},
		{"two keys are refused", ec.sign(`{"alg":"ES256","jwk":`+other.jwk+`,"jwk":`+ec.jwk+`,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), twice},
		{"two coordinates are refused", ec.registered("ES256", ec.with(`"x":"AA"`)), twice},
		{"two challenges are refused", ec.sign(header, `{"jti":"challenge","jti":"other"}`), twice},

		{"another type is refused", ec.sign(strings.Replace(header, "dbsc+jwt", "JWT", 1), `{"jti":"challenge"}`), wrongType},
		{"no type is refused", ec.sign(`{"alg":"ES256","jwk":`+ec.jwk+`}`, `{"jti":"challenge"}`), wrongType},
		{"names in capitals are other names", ec.sign(strings.Replace(header, "typ", "TYP", 1), `{"jti":"challenge"}`), wrongType},
		{"critical extensions are refused", ec.sign(strings.Replace(header, "{", `{"crit":["b64"],"b64":false,`, 1), `{"jti":"challenge"}`), critical},

		{"algorithm none is refused", ec.registered("none", ec.jwk), noAlgorithm},
		{"algorithm none without a signature is refused", b64([]byte(strings.Replace(header, "ES256", "none", 1))) + "." + parts[1] + ".", noAlgorithm},
		{"no algorithm is refused", ec.sign(`{"jwk":`+ec.jwk+`,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), noAlgorithm},
		{"a number is no algorithm", ec.sign(`{"alg":256,"jwk":`+ec.jwk+`,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), noAlgorithm},
		{"ES384 is refused", ec.registered("ES384", ec.jwk), noAlgorithm},
		{"HS256 with the public key for a secret is refused", hmacProof(rs), noAlgorithm},
		{"an EC key under RS256 is refused", ec.registered("RS256", ec.jwk), wrongKeyType},
		{"an RSA key under ES256 is refused", rs.registered("ES256", rs.jwk), wrongKeyType},
		{"a symmetric key is refused", ec.registered("ES256", `{"kty":"oct","x":"AA"}`), wrongKeyType},
		{"an EC key that says it is of another type is refused", ec.registered("ES256", strings.Replace(ec.jwk, `"EC"`, `"OKP"`, 1)), wrongKeyType},
		{"another curve is refused", ec.registered("ES256", strings.Replace(ec.jwk, "P-256", "P-384", 1)), wrongKeyType},

		{"no key is refused", ec.refresh(), noKey},
		{"a string is no key", ec.registered("ES256", `"AA"`), noObject},
		{"null is no key", ec.registered("ES256", `null`), noObject},
		{"an EC key with its private half is refused", ec.registered("ES256", ec.with(`"d":"AA"`)), private},
		{"an RSA key with a prime is refused", rs.registered("RS256", rs.with(`"p":"AA"`)), private},
		{"a key with a secret of its own is refused", ec.registered("ES256", ec.with(`"k":"AA"`)), private},
		{"a point off the curve is refused", ec.registered("ES256", offCurve(ec)), noPoint},
		{"the point at infinity is refused", ec.registered("ES256", ecJWK(make([]byte, 32), make([]byte, 32))), noPoint},
		{"a coordinate of 31 bytes is refused", ec.registered("ES256", ecJWK(make([]byte, 31), make([]byte, 32))), noPoint},
		{"a coordinate of 33 bytes is refused", ec.registered("ES256", ecJWK(make([]byte, 33), make([]byte, 32))), noPoint},
		{"coordinates of a point that are cut at another byte are refused", ec.registered("ES256", recut(ec)), noPoint},
		{"no coordinates are refused", ec.registered("ES256", `{"crv":"P-256","kty":"EC"}`), noPoint},
		{"RSA of 1024 bits is refused", rs.registered("RS256", rsaJWK(modulus(1024))), wrongRSA},
		{"RSA of 8192 bits is refused", rs.registered("RS256", rsaJWK(modulus(8192))), wrongRSA},
		{"RSA with exponent 3 is refused", rs.registered("RS256", strings.Replace(rs.jwk, "AQAB", "Aw", 1)), wrongRSA},
		{"RSA with an exponent in two spellings is refused", rs.registered("RS256", strings.Replace(rs.jwk, "AQAB", "AAEAAQ", 1)), wrongRSA},
		{"RSA without an exponent is refused", rs.registered("RS256", strings.Replace(rs.jwk, `"e"`, `"f"`, 1)), wrongRSA},
		{"RSA with a leading zero is refused", rs.registered("RS256", rsaJWK(append([]byte{0}, modulus(2048)...))), wrongRSA},

		{"a key that did not sign is refused", ec.registered("ES256", other.jwk), notSigned},
		{"a signature of another proof is refused", parts[0] + "." + parts[1] + "." + strings.Split(other.registration(), ".")[2], notSigned},
		{"other claims under a signature are refused", parts[0] + "." + b64([]byte(`{"jti":"other"}`)) + "." + parts[2], notSigned},
		{"no signature is refused", parts[0] + "." + parts[1] + ".", notSigned},
		{"a signature of zeros is refused", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), notSigned},
		{"a signature with a byte too many is refused", good + "AA", notSigned},
		{"an RSA signature that is too short is refused", strings.Join(rsParts[:2], ".") + "." + b64(make([]byte, 255)), notSigned},

		{"no challenge is refused", ec.sign(header, `{}`), noChallenge},
		{"an empty challenge is refused", ec.sign(header, `{"jti":""}`), noChallenge},
		{"a number is no challenge", ec.sign(header, `{"jti":1}`), noChallenge},
		{"null is no challenge", ec.sign(header, `{"jti":null}`), noChallenge},
		{"claims that are no object are refused", ec.sign(header, `"challenge"`), noObject},
		{"no claims are refused", ec.sign(header, ``), noObject},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := dbsc.ParseRegistration(row.field)
			if message(err) != row.want {
				t.Fatalf("got error %v, want %q", err, row.want)
			}
			if err != nil && p != (dbsc.Proof{}) {
				t.Errorf("got %v with an error, want nothing", p)
			}
			if err == nil && (p.Challenge != "challenge" || p.Key.Thumbprint() == "") {
				t.Errorf("got challenge %q, thumbprint %q, want a challenge and a key", p.Challenge, p.Key.Thumbprint())
			}
		})
	}
}

// hmacProof is signed by the text of the public key, which a verifier that lets the token
// choose its algorithm takes for a secret.
func hmacProof(d *device) string {
	public, err := x509.MarshalPKIXPublicKey(d.key.Public())
	if err != nil {
		panic(err)
	}
	signed := b64([]byte(`{"alg":"HS256","jwk":`+d.jwk+`,"typ":"dbsc+jwt"}`)) + "." + b64([]byte(`{"jti":"challenge"}`))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// offCurve changes the last bit of the device's y.
func offCurve(d *device) string {
	point := d.point()
	point[63] ^= 1
	return ecJWK(point[:32], point[32:])
}

// recut gives y the last byte of x: the bytes of the point are the same, the thumbprint
// is another.
func recut(d *device) string { return ecJWK(d.point()[:31], d.point()[31:]) }

func TestProofRefresh(t *testing.T) {
	t.Parallel()
	ec, other, rs := newECDevice(), newECDevice(), rsaDevice()
	key := func(d *device) dbsc.Key {
		p, err := dbsc.ParseRegistration(d.registration())
		if err != nil {
			t.Fatal(err)
		}
		return p.Key
	}
	header := `{"alg":"ES256","typ":"dbsc+jwt"}`
	for _, row := range []struct {
		name, field string
		key         dbsc.Key
		want        string
	}{
		{"the device proves itself by ES256", ec.refresh(), key(ec), ""},
		{"the device proves itself by RS256", rs.refresh(), key(rs), ""},
		{"double quotes around it are a structured field's string", `"` + ec.refresh() + `"`, key(ec), ""},
		{"another device is refused", other.refresh(), key(ec), notSigned},
		{"another device that brings its key is refused", other.registration(), key(ec), ownKey},
		{"the device that brings its key is refused", ec.registration(), key(ec), ownKey},
		{"a key that is null is one", ec.sign(`{"alg":"ES256","jwk":null,"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), key(ec), ownKey},
		{"an RSA proof for an EC key is refused", rs.refresh(), key(ec), notSigned},
		{"an EC proof for an RSA key is refused", ec.refresh(), key(rs), notSigned},
		{"an EC signature that says RS256 is refused", ec.sign(`{"alg":"RS256","typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), key(ec), notSigned},
		{"an RSA signature that says ES256 is refused", rs.sign(header, `{"jti":"challenge"}`), key(rs), notSigned},
		{"algorithm none is refused", ec.sign(`{"alg":"none","typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), key(ec), notSigned},
		{"no algorithm is refused", ec.sign(`{"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), key(ec), notSigned},
		{"another type is refused", ec.sign(`{"alg":"ES256","typ":"JWT"}`, `{"jti":"challenge"}`), key(ec), wrongType},
		{"critical extensions are refused", ec.sign(`{"alg":"ES256","crit":[],"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), key(ec), critical},
		{"no challenge is refused", ec.sign(header, `{"JTI":"challenge"}`), key(ec), noChallenge},
		{"two challenges are refused", ec.sign(header, `{"jti":"challenge","jti":"challenge"}`), key(ec), twice},
		{"a megabyte is not read", ec.refresh() + strings.Repeat("A", 1<<20), key(ec), tooLong},
		{"nothing is no proof", "", key(ec), noJWT},
		{"the zero key verifies nothing", ec.refresh(), dbsc.Key{}, notSigned},
		{"the zero key does not verify an algorithm that is not there", ec.sign(`{"typ":"dbsc+jwt"}`, `{"jti":"challenge"}`), dbsc.Key{}, notSigned},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			challenge, err := dbsc.VerifyRefresh(row.field, row.key)
			if message(err) != row.want {
				t.Fatalf("got error %v, want %q", err, row.want)
			}
			if want := "challenge"; err == nil && challenge != want || err != nil && challenge != "" {
				t.Errorf("got challenge %q with error %v", challenge, err)
			}
		})
	}
}
