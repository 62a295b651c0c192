package cookies_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// api sends a request with the header X-Session and the cookie, "" for neither.
func api(b *stage.Browser, path, header, cookie string) stage.Answer {
	b.T.Helper()
	client := b.Fresh()
	if cookie != "" {
		client = b.With(cookie)
	}
	client.HTTP.Transport = headerSender{header, b.HTTP.Transport}
	return client.Get(path)
}

type headerSender struct {
	header string
	next   http.RoundTripper
}

func (h headerSender) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.header != "" {
		r = r.Clone(r.Context())
		r.Header.Set("X-Session", h.header)
	}
	return h.next.RoundTrip(r)
}

// issuedByHeader tells which ways a's ticket goes to the client.
func issuedByHeader(a stage.Answer) string {
	var ways []string
	if len(a.SetCookies()) > 0 {
		ways = append(ways, "cookie")
	}
	if _, there := a.Header["X-Session"]; there {
		ways = append(ways, "header")
	}
	return strings.Join(ways, " ")
}

func TestHeaderCarriesTheSessionOfClientsWithoutCookies(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Header = "X-Session" }), nil)
	plain := stage.LifeBrowser(t, e.Manager(t), nil)
	login := b.Get("/login?user=alice")
	alice := login.Header.Get("X-Session")
	if issuedByHeader(login) != "cookie header" || alice != b.Cookie() {
		t.Fatalf("got the ticket by %q, want the same by cookie and header for a client that showed neither", issuedByHeader(login))
	}
	bob := b.Fresh().Get("/login?user=bob").Header.Get("X-Session")
	for _, tt := range []struct {
		name                  string
		at                    *stage.Browser
		path, header, cookie  string
		user, issued, varying string
	}{
		{"the header alone", b, "/who", alice, "", "alice", "", "X-Session"},
		{"the cookie alone", b, "/who", "", alice, "alice", "", "X-Session"},
		{"the header wins over the cookie", b, "/who", alice, bob, "alice", "", "X-Session"},
		{"a header that nobody signed wins too", b, "/who", "garbage", bob, "", "", "X-Session"},
		{"a header cut short", b, "/who", alice[:100], bob, "", "", "X-Session"},
		{"the URL is not read", b, "/who?X-Session=" + alice + "&session=" + alice, "", "", "", "", "X-Session"},
		{"the header is not read unless configured", plain, "/who", alice, "", "", "", "Cookie"},
		{"a client with the header gets a new one there", b, "/rotate", alice, "", "", "header", "X-Session"},
		{"a client with the cookie gets a new one there", b, "/rotate", "", bob, "", "cookie", "X-Session"},
		{"a client with both gets it in the header", b, "/rotate", alice, bob, "", "header", "X-Session"},
		{"a login with the header", b, "/login?user=carol", alice, "", "", "header", "X-Session"},
		{"a login with the cookie", b, "/login?user=carol", "", bob, "", "cookie", "X-Session"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := api(tt.at, tt.path, tt.header, tt.cookie)
			if a.Text != tt.user || issuedByHeader(a) != tt.issued || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), tt.varying) {
				t.Errorf("got user %q, the ticket by %q, Vary %q, want %q, %q, %q", a.Text, issuedByHeader(a), a.Header.Values("Vary"), tt.user, tt.issued, tt.varying)
			}
		})
	}
	carol := b.Fresh().Get("/login?user=carol").Header.Get("X-Session")
	if a := api(b, "/logout", carol, ""); issuedByHeader(a) != "header" || a.Header.Get("X-Session") != "" || api(b, "/who", carol, "").Text != "" {
		t.Errorf("got the header %q by %q at logout, want it empty, no cookie, and the session ended", a.Header.Get("X-Session"), issuedByHeader(a))
	}
}
