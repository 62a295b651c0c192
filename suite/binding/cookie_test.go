package binding_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

func TestBindingNamesOfTheSecondCookie(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		want string
	}{
		{"", "__Host-session-bound-"},
		{"sid", "__Host-sid-bound-"},
		{"__Host-app", "__Host-app-bound-"},
		{"__Secure-app", "__Host-app-bound-"},
	} {
		for mode, attribute := range map[http.SameSite]string{http.SameSiteLaxMode: "SameSite=Lax", http.SameSiteStrictMode: "SameSite=Strict", http.SameSiteNoneMode: "SameSite=None"} {
			t.Run(row.name+" "+attribute, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, func(c *redsession.Config) {
					c.Cookie.Name, c.Cookie.SameSite, c.DeviceBinding.Lifetime = row.name, mode, 9*time.Minute
				})
				taps := tapped(s)
				s.want(t, s.m.Browser(), "/login?user=alice", "200")
				res := s.again((*taps)[0], nil)
				cookie := res.Header.Get("Set-Cookie")
				named, attributes, _ := strings.Cut(cookie, "; ")
				id, _, _ := strings.Cut(strings.TrimPrefix(named, row.want), "=")
				if !strings.HasPrefix(named, row.want) || len(id) != 8 || attributes != "Path=/; Max-Age=540; HttpOnly; Secure; "+attribute {
					t.Errorf("got the cookie %q, want one named %s…, and %s", cookie, row.want, attribute)
				}
				var told struct {
					Identifier  string   `json:"session_identifier"`
					RefreshURL  string   `json:"refresh_url"`
					Initiators  []string `json:"allowed_refresh_initiators"`
					Credentials []struct{ Type, Name, Attributes string }
				}
				if err := json.NewDecoder(res.Body).Decode(&told); err != nil || len(told.Credentials) != 1 {
					t.Fatalf("got %+v and error %v", told, err)
				}
				c := told.Credentials[0]
				if c.Name != row.want+id || c.Attributes != strings.Replace(attributes, "Max-Age=540; ", "", 1) {
					t.Errorf("got %+v told of the cookie %s", c, cookie)
				}
				if !strings.HasPrefix(told.Identifier, id+".") || told.RefreshURL != "/session-binding/refresh/"+id {
					t.Errorf("got identifier %q and %q, want those of the binding %s", told.Identifier, told.RefreshURL, id)
				}
				if anyone := slices.Equal(told.Initiators, []string{"*"}); anyone != (mode != http.SameSiteNoneMode) || !anyone && told.Initiators != nil {
					t.Errorf("got initiators %v with %s", told.Initiators, attribute)
				}
			})
		}
	}
}

