package dbsc_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/dbsc"
)

// FuzzProof reads any proof as a registration and as a refresh. A key that came out of it
// is stored and read again, and signs no refresh that brings a key.
func FuzzProof(f *testing.F) {
	ec := newECDevice()
	p, err := dbsc.ParseRegistration(ec.registration())
	if err != nil {
		f.Fatal(err)
	}
	for _, row := range chromium {
		f.Add(row.registration)
		f.Add(row.refresh)
	}
	for _, field := range []string{"", "..", `"..";`, "e30.e30.", ec.registration(), ec.refresh(), `"` + ec.refresh() + `"`, ec.registered("none", ec.jwk), ec.registered("ES256", ec.with(`"d":"AA"`)), ec.sign("{", "}"), ec.sign(`{"a":{"a":[1]},"typ":"dbsc+jwt"}`, "null")} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		got, err := dbsc.ParseRegistration(field)
		if (err == nil) != (got != dbsc.Proof{}) {
			t.Errorf("got %v and error %v, want one of them", got, err)
		}
		if err == nil {
			again, err := dbsc.ParseKey(got.Key.Encode())
			if err != nil || again.Encode() != got.Key.Encode() || again.Thumbprint() != got.Key.Thumbprint() || got.Challenge == "" {
				t.Errorf("got %v, error %v, want the same key again", again, err)
			}
			if c, err := dbsc.VerifyRefresh(field, again); err == nil {
				t.Errorf("got challenge %q from a registration that is taken for a refresh", c)
			}
		}
		challenge, err := dbsc.VerifyRefresh(field, p.Key)
		if (err == nil) != (challenge != "") || err == nil && len(field) > 4<<10 {
			t.Errorf("got challenge %q and error %v, want one of them", challenge, err)
		}
	})
}

// FuzzProofJSON signs any header and claims, so that what lies behind the signature is
// reached too. Names that say nothing to us must not change what is read.
func FuzzProofJSON(f *testing.F) {
	ec := newECDevice()
	p, err := dbsc.ParseRegistration(ec.registration())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"alg":"ES256","typ":"dbsc+jwt"}`, `{"jti":"c"}`)
	f.Add(`{"alg":"ES256","typ":"dbsc+jwt","kid":{"jwk":1}}`, `{"a":1,"jti":"\ud800"}`)
	f.Add(`{"alg":"ES256","typ":"dbsc+jwt","x":"`+"\xff"+`"}`, `{"`+"\xff"+`":1,"`+"\xfe"+`":2}`)
	f.Add(`{"alg":"ES256","typ":"dbsc+jwt"},`, `{"jti":"c"}}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		field := ec.sign(header, claims)
		challenge, err := dbsc.VerifyRefresh(field, p.Key)
		if err != nil {
			return
		}
		if challenge == "" || !strings.Contains(header, "{") || !strings.Contains(claims, "{") {
			t.Errorf("got challenge %q of %q, %q", challenge, header, claims)
		}
		more := ec.sign(header, strings.Replace(claims, "{", `{"Jti":"other",`, 1))
		if again, err := dbsc.VerifyRefresh(more, p.Key); err == nil && again != challenge {
			t.Errorf("got challenge %q, want %q also behind another name", again, challenge)
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, text := range []string{"", ".", "ES256", "ES256..", "RS256.", "RS256.AQAB", "ES256.l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs.9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA", "RS256." + b64(modulus(2048)), "RS256." + b64(modulus(4096))} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := dbsc.ParseKey(text)
		if err != nil {
			if key != (dbsc.Key{}) {
				t.Errorf("got %v with error %v, want nothing", key, err)
			}
			return
		}
		if key.Encode() != text {
			t.Errorf("got %q, want %q: a key has one spelling", key.Encode(), text)
		}
		if _, _, ok := dbsc.SplitIdentifier(dbsc.Identifier("binding1", key.Thumbprint())); !ok {
			t.Errorf("got thumbprint %q, want one that makes an identifier", key.Thumbprint())
		}
	})
}

// FuzzSigned reads any value as each of the things that are signed: nothing but what was
// signed for that purpose may come out.
func FuzzSigned(f *testing.F) {
	s := signer(2, 1)
	expires := now.Add(time.Minute)
	said := dbsc.BoundCookie{Identifier: identifier, Issued: 1, Expires: 2}
	challenge, token, cookie := s.Challenge("refresh", identifier, expires), s.EncodeToken("binding1", expires), s.EncodeCookie(said)
	for _, value := range []string{"", `"`, `""`, challenge, token, cookie, `"` + cookie + `"`, cookie[1:], challenge + "=", token + "\n"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got := s.CheckChallenge("refresh", identifier, value, now); got == dbsc.Stale || (got == dbsc.Good) != (value == challenge) {
			t.Errorf("got %d for challenge %q", got, value)
		}
		if subject, ok := s.DecodeToken(value, now); ok != (value == token) || ok && subject != "binding1" {
			t.Errorf("got %q, %t for token %q", subject, ok, value)
		}
		if got, ok := s.DecodeCookie(value); ok != (value == cookie || value == `"`+cookie+`"`) || ok && got != said {
			t.Errorf("got %v, %t for cookie %q", got, ok, value)
		}
	})
}

// FuzzSigning signs anything and reads it again.
func FuzzSigning(f *testing.F) {
	f.Add("refresh", identifier, int64(1), int64(2))
	f.Add("", "\x00/\xff", int64(-1), int64(1)<<62)
	s := signer(2, 1)
	fits := func(v int64) int64 { return max(0, min(v, 1<<40-1)) }
	f.Fuzz(func(t *testing.T, purpose, text string, issued, expires int64) {
		before := time.Unix(fits(expires)-1, 0)
		c := s.Challenge(purpose, text, time.Unix(expires, 0))
		if got := s.CheckChallenge(purpose, text, c, before); got != dbsc.Good {
			t.Errorf("got %d for a challenge of %q, %q until %d, want it good", got, purpose, text, expires)
		}
		if got := s.CheckChallenge(purpose, text, c, before.Add(time.Second)); got != dbsc.Stale {
			t.Errorf("got %d for a challenge that ended, want it stale", got)
		}
		if subject, ok := s.DecodeToken(s.EncodeToken(text, time.Unix(expires, 0)), before); ok != (len(text) <= 171) || ok && subject != text {
			t.Errorf("got %q, %t, want %q", subject, ok, text)
		}
		said := dbsc.BoundCookie{Identifier: identifier, Issued: fits(issued), Expires: fits(expires)}
		if got, ok := s.DecodeCookie(s.EncodeCookie(dbsc.BoundCookie{Identifier: identifier, Issued: issued, Expires: expires})); !ok || got != said {
			t.Errorf("got %v, %t, want %v", got, ok, said)
		}
	})
}

func FuzzIdentifier(f *testing.F) {
	for _, field := range []string{"", `"`, `""`, ";", identifier, `"` + identifier + `"`, `"` + identifier + `";a="b"`, identifier[1:], " \t" + identifier} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		got, ok := dbsc.SessionID(field)
		if !ok {
			if got != "" {
				t.Errorf("got %q and no identifier, want one of them", got)
			}
			return
		}
		id, thumb, split := dbsc.SplitIdentifier(got)
		if !split || dbsc.Identifier(id, thumb) != got || !strings.Contains(field, got) {
			t.Errorf("got %q of %q, which is %q and %q", got, field, id, thumb)
		}
		if again, ok := dbsc.SessionID(`"` + got + `"`); !ok || again != got {
			t.Errorf("got %q, %t in quotes, want %q", again, ok, got)
		}
	})
}
