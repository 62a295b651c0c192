package sessioncookie_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/sessioncookie"
)

var value = regexp.MustCompile(`=[^;]+`)

// TestCookieAttributes holds the Set-Cookie fields, value left out. Expiring takes the
// same attributes, or browsers keep the cookie.
func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	type attributes = sessioncookie.Attributes
	const lax, strict, anySite = http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode
	for _, row := range []struct {
		name string
		a    attributes
		want string
	}{
		{"the default", attributes{Name: "__Host-session", Path: "/", SameSite: lax}, "__Host-session=; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"plain HTTP for development", attributes{Name: "session", Path: "/", SameSite: lax, InsecurePlainHTTP: true}, "session=; Path=/; HttpOnly; SameSite=Lax"},
		{"a domain", attributes{Name: "__Secure-session", Path: "/", Domain: "example.com", SameSite: lax}, "__Secure-session=; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{"a path", attributes{Name: "sid", Path: "/app", SameSite: lax}, "sid=; Path=/app; HttpOnly; Secure; SameSite=Lax"},
		{"same site only", attributes{Name: "sid", Path: "/", SameSite: strict}, "sid=; Path=/; HttpOnly; Secure; SameSite=Strict"},
		{"any site", attributes{Name: "sid", Path: "/", SameSite: anySite}, "sid=; Path=/; HttpOnly; Secure; SameSite=None"},
		{"a jar for each top-level site", attributes{Name: "sid", Path: "/", SameSite: anySite, Partitioned: true}, "sid=; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"},
		{"persistent", attributes{Name: "sid", Path: "/", SameSite: lax, Persistent: true}, "sid=; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := sessioncookie.New(row.a, "", sessioncookie.Keys{Session: [][]byte{newKey}})
			sent, expired := http.Header{}, http.Header{}
			if err := c.Send(sent, &sessioncookie.Request{}, token(1), false, now); err != nil {
				t.Fatal(err)
			}
			got := sent.Get("Set-Cookie")
			if got = strings.Replace(got, value.FindString(got), "=", 1); got != row.want || len(sent) != 1 {
				t.Errorf("got %q, want Set-Cookie %q alone", sent, row.want)
			}
			want := strings.Replace(row.want, "; Max-Age=3600", "", 1)
			want = strings.Replace(want, "; HttpOnly", "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly", 1)
			c.Expire(expired, &sessioncookie.Request{Cookie: true})
			if got := expired.Get("Set-Cookie"); got != want || len(expired) != 1 {
				t.Errorf("got %q to expire it, want Set-Cookie %q alone", expired, want)
			}
		})
	}
}

func TestCookieLivesAsLongAsItsSession(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, row := range []struct {
		name             string
		left             time.Duration
		configured, told bool
		want             int
	}{
		{"until the browser closes", 30 * day, false, false, 0},
		{"persistent for this login", 30 * day, false, true, 2592000},
		{"persistent for all", 30 * day, true, false, 2592000},
		{"browsers keep none longer than 400 days", 500 * day, true, true, 34560000},
		{"a deadline 290 years away is no overflow", 290 * 365 * day, true, true, 34560000},
		{"a deadline that is over does not make it one until the browser closes", 0, true, true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := sessioncookie.New(sessioncookie.Attributes{Name: "session", Persistent: row.configured}, "", sessioncookie.Keys{Session: [][]byte{newKey}})
			tk, h := token(1), http.Header{}
			tk.Deadline = now.Unix() + int64(row.left/time.Second)
			if err := c.Send(h, &sessioncookie.Request{}, tk, row.told, now); err != nil {
				t.Fatal(err)
			}
			cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
			if err != nil || cookie.MaxAge != row.want {
				t.Errorf("got %v, %v, want Max-Age=%d", cookie, err, row.want)
			}
		})
	}
}

