package dbsc_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/dbsc"
)

var (
	now        = time.Unix(1_800_000_000, 0)
	thumbprint = strings.Repeat("t", 43)
	identifier = dbsc.Identifier("binding1", thumbprint)
)

// signer has a key of its own for each purpose, made of the bytes given: the first is the
// newest.
func signer(secrets ...byte) *dbsc.Signer {
	var k dbsc.Keys
	for _, b := range secrets {
		k.Challenge = append(k.Challenge, bytes.Repeat([]byte{b, 1}, 16))
		k.Cookie = append(k.Cookie, bytes.Repeat([]byte{b, 2}, 16))
		k.Token = append(k.Token, bytes.Repeat([]byte{b, 3}, 16))
	}
	return dbsc.NewSigner(k)
}

// change returns s with another character at i.
func change(s string, i int) string {
	c := byte('A')
	if s[i] == c {
		c = 'B'
	}
	return s[:i] + string(c) + s[i+1:]
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	old, s := signer(1), signer(2, 1)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	good := s.Challenge("refresh", identifier, in(time.Minute))
	for _, row := range []struct {
		name, challenge string
		want            dbsc.Verdict
	}{
		{"ours is good", good, dbsc.Good},
		{"one by the secret before is good", old.Challenge("refresh", identifier, in(time.Minute)), dbsc.Good},
		{"one that ends in a second is good", s.Challenge("refresh", identifier, in(time.Second)), dbsc.Good},
		{"one that ends now is stale", s.Challenge("refresh", identifier, now), dbsc.Stale},
		{"one that ended an hour ago is stale", s.Challenge("refresh", identifier, in(-time.Hour)), dbsc.Stale},
		{"one by the secret before that ended is stale", old.Challenge("refresh", identifier, in(-time.Hour)), dbsc.Stale},
		{"one that ended before 1970 is stale", s.Challenge("refresh", identifier, time.Unix(-1, 0)), dbsc.Stale},
		{"one of another purpose is forged", s.Challenge("registration", identifier, in(time.Minute)), dbsc.Forged},
		{"one of another identifier is forged", s.Challenge("refresh", dbsc.Identifier("binding2", thumbprint), in(time.Minute)), dbsc.Forged},
		{"a purpose does not run into its identifier", s.Challenge("refres", "h"+identifier, in(time.Minute)), dbsc.Forged},
		{"one by an unknown secret is forged", signer(3).Challenge("refresh", identifier, in(time.Minute)), dbsc.Forged},
		{"one by a newer secret is forged to who has the old one alone", signer(4, 2).Challenge("refresh", identifier, in(time.Minute)), dbsc.Forged},
		{"a prolonged one is forged", s.Challenge("refresh", identifier, in(time.Hour))[:6] + good[6:], dbsc.Forged},
		{"a token is no challenge", s.EncodeToken("", in(time.Minute)), dbsc.Forged},
		{"a shorter one is forged", good[:27], dbsc.Forged},
		{"a longer one is forged", good + "A", dbsc.Forged},
		{"a line feed is forged", good[:27] + "\n", dbsc.Forged},
		{"quotes are forged", `"` + good[:26] + `"`, dbsc.Forged},
		{"nothing is forged", "", dbsc.Forged},
		{"a megabyte is forged", strings.Repeat("A", 1<<20), dbsc.Forged},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := s.CheckChallenge("refresh", identifier, row.challenge, now); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
	for i := range good {
		if got := s.CheckChallenge("refresh", identifier, change(good, i), now); got != dbsc.Forged {
			t.Errorf("got %d with another character %d, want it forged", got, i)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	old, s := signer(1), signer(2, 1)
	good := s.EncodeToken("binding1.abc", now.Add(time.Minute))
	for _, row := range []struct {
		name, token, subject string
		want                 bool
	}{
		{"ours leads to its subject", good, "binding1.abc", true},
		{"one by the secret before does", old.EncodeToken("binding1", now.Add(time.Minute)), "binding1", true},
		{"any subject of 171 bytes does", s.EncodeToken(strings.Repeat("/\x00é", 42)+"/\x00\xff", now.Add(time.Minute)), strings.Repeat("/\x00é", 42) + "/\x00\xff", true},
		{"a longer subject has none", s.EncodeToken(strings.Repeat("a", 172), now.Add(time.Minute)), "", false},
		{"no subject is one", s.EncodeToken("", now.Add(time.Minute)), "", true},
		{"one that ends now is none", s.EncodeToken("binding1", now), "", false},
		{"one by an unknown secret is none", signer(3).EncodeToken("binding1", now.Add(time.Minute)), "", false},
		{"a challenge is none", s.Challenge("", "", now.Add(time.Minute)), "", false},
		{"a shorter one is none", good[:len(good)-4], "", false},
		{"a longer one is none", good + "AAAA", "", false},
		{"padding is none of it", good + "==", "", false},
		{"less than a signature is none", good[:26], "", false},
		{"nothing is none", "", "", false},
		{"a megabyte is none", strings.Repeat("A", 1<<20), "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			subject, ok := s.DecodeToken(row.token, now)
			if subject != row.subject || ok != row.want {
				t.Errorf("got %q, %t, want %q, %t", subject, ok, row.subject, row.want)
			}
		})
	}
	for i := range good {
		if subject, ok := s.DecodeToken(change(good, i), now); ok {
			t.Errorf("got %q with another character %d, want none", subject, i)
		}
	}
}

func TestSignerNeedsAKeyForEachPurpose(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("got a signer without keys for tokens, want a panic")
		}
	}()
	key := [][]byte{make([]byte, 32)}
	dbsc.NewSigner(dbsc.Keys{Challenge: key, Cookie: key})
}
