package sessioncookie_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/sessioncookie"
)

func TestCookiesOfARequest(t *testing.T) {
	t.Parallel()
	one, two, three := valueOf(t, ours, token(1)), valueOf(t, ours, token(2)), valueOf(t, ours, token(3))
	overdue, extended := token(4), token(1)
	overdue.Deadline = now.Unix()
	extended.Deadline++
	dead, longer := valueOf(t, ours, overdue), valueOf(t, ours, extended)
	alien := valueOf(t, codec("session", otherKey), token(5))
	type brought = sessioncookie.Request
	type tokens = []sessioncookie.Token
	for _, row := range []struct {
		name  string
		lines []string
		want  brought
		found tokens
	}{
		{"no cookie at all", nil, brought{}, nil},
		{"a cookie of another name", []string{"theme=" + one}, brought{}, nil},
		{"the one that we sent", []string{"session=" + one}, brought{Cookie: true}, tokens{token(1)}},
		{"in quotes", []string{`session="` + one + `"`}, brought{Cookie: true}, tokens{token(1)}},
		{"padded", []string{"session=" + one + "="}, brought{Cookie: true}, tokens{token(1)}},
		{"padded twice", []string{"session=" + one + "=="}, brought{Invalid: 1, Cookie: true}, nil},
		{"in two pairs of quotes", []string{`session=""` + one + `""`}, brought{Invalid: 1, Cookie: true}, nil},
		{"among others", []string{"a=b; session=" + one + ";c=d"}, brought{Cookie: true}, tokens{token(1)}},
		{"in the second of two fields, as HTTP/2 allows", []string{"a=b", "session=" + one}, brought{Cookie: true}, tokens{token(1)}},
		{"after ten thousand others", append(slices.Repeat([]string{"a=b"}, 10_000), "session="+one), brought{Cookie: true}, tokens{token(1)}},
		{"after a planted one", []string{"session=x; session=" + one}, brought{Invalid: 1, Cookie: true}, tokens{token(1)}},
		{"after another server's", []string{"session=" + alien + "; session=" + one}, brought{Invalid: 1, Cookie: true}, tokens{token(1)}},
		{"no value", []string{"session="}, brought{Invalid: 1, Cookie: true}, nil},
		{"no equals sign", []string{"session"}, brought{Invalid: 1, Cookie: true}, nil},
		{"at its deadline", []string{"session=" + dead}, brought{Overdue: 1, Cookie: true}, nil},
		{"several, in their order", []string{"session=" + two + "; session=" + dead, "session=" + one}, brought{Overdue: 1, Cookie: true}, tokens{token(2), token(1)}},
		{"as many as are tried", []string{"session=" + one + "; session=" + two, "session=" + three + "; session=" + dead}, brought{Overdue: 1, Cookie: true}, tokens{token(1), token(2), token(3)}},
		{"behind as many as are tried", []string{"session=1; session=2", "session=3; session=4", "session=" + one}, brought{Invalid: 4, Cookie: true}, nil},
		{"the same five times", []string{strings.Repeat("session="+one+"; ", 5)}, brought{Cookie: true}, tokens{token(1)}},
		{"the same in three forms, then another", []string{"session=" + one + `; session="` + one + `"; session=` + one + "=; session=" + two + "; session=" + three + "; session=" + dead}, brought{Overdue: 1, Cookie: true}, tokens{token(1), token(2), token(3)}},
		{"the same garbage five times, then ours", []string{strings.Repeat("session=x; ", 5) + "session=" + one}, brought{Invalid: 1, Cookie: true}, tokens{token(1)}},
		{"one SID with two deadlines", []string{"session=" + one + "; session=" + two + "; session=" + longer}, brought{Cookie: true}, tokens{extended, token(2)}},
		{"one SID with two deadlines, the later first", []string{"session=" + longer + "; session=" + one}, brought{Cookie: true}, tokens{extended}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := request(row.lines)
			req, ts := ours.Read(r, false, now)
			if !reflect.DeepEqual(req, row.want) || !slices.Equal(ts.All(), row.found) {
				t.Errorf("got %+v and %v, want %+v and %v", req, ts.All(), row.want, row.found)
			}
		})
	}
}

// TestCookieThatOnlyLooksLikeOursIsNone sends a good value in ways in which a browser
// would send a cookie that a neighbour under the same domain, or a page over plain
// HTTP, was able to set though the name has a prefix.
func TestCookieThatOnlyLooksLikeOursIsNone(t *testing.T) {
	t.Parallel()
	good := valueOf(t, ours, token(1))
	for _, row := range []struct{ name, line string }{
		{"in another case", "Session=" + good},
		{"without a name", "=session=" + good},
		{"behind a space that is none in HTTP", "\u2000session=" + good},
		{"behind a no-break space", "\u00a0session=" + good},
		{"behind a NUL", "\x00session=" + good},
		{"a space before the sign", "session =" + good},
		{"in the old syntax", "$Version=1, session=" + good},
		{"behind a comma", "a=b, session=" + good},
		{"a name with a prefix", "__Host-session=" + good},
		{"a name with ours at its end", "xsession=" + good},
		{"a name in quotes", `"session"=` + good},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if req, ts := ours.Read(request([]string{row.line}), false, now); !reflect.DeepEqual(req, sessioncookie.Request{}) || len(ts.All()) > 0 {
				t.Errorf("got %+v and %v, want nothing", req, ts.All())
			}
			if _, ts := ours.Read(request([]string{row.line + "; session=" + good}), false, now); len(ts.All()) != 1 {
				t.Errorf("got %v, want the real cookie that comes too", ts.All())
			}
		})
	}
}

func TestCookieOfTheURLIsNotRead(t *testing.T) {
	t.Parallel()
	c := sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "X-Session", sessioncookie.Keys{Session: [][]byte{newKey}})
	r := request(nil)
	r.URL.RawQuery = "session=" + valueOf(t, ours, token(1)) + "&X-Session=" + valueOf(t, ours, token(1))
	if req, ts := c.Read(r, false, now); !reflect.DeepEqual(req, sessioncookie.Request{}) || len(ts.All()) > 0 {
		t.Errorf("got %+v and %v, want nothing", req, ts.All())
	}
}

func BenchmarkRead(b *testing.B) {
	value, third := valueOf(b, ours, token(1)), valueOf(b, ours, token(3))
	older := valueOf(b, codec("session", oldKey), token(2))
	withHeader := sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "X-Session", sessioncookie.Keys{Session: [][]byte{newKey, oldKey}})
	for _, row := range []struct {
		name   string
		codec  *sessioncookie.Codec
		lines  []string
		fields []string
	}{
		{"one cookie", ours, []string{"session=" + value}, nil},
		{"one among ten", ours, []string{strings.Repeat("theme=dark; ", 9) + "session=" + value}, nil},
		{"three, one by the older key", ours, []string{"session=" + value + "; session=" + older + "; session=" + third}, nil},
		{"header", withHeader, nil, []string{"X-Session", value}},
		{"browser's cookie beside a header", withHeader, []string{"session=" + value}, []string{"Sec-Fetch-Site", "same-origin"}},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			r := request(row.lines, row.fields...)
			for b.Loop() {
				if _, ts := row.codec.Read(r, false, now); len(ts.All()) == 0 {
					b.Fatal("got no token")
				}
			}
		})
	}
}