// TestHeaderTransport tells for each way in which a request may come by what it is known
// and by what it is answered.
func TestHeaderTransport(t *testing.T) {
	t.Parallel()
	configured := sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "x-session", sessioncookie.Keys{Session: [][]byte{newKey}})
	const none, cookie, header, both = "", "cookie", "header", "cookie header"
	h, c := valueOf(t, ours, token('h')), "session="+valueOf(t, ours, token('c'))
	for _, row := range []struct {
		name   string
		at     *sessioncookie.Codec
		cookie string
		fields []string
		known  byte // the SID's first byte, 0 for nobody
		given  string
		made   string // to forget its token
	}{
		{"the header alone", configured, "", []string{"X-Session", h}, 'h', header, header},
		{"the header in quotes", configured, "", []string{"X-Session", `"` + h + `"`}, 'h', header, header},
		{"the cookie alone", configured, c, nil, 'c', cookie, cookie},
		{"neither", configured, "", nil, 0, both, cookie},
		{"the header wins over the cookie", configured, c, []string{"X-Session", h}, 'h', header, header},
		{"a header that nobody signed wins too", configured, c, []string{"X-Session", "garbage"}, 0, header, header},
		{"an empty header asks for it there", configured, c, []string{"X-Session", ""}, 0, header, header},
		{"the first of two headers counts", configured, "", []string{"X-Session", h, "X-Session", "garbage"}, 'h', header, header},
		{"none is configured", ours, c, []string{"X-Session", h}, 'c', cookie, cookie},
		{"none is configured and no cookie came", ours, "", []string{"X-Session", h}, 0, cookie, cookie},
		{"a browser with neither", configured, "", []string{"Sec-Fetch-Site", "same-origin"}, 0, cookie, cookie},
		{"a browser with an empty header", configured, "", []string{"X-Session", "", "Sec-Fetch-Site", "same-origin"}, 0, cookie, cookie},
		{"a browser with an empty header and its cookie", configured, c, []string{"X-Session", "", "Sec-Fetch-Site", "same-origin"}, 'c', cookie, cookie},
		{"a browser with a header that nobody signed", configured, c, []string{"X-Session", "x", "Sec-Fetch-Site", "same-origin"}, 0, cookie, header},
		{"a browser with a header of ours", configured, "", []string{"X-Session", h, "Sec-Fetch-Site", "same-origin"}, 'h', cookie, header},
		{"a browser that shows its mode alone", configured, "", []string{"X-Session", "", "Sec-Fetch-Mode", "cors"}, 0, cookie, cookie},
		{"a browser that shows its destination alone", configured, "", []string{"X-Session", "", "Sec-Fetch-Dest", "empty"}, 0, cookie, cookie},
		{"a browser of the future", configured, "", []string{"X-Session", "", "Sec-Fetch-Storage-Access", "none"}, 0, cookie, cookie},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			if row.cookie != none {
				lines = []string{row.cookie}
			}
			req, ts := row.at.Read(request(lines, row.fields...), false, now)
			known := byte(0)
			if found := ts.All(); len(found) == 1 {
				known = found[0].SID[0]
			}
			given, gone := http.Header{}, http.Header{}
			if err := row.at.Send(given, &req, token('n'), false, now); err != nil {
				t.Fatal(err)
			}
			row.at.Expire(gone, &req)
			if known != row.known || ways(given) != row.given || ways(gone) != row.made {
				t.Errorf("got it known by %q, given by %q, expired by %q, want %q, %q, %q", known, ways(given), ways(gone), row.known, row.given, row.made)
			}
			if got := gone.Get("X-Session"); got != "" {
				t.Error("got a value in the header of one that is expired")
			}
			if got := given.Get("X-Session"); got != "" {
				if tk, ok := row.at.Decode(got); !ok || tk != token('n') {
					t.Errorf("got %v in the header, want what was sent", tk)
				}
			}
		})
	}
}

// ways are those by which h goes to the client.
func ways(h http.Header) string {
	var found []string
	if len(h.Values("Set-Cookie")) > 0 {
		found = append(found, "cookie")
	}
	if _, there := h["X-Session"]; there {
		found = append(found, "header")
	}
	return strings.Join(found, " ")
}

func TestEndingCookieIsNoSession(t *testing.T) {
	t.Parallel()
	newKey, endKey := []byte(strings.Repeat("n", 32)), []byte(strings.Repeat("e", 32))
	keys := sessioncookie.Keys{Session: [][]byte{newKey}, Ending: [][]byte{endKey}}
	c := sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "X-Session", keys)
	tk, now := token(1), time.Unix(1_790_000_000, 0)
	tk.Deadline = now.Unix() + 60
	h := http.Header{}
	if sent, err := c.SendEnding(h, &sessioncookie.Request{Cookie: true}, tk, true, now); !sent || err != nil {
		t.Fatalf("got sent %v and error %v", sent, err)
	}
	cookie := (&http.Response{Header: h}).Cookies()[0]
	if cookie.MaxAge != 60 {
		t.Errorf("got Max-Age %d, want what is left", cookie.MaxAge)
	}
	if _, ok := c.Decode(cookie.Value); ok {
		t.Error("an ending cookie is taken for a session")
	}
	for _, row := range []struct {
		name             string
		codec            *sessioncookie.Codec
		at               time.Time
		ending, rejected int
	}{
		{"who has the key ends the session", c, now, 1, 0},
		{"an older key verifies", sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "", sessioncookie.Keys{Ending: [][]byte{newKey, endKey}}), now, 1, 0},
		{"after the deadline there is nothing to end", c, now.Add(time.Minute), 0, 0},
		{"without the key it is nobody's", sessioncookie.New(sessioncookie.Attributes{Name: "session"}, "", sessioncookie.Keys{Session: [][]byte{newKey, endKey}}), now, 0, 1},
		{"nor under another name", sessioncookie.New(sessioncookie.Attributes{Name: "other"}, "", keys), now, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.AddCookie(&http.Cookie{Name: "session", Value: cookie.Value})
			req, ts := row.codec.Read(r, false, row.at)
			if len(ts.All()) > 0 || len(req.Ending) != row.ending || req.Invalid != row.rejected || row.ending > 0 && req.Ending[0].SID != tk.SID {
				t.Errorf("got %d sessions and %+v, want %d to end, %d rejected", len(ts.All()), req, row.ending, row.rejected)
			}
		})
	}
	if sent, err := c.SendEnding(h, &sessioncookie.Request{Header: true}, tk, false, now); sent || err != nil {
		t.Errorf("got sent %v and error %v for who came with the header, want nothing sent", sent, err)
	}
}
