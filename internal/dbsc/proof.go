package dbsc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// maxProofLen bounds a Secure-Session-Response field in bytes. The proof of an RSA key of
// 4096 bits has 2 kB.
const maxProofLen = 4 << 10

var (
	errTooLong   = errors.New("the proof is too long")
	errForm      = errors.New("the proof is no JWT of three parts")
	errJSON      = errors.New("the proof has a part that is no JSON object")
	errDuplicate = errors.New("the proof has a member twice")
	errType      = errors.New("the proof is not of type dbsc+jwt")
	errCritical  = errors.New("the proof has critical extensions")
	errNoKey     = errors.New("the registration has no key")
	errOwnKey    = errors.New("the refresh brings a key of its own")
	errSignature = errors.New("the proof is not signed by the key")
	errChallenge = errors.New("the proof has no challenge")
)

// Proof is a registration whose sender has the private half of Key. Whether its Challenge is
// one of ours, Signer.CheckChallenge tells.
type Proof struct {
	Key       Key
	Challenge string
}

// ParseRegistration checks the Secure-Session-Response field of a registration: a JWT (RFC
// 7519) of at most 4 kB, bare or in double quotes, whose header has the type dbsc+jwt and
// the public key that signed it. Claims besides the challenge are ignored: browsers send
// none that could be relied on. The error says what is wrong with the proof and quotes
// nothing of it.
func ParseRegistration(header string) (Proof, error) {
	t, err := parseToken(header)
	if err != nil {
		return Proof{}, err
	}
	raw, there := t.header["jwk"]
	if !there {
		return Proof{}, errNoKey
	}
	key, err := parseJWK(t.header.text("alg"), raw)
	if err != nil {
		return Proof{}, err
	}
	challenge, err := t.challenge(key)
	if err != nil {
		return Proof{}, err
	}
	return Proof{Key: key, Challenge: challenge}, nil
}

// VerifyRefresh checks the Secure-Session-Response field of a refresh as ParseRegistration
// does, but by the key that the device registered, and returns the challenge that was
// signed. A proof that brings a key of its own is refused.
func VerifyRefresh(header string, key Key) (challenge string, err error) {
	t, err := parseToken(header)
	if err != nil {
		return "", err
	}
	if _, there := t.header["jwk"]; there {
		return "", errOwnKey
	}
	return t.challenge(key)
}

// token is a JWS in the compact serialization (RFC 7515 7.1) before its signature is
// verified.
type token struct {
	header    object
	claims    []byte
	signed    string
	signature []byte
}

func parseToken(field string) (t token, err error) {
	if len(field) > maxProofLen {
		return t, errTooLong
	}
	text := bare(field)
	dot := strings.LastIndexByte(text, '.')
	if strings.Count(text, ".") != 2 {
		return t, errForm
	}
	t.signed = text[:dot]
	header, claims, _ := strings.Cut(t.signed, ".")
	raw, ok := decode(header)
	var cok, sok bool
	t.claims, cok = decode(claims)
	t.signature, sok = decode(text[dot+1:])
	if !ok || !cok || !sok {
		return t, errForm
	}
	if t.header, err = parseObject(raw); err != nil {
		return t, err
	}
	if t.header.text("typ") != "dbsc+jwt" {
		return t, errType
	}
	if _, there := t.header["crit"]; there { // RFC 7515 4.1.11: we understand none
		return t, errCritical
	}
	return t, nil
}

// challenge returns the claim jti if key signed the token.
func (t *token) challenge(key Key) (string, error) {
	if !key.verifies(t.header.text("alg"), t.signed, t.signature) {
		return "", errSignature
	}
	claims, err := parseObject(t.claims)
	if err != nil {
		return "", err
	}
	challenge := claims.text("jti")
	if challenge == "" {
		return "", errChallenge
	}
	return challenge, nil
}

// object is a JSON object. Its names are compared exactly, which a struct of encoding/json
// would not do.
type object map[string]json.RawMessage

// parseObject refuses an object with a name twice (RFC 7515 4): two readers could see two
// different ones.
func parseObject(raw []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errJSON
	}
	o := object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errJSON
		}
		key := name.(string) // the decoder takes nothing else for a name
		if _, there := o[key]; there {
			return nil, errDuplicate
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, errJSON
		}
		o[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errJSON
	}
	return o, nil
}

// text returns the string under name, and "" if there is none or something else.
func (o object) text(name string) (s string) {
	if json.Unmarshal(o[name], &s) != nil {
		return ""
	}
	return s
}
