package dbsc_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/redsession/redsession/internal/dbsc"
)

func TestBoundCookie(t *testing.T) {
	t.Parallel()
	old, s := signer(1), signer(2, 1)
	said := dbsc.BoundCookie{Identifier: identifier, Issued: now.Unix(), Expires: now.Unix() + 660}
	good := s.EncodeCookie(said)
	other := s.EncodeCookie(dbsc.BoundCookie{Identifier: dbsc.Identifier("binding2", thumbprint), Issued: said.Issued, Expires: said.Expires})
	later := s.EncodeCookie(dbsc.BoundCookie{Identifier: identifier, Issued: said.Issued, Expires: said.Expires + 1})
	for _, row := range []struct {
		name, value string
		want        bool
	}{
		{"ours is good", good, true},
		{"one by the secret before is good", old.EncodeCookie(said), true},
		{"one in double quotes is good", `"` + good + `"`, true},
		{"one by an unknown secret is none", signer(3).EncodeCookie(said), false},
		{"one of another binding is none under this", good[:35] + other[35:], false},
		{"a prolonged one is none", later[:14] + good[14:], false},
		{"a single quote is none of it", `"` + good, false},
		{"a shorter one is none", good[1:], false},
		{"a longer one is none", good + "A", false},
		{"line feeds are none of it", good[:34] + "\n" + good[35:], false},
		{"nothing is none", "", false},
		{"two quotes are none", `""`, false},
		{"a megabyte is none", strings.Repeat("A", 1<<20), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := s.DecodeCookie(row.value)
			if want := (dbsc.BoundCookie{}); ok != row.want || ok && got != said || !ok && got != want {
				t.Errorf("got %v, %t, want %v, %t", got, ok, said, row.want)
			}
		})
	}
	for i := range good {
		if got, ok := s.DecodeCookie(change(good, i)); ok {
			t.Errorf("got %v with another character %d, want none", got, i)
		}
	}
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{87}$`).MatchString(good) {
		t.Errorf("got %q, want 87 characters that need no quotes", good)
	}
}

func TestBoundCookieKeepsTimesThatFit(t *testing.T) {
	t.Parallel()
	s := signer(1)
	for _, row := range []struct {
		name      string
		have, get int64
	}{
		{"the beginning of 1970", 0, 0},
		{"the last second that fits", 1<<40 - 1, 1<<40 - 1},
		{"a later one is the last that fits", 1 << 40, 1<<40 - 1},
		{"one before 1970 is the first", -1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := s.DecodeCookie(s.EncodeCookie(dbsc.BoundCookie{Identifier: identifier, Issued: row.have, Expires: row.have}))
			if !ok || got.Issued != row.get || got.Expires != row.get {
				t.Errorf("got %v, %t, want %d", got, ok, row.get)
			}
		})
	}
}

func TestBoundCookieIsReadByManyAtOnce(t *testing.T) {
	t.Parallel()
	s := signer(2, 1)
	said := dbsc.BoundCookie{Identifier: identifier, Issued: 1, Expires: 2}
	value := signer(1).EncodeCookie(said)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if got, ok := s.DecodeCookie(value); !ok || got != said {
					t.Errorf("got %v, %t, want %v", got, ok, said)
				}
			}
		})
	}
	wg.Wait()
}
