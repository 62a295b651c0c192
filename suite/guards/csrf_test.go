package guards_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// forgeryTests let a token be read before and checked after.
var forgeryTests = []struct {
	name          string
	before, after []string
	want          string
}{
	{"in an anonymous session", nil, nil, "true"},
	{"in an anonymous session after Rotate", nil, []string{"/rotate"}, "true"},
	{"after a timed rotation", []string{"/login?user=alice"}, []string{"+3h", "/who", "/who", "+3h", "/who"}, "true"},
	{"after a write", []string{"/login?user=alice"}, []string{"/set?v=1"}, "true"},
	{"after a login", []string{"/set?v=1"}, []string{"/login?user=alice"}, "false"},
	{"after another login of the same user", []string{"/login?user=alice"}, []string{"/login?user=alice"}, "false"},
	{"after the second factor", []string{"/half?user=alice"}, []string{"/second"}, "false"},
	{"after a logout", []string{"/login?user=alice"}, []string{"/logout"}, "false"},
	{"after a logout, in the next session", []string{"/login?user=alice"}, []string{"/logout", "/token"}, "false"},
	{"after a logout and a login", []string{"/login?user=alice"}, []string{"/logout", "/login?user=alice"}, "false"},
}

func TestCSRFForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range forgeryTests {
		t.Run(tt.name, func(t *testing.T) {
			e := stage.NewMini(t)
			m := e.Manager(t)
			b := stage.LifeBrowser(t, m, stage.GuardedHandlers(m))
			b.Play(e, tt.before...)
			token, again := b.Get("/token").Text, b.Get("/token").Text
			if token == again || token[43:] == again[43:] {
				t.Errorf("got the same token twice, want it masked anew")
			}
			forger := b.Fresh()
			forger.Play(e, append(tt.before, "/token")...)
			if got := forger.Get("/verify?token=" + token).Text; got != "false" {
				t.Errorf("got %s in another session, want false", got)
			}
			b.Play(e, tt.after...)
			for _, token := range []string{token, again} {
				if got := b.Get("/verify?token=" + token).Text; got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
			for _, bad := range []string{"", "x", token[:85], token + "AA", token[:43] + again[43:], strings.Repeat("A", 86)} {
				if got := b.Get("/verify?token=" + url.QueryEscape(bad)).Text; got != "false" {
					t.Errorf("got %s for garbage, want false", got)
				}
			}
		})
	}
}

func TestCSRFTokenReadStoresTheSession(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	b := stage.LifeBrowser(t, m, stage.GuardedHandlers(m))
	if a := b.Get("/verify?token=x"); a.Text != "false" || len(a.SetCookies()) != 0 || len(e.Keys(t)) != 0 {
		t.Errorf("got %s and %d keys for a check, want false and nothing stored", a.Text, len(e.Keys(t)))
	}
	b.Get("/token")
	if n, err := m.Count(t.Context()); n != 1 || err != nil || b.Cookie() == "" {
		t.Errorf("got %d sessions, %v, want one and its cookie", n, err)
	}
	b.Get("/login?user=alice")
	newer := e.Manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{stage.NewerSecret, stage.Secret} })
	rotated := stage.LifeBrowser(t, newer, stage.GuardedHandlers(newer)).With(b.Cookie())
	for i, token := range stage.AtOnce(2, func(int) string { return b.Get("/token").Text }) { // the first pages that ask
		if x, y := b.Get("/verify?token="+token).Text, rotated.Get("/verify?token="+token).Text; x != "true" || y != "true" {
			t.Errorf("page %d: got %s, and %s under a newer secret, want true", i, x, y)
		}
	}
}
