package sessioncookie_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/redsession/redsession/internal/sessioncookie"
)

func TestBareName(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, want string }{
		{"session", "session"},
		{"__Host-session", "session"},
		{"__Secure-session", "session"},
		{"__Http-session", "session"},
		{"__Host-Http-session", "session"},
		{"__hOST-hTTP-session", "session"},
		{"__HOST-__secure-__Host-session", "session"},
		{"session-__Host-", "session-__Host-"},
		{"__Host", "__Host"},
		{"_Host-session", "_Host-session"},
		{"__Host-", ""},
		{"__Host-Http-", ""},
		{"__Host-__Host-", ""},
		{"", ""},
	} {
		if got := sessioncookie.BareName(row.name); got != row.want {
			t.Errorf("got %q of %q, want %q", got, row.name, row.want)
		}
	}
}

func FuzzBareName(f *testing.F) {
	f.Add("__Host-__Secure-a")
	f.Add("__Host-Http-")
	f.Fuzz(func(t *testing.T, name string) {
		bare := sessioncookie.BareName(name)
		if again := sessioncookie.BareName(bare); again != bare || len(name) < len(bare) || name[len(name)-len(bare):] != bare {
			t.Errorf("got %q of %q and %q of that, want the end of the name, without a prefix", bare, name, again)
		}
	})
}

// TestModeOfARequest holds who is asked, and which values each mode takes.
func TestModeOfARequest(t *testing.T) {
	t.Parallel()
	asked := 0
	keys := sessioncookie.Keys{Session: [][]byte{newKey}, Ending: [][]byte{otherKey}}
	both := sessioncookie.New(sessioncookie.Attributes{Name: "__Host-session", Path: "/", InsecureWhen: func(*http.Request) bool { asked++; return true }}, "", keys)
	one := sessioncookie.New(sessioncookie.Attributes{Name: "__Host-session", Path: "/"}, "", keys)
	plain, secure := request(nil), request(nil)
	secure.TLS = &tls.ConnectionState{}
	for _, row := range []struct {
		name           string
		codec          *sessioncookie.Codec
		r              *http.Request
		insecure       bool
		asked          int
		cookie, signed string
	}{
		{"without TLS, if the function says so", both, plain, true, 1, "session", "session"},
		{"by TLS nobody is asked", both, secure, false, 0, "__Host-session", "__Host-session"},
		{"without a function", one, plain, false, 0, "__Host-session", "__Host-session"},
	} {
		t.Run(row.name, func(t *testing.T) {
			asked = 0
			if got := row.codec.Insecure(row.r); got != row.insecure || asked != row.asked {
				t.Fatalf("got insecure %v, asked %d times, want %v, %d", got, asked, row.insecure, row.asked)
			}
			if got := row.codec.Name(row.insecure); got != row.cookie || !row.codec.Has(got) {
				t.Errorf("got the name %q, want %q", got, row.cookie)
			}
			for _, signed := range []string{"session", "__Host-session"} {
				value := valueOf(t, codec(signed, newKey), token(1))
				for _, name := range []string{"session", "__Host-session"} {
					req, ts := row.codec.Read(request([]string{name + "=" + value}), row.insecure, now)
					if found := len(ts.All()) == 1; found != (name == row.cookie && signed == row.signed) || req.Cookie != (name == row.cookie) || req.Insecure != row.insecure {
						t.Errorf("%s signed for %s: found %v, got %+v", name, signed, found, req)
					}
				}
			}
		})
	}
}