// TestBindingTakesNoOtherSecondCookie has a thief who minds no Max-Age, and makes up what he can.
func TestBindingTakesNoOtherSecondCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	session, second := sessionOf(b), secondOf(b)
	other := secondOf(s.bound(t))
	name, value, _ := strings.Cut(second, "=")
	const in, out = "200 alice 0 bound", "200 nobody 0 locked"
	for _, row := range []struct {
		name, second string
		wait         time.Duration
		want         string
	}{
		{"as it is", second, 0, in},
		{"none", "a=b", 0, out},
		{"with another byte", name + "=" + flip(value, 3), 0, out},
		{"with another byte at its end", name + "=" + flip(value, len(value)-1), 0, out},
		{"under the name of another binding", strings.Replace(second, name, flip(name, len(name)-1), 1), 0, out},
		{"that of another session", other, 0, out},
		{"that of another session under this one's name", name + "=" + strings.SplitN(other, "=", 2)[1], 0, out},
		{"empty", name + "=", 0, out},
		{"a wrong one before it", name + "=AAAA; " + second, 0, in},
		{"within its minute for clocks", second, 10*time.Minute + 58*time.Second, in},
		{"after that", second, 4 * time.Second, out},
	} {
		s.m.Advance(row.wait)
		if got := text(s.get("/", session+"; "+row.second)); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func flip(s string, at int) string {
	b := []byte(s)
	if b[at]++; b[at] > 'z' || b[at] == '[' || b[at] == ':' {
		b[at] = 'B'
	}
	return string(b)
}

// TestBindingOutlivesItsSecret has all secrets verify, and an older one no longer there nothing.
func TestBindingOutlivesItsSecret(t *testing.T) {
	t.Parallel()
	young := bytes.Repeat([]byte("y"), 32)
	s := newSite(t)
	b := s.bound(t)
	both := s.server(t, young, secret)
	if got := text(b.Get(both, "/")); got != "200 alice true" {
		t.Errorf("got %q with the cookies of the older secret", got)
	}
	for range 3 {
		s.m.Advance(time.Hour)
		if got := text(b.Get(both, "/")); got != "200 alice true" {
			t.Errorf("got %q after a proof for the younger secret", got)
		}
	}
	if got := text(b.Get(s.server(t, bytes.Repeat([]byte("x"), 32)), "/")); got != "200 false" {
		t.Errorf("got %q with other secrets, want nobody", got)
	}
}

func TestBindingOldIDLeadsOnBesideTheSecondCookieAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.m.Browser()
	s.want(t, b, "/login?user=alice", "200")
	session, second := sessionOf(b), secondOf(b)
	s.want(t, b, "/", "200 alice 0") // begins it
	if got := text(s.get("/", session+"; "+second)); got != "200 alice 0 bound" {
		t.Errorf("got %q beside the second cookie", got)
	}
	if got := text(s.get("/", session)); got != "200 nobody 0 locked" {
		t.Errorf("got %q without the second cookie", got)
	}
}

// TestBindingOfferIsForOneDevice has a thief who saw the answer to the login register a key of
// their own: once the owner's device was first, that is of no use.
func TestBindingOfferIsForOneDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner, thief := s.m.Browser(), s.m.Browser()
	login := owner.Get(s.h, "/login?user=alice")
	offered := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			s.h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Secure-Session-Registration", login.Header.Get("Secure-Session-Registration"))
	})
	thief.Get(offered, "/")
	if secondOf(thief) == "" || len(s.keys("bind:")) != 2 {
		t.Fatalf("got the second cookie %q and the keys %v, want a key of the thief's", secondOf(thief), s.keys("bind:"))
	}
	early := sessionOf(owner)
	s.want(t, owner, "/", "200 alice 0")
	s.want(t, owner, "/", "200 alice 0 bound")
	for name, session := range map[string]string{"the cookie of the login": early, "the present cookie": sessionOf(owner)} {
		if got := text(s.get("/", session+"; "+secondOf(thief))); got != "200 nobody 0 locked" {
			t.Errorf("%s beside the thief's second one: got %q", name, got)
		}
	}
}

// TestBindingBeginsWithItsOwnSecondCookieAlone has somebody put another second cookie beside that of
// a login, and a proof for one offer beside another.
func TestBindingBeginsWithItsOwnSecondCookieAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	taps := tapped(s)
	owner, other := s.m.Browser(), s.m.Browser()
	s.want(t, owner, "/login?user=alice", "200")
	s.want(t, other, "/login?user=eve", "200")
	for _, mixed := range []recorded{{(*taps)[0].path, (*taps)[1].header}, {(*taps)[1].path, (*taps)[0].header}} {
		if res := s.again(mixed, nil); res.StatusCode != http.StatusForbidden || len(res.Cookies()) != 0 {
			t.Errorf("got %d and %v for a proof of another offer, want 403", res.StatusCode, res.Cookies())
		}
	}
	name, _, _ := strings.Cut(secondOf(owner), "=")
	_, value, _ := strings.Cut(secondOf(other), "=")
	for range 2 {
		if got := text(s.get("/", sessionOf(owner)+"; "+name+"="+value)); got != "200 alice 0" {
			t.Errorf("got %q beside the second cookie of another login, want it not bound", got)
		}
	}
	s.want(t, owner, "/", "200 alice 0")
	s.want(t, owner, "/", "200 alice 0 bound")
}
