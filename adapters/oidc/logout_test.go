package redsessionoidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/redsession/redsession"
	redsessionoidc "github.com/redsession/redsession/adapters/oidc"
)

const client = "the-client"

// provider is an OpenID provider that signs what it is told.
type provider struct {
	url      string
	key      *ecdsa.PrivateKey
	verifier *oidc.IDTokenVerifier
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.ES256}}, Algorithms: []string{oidc.ES256}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.SetIssuer(srv.URL)
	p, err := oidc.NewProvider(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &provider{srv.URL, key, p.Verifier(&oidc.Config{ClientID: client})}
}

// sign returns a token with these claims beside issuer, audience and times.
func (p *provider) sign(claims string) string { return p.issued(time.Now(), claims) }

func (p *provider) issued(at time.Time, claims string) string {
	return oidctest.SignIDToken(p.key, "k", oidc.ES256,
		fmt.Sprintf(`{"iss":%q,"aud":%q,"iat":%d,"exp":%d,%s}`, p.url, client, at.Unix(), at.Add(time.Hour).Unix(), claims))
}

const event = `"jti":"1","events":{"http://schemas.openid.net/event/backchannel-logout":{}}`

// program is one that logs users in with the provider.
type program struct {
	*redsession.Manager
	handler http.Handler
	log     *strings.Builder
}

func newProgram(t testing.TB, p *provider, change ...func(*redsessionoidc.Config)) *program {
	t.Helper()
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + miniredis.RunT(t).Addr(), Secrets: [][]byte{make([]byte, 32)}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	a := &program{Manager: m, log: new(strings.Builder)}
	c := redsessionoidc.Config{Verifier: p.verifier, Logger: slog.New(slog.NewTextHandler(a.log, nil))}
	for _, f := range change {
		f(&c)
	}
	app := http.NewServeMux()
	app.HandleFunc("GET /callback", func(_ http.ResponseWriter, r *http.Request) {
		token, err := p.verifier.Verify(r.Context(), r.FormValue("id_token"))
		if err != nil {
			t.Error(err)
			return
		}
		options, err := redsessionoidc.LoginOptions(token)
		if err != nil {
			t.Error(err)
		}
		redsession.FromContext(r.Context()).Login("user of "+token.Subject, options...)
	})
	app.HandleFunc("GET /who", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, redsession.FromContext(r.Context()).UserID())
	})
	mux := http.NewServeMux()
	mux.Handle("/backchannel-logout", redsessionoidc.BackChannelLogout(m, c))
	mux.Handle("/", m.Handler(app))
	a.handler = mux
	return a
}

func (a *program) ask(method, target, cookie, contentType, body string) *http.Response {
	r := httptest.NewRequest(method, "https://app.example"+target, strings.NewReader(body))
	r.Header.Set("Cookie", cookie)
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return w.Result()
}

// login returns the cookie of a login with an ID token that has these claims.
func (a *program) login(t *testing.T, p *provider, claims string) string {
	t.Helper()
	res := a.ask("GET", "/callback?id_token="+url.QueryEscape(p.sign(claims)), "", "", "")
	for _, c := range res.Cookies() {
		return c.Name + "=" + c.Value
	}
	t.Fatalf("got %d and no cookie, want a login", res.StatusCode)
	return ""
}

func (a *program) who(cookie string) string {
	b, _ := io.ReadAll(a.ask("GET", "/who", cookie, "", "").Body)
	return string(b)
}

func (a *program) logout(token string) *http.Response {
	return a.ask("POST", "/backchannel-logout", "", "application/x-www-form-urlencoded", url.Values{"logout_token": {token}}.Encode())
}

func TestLogoutEndsWhatItNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	long := strings.Repeat("s", 400)
	known := func(_ context.Context, issuer, subject string) (string, error) {
		if issuer != p.url {
			t.Errorf("got issuer %q, want the provider's", issuer)
		}
		if subject == "stranger" {
			return "", nil
		}
		return "user of " + subject, nil
	}
	for _, row := range []struct {
		name, token string
		userID      func(context.Context, string, string) (string, error)
		left        string // of one, two and other
	}{
		{"a session of the provider", `"sid":"s1","sub":"ann"`, nil, "-YY"},
		{"a session, without its subject", `"sid":"s2"`, nil, "Y-Y"},
		{"a session that nobody has", `"sid":"s3","sub":"ann"`, nil, "YYY"},
		{"a subject", `"sub":"ann"`, nil, "--Y"},
		{"a subject, by the program's own ids", `"sub":"ann"`, known, "--Y"},
		{"a subject that the program does not know", `"sub":"stranger"`, known, "YYY"},
		{"a sid that looks like a subject", `"sid":"sub:ann"`, nil, "YYY"},
		{"a long sid", fmt.Sprintf(`"sid":%q`, long), nil, "YY-"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := newProgram(t, p, func(c *redsessionoidc.Config) { c.UserID = row.userID })
			cookies := []string{a.login(t, p, `"sub":"ann","sid":"s1"`), a.login(t, p, `"sub":"ann","sid":"s2"`), a.login(t, p, fmt.Sprintf(`"sub":"bob","sid":%q`, long))}
			res := a.logout(p.sign(row.token + "," + event))
			if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %v, want 200 and no-store; log: %s", res.StatusCode, res.Header, a.log)
			}
			left := ""
			for _, c := range cookies {
				if a.who(c) != "" {
					left += "Y"
				} else {
					left += "-"
				}
			}
			if left != row.left {
				t.Errorf("got %s alive, want %s", left, row.left)
			}
		})
	}
}

func TestLogoutRefusesWhatIsNoLogoutToken(t *testing.T) {
	t.Parallel()
	p, other := newProvider(t), newProvider(t)
	form := "application/x-www-form-urlencoded"
	body := func(token string) string { return url.Values{"logout_token": {token}}.Encode() }
	good := p.sign(`"sid":"s1",` + event)
	for _, row := range []struct{ name, method, target, contentType, body string }{
		{"nothing", "POST", "", form, ""},
		{"no token at all", "POST", "", form, body("nonsense")},
		{"an ID token", "POST", "", form, body(p.sign(`"sub":"ann","sid":"s1"`))},
		{"a nonce", "POST", "", form, body(p.sign(`"sid":"s1","nonce":"n",` + event))},
		{"neither session nor subject", "POST", "", form, body(p.sign(event))},
		{"no id of the token", "POST", "", form, body(p.sign(`"sid":"s1","events":{"http://schemas.openid.net/event/backchannel-logout":{}}`))},
		{"an event that is no object", "POST", "", form, body(p.sign(`"sid":"s1","jti":"1","events":{"http://schemas.openid.net/event/backchannel-logout":null}`))},
		{"another event", "POST", "", form, body(p.sign(`"sid":"s1","jti":"1","events":{"http://example.org/event":{}}`))},
		{"another provider", "POST", "", form, body(other.sign(`"sid":"s1",` + event))},
		{"another provider's signature", "POST", "", form, body((&provider{url: p.url, key: other.key}).sign(`"sid":"s1",` + event))},
		{"an expired one", "POST", "", form, body(p.issued(time.Now().Add(-2*time.Hour), `"sid":"s1",`+event))},
		{"an old one that has not expired", "POST", "", form, body(p.issued(time.Now().Add(-11*time.Minute), `"sid":"s1",`+event))},
		{"none as algorithm", "POST", "", form, body("eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".")},
		{"two tokens", "POST", "", form, body(good) + "&" + body(good)},
		{"a token in the query", "POST", "?" + body(good), form, ""},
		{"a token as JSON", "POST", "", "application/json", `{"logout_token":"` + good + `"}`},
		{"a GET", "GET", "?" + body(good), "", ""},
		{"a huge body", "POST", "", form, body(good) + "&x=" + strings.Repeat("x", 1<<20)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := newProgram(t, p)
			cookie := a.login(t, p, `"sub":"ann","sid":"s1"`)
			res := a.ask(row.method, "/backchannel-logout"+row.target, "", row.contentType, row.body)
			want := http.StatusBadRequest
			if row.method == "GET" {
				want = http.StatusMethodNotAllowed
			}
			if res.StatusCode != want {
				t.Errorf("got %d, want %d", res.StatusCode, want)
			}
			if a.who(cookie) == "" {
				t.Error("got the session ended, want it to stay")
			}
			if strings.Contains(a.log.String(), good) {
				t.Error("got the token in the log")
			}
		})
	}
}

// unreachable cannot end anything.
type unreachable struct{}

func (unreachable) RevokeTagged(context.Context, string) (int, error) {
	return 0, redsession.ErrUnavailable
}

func (unreachable) RevokeUser(context.Context, string) (int, error) {
	return 0, redsession.ErrUnavailable
}

func TestLogoutThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	unknown := func(context.Context, string, string) (string, error) { return "", errors.New("the database is away") }
	for name, c := range map[string]redsessionoidc.Config{
		"Redis is away":        {},
		"the user is not told": {UserID: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Verifier, c.Logger = p.verifier, slog.New(slog.DiscardHandler)
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", "/", strings.NewReader(url.Values{"logout_token": {p.sign(`"sub":"ann",` + event)}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			redsessionoidc.BackChannelLogout(unreachable{}, c).ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"temporarily_unavailable"`) {
				t.Errorf("got %d %s, want 400 temporarily_unavailable", w.Code, w.Body)
			}
		})
	}
}

func TestLogoutNeedsAVerifier(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic, want one")
		}
	}()
	redsessionoidc.BackChannelLogout(unreachable{}, redsessionoidc.Config{})
}

func TestLogoutClosesStreams(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	a := newProgram(t, p)
	cookie := a.login(t, p, `"sub":"ann","sid":"s1"`)
	open, closed := make(chan struct{}), make(chan struct{})
	stream := a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := redsession.FromContext(r.Context()).Context()
		close(open)
		<-ctx.Done()
		close(closed)
	}))
	r := httptest.NewRequestWithContext(t.Context(), "GET", "https://app.example/stream", nil)
	r.Header.Set("Cookie", cookie)
	go stream.ServeHTTP(httptest.NewRecorder(), r)
	<-open
	if res := a.logout(p.sign(`"sid":"s1",` + event)); res.StatusCode != http.StatusOK {
		t.Fatalf("got %d, want 200", res.StatusCode)
	}
	<-closed
}
