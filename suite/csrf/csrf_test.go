package csrf_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

// Who sends a request, and what it has of a token.
const (
	stranger = "a stranger"
	cart     = "an anonymous session"
	half     = "half of a login"
	alice    = "a user"
	gone     = "a session logged out just now"
	mobile   = "a user by the header"
)

// form, and the others, make a body with TOKEN in the place of the token.
const (
	form = "application/x-www-form-urlencoded"
	json = "application/json"
	text = "text/plain"
)

var same = []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://example.com"}

// answers is the table of what CSRF answers. TOKEN stands for the session's own token.
var answers = []struct {
	name, who, method string
	path, kind, body  string
	fields            []string
	want              int
}{
	{"a stranger reads", stranger, "GET", "/", "", "", nil, 200},
	{"a stranger logs in by a form", stranger, "POST", "/", form, "user=alice", same, 200},
	{"a stranger logs in by JSON", stranger, "POST", "/", json, `{"user":"alice"}`, same, 200},
	{"a stranger without Fetch Metadata, with its Origin", stranger, "POST", "/", form, "user=alice", []string{"Origin", "https://example.com"}, 200},
	{"a program without Fetch Metadata and Origin, without a session", stranger, "POST", "/", form, "user=alice", nil, 200},
	{"another site's form, for a stranger", stranger, "POST", "/", form, "user=mallory", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	{"another subdomain's form, for a stranger", stranger, "POST", "/", form, "user=mallory", []string{"Sec-Fetch-Site", "same-site"}, 403},
	{"another site's form from an old browser, for a stranger", stranger, "POST", "/", form, "user=mallory", []string{"Origin", "https://evil.example"}, 403},
	{"a form from a sandboxed frame, for a stranger", stranger, "POST", "/", form, "user=mallory", []string{"Origin", "null"}, 403},
	{"an anonymous cart takes an item", cart, "POST", "/", form, "item=1", same, 200},
	{"another site's form, for an anonymous cart", cart, "POST", "/", form, "item=1", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	{"a user reads", alice, "GET", "/", "", "", nil, 200},
	{"a user comes by a link on another site", alice, "GET", "/", "", "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	{"HEAD", alice, "HEAD", "/", "", "", nil, 200},
	{"OPTIONS", alice, "OPTIONS", "/", "", "", nil, 200},
	{"TRACE without a token", alice, "TRACE", "/", "", "", same, 403},
	{"a method in small letters without a token", alice, "get", "/", "", "", same, 403},
	{"a form with the token", alice, "POST", "/", form, "csrf_token=TOKEN&v=1", same, 200},
	{"a form with the token, whose charset is named", alice, "POST", "/", form + "; charset=utf-8", "csrf_token=TOKEN&v=1", same, 200},
	{"a form with an older token before the right one", alice, "POST", "/", form, "csrf_token=old&csrf_token=TOKEN", same, 200},
	{"a form without the token", alice, "POST", "/", form, "v=1", same, 403},
	{"a form with an empty token", alice, "POST", "/", form, "csrf_token=", same, 403},
	{"a form with another session's token", alice, "POST", "/", form, "csrf_token=OTHER", same, 403},
	{"a form with the token, from another site", alice, "POST", "/", form, "csrf_token=TOKEN", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	{"a form with the token, from a program", alice, "POST", "/", form, "csrf_token=TOKEN", nil, 200},
	{"a form without the token, from a program", alice, "POST", "/", form, "v=1", nil, 403},
	{"the token in the query", alice, "POST", "/?csrf_token=TOKEN", form, "v=1", same, 403},
	{"the token in the query of a request without a body", alice, "DELETE", "/?csrf_token=TOKEN", "", "", same, 403},
	{"the token in a cookie", alice, "POST", "/", form, "v=1", append([]string{"Cookie", "csrf_token=TOKEN"}, same...), 403},
	{"the token in a form of 1 MiB", alice, "POST", "/", form, "csrf_token=TOKEN&v=" + strings.Repeat("x", 1<<20-100), same, 200},
	{"the token in a form of more than 1 MiB", alice, "POST", "/", form, "csrf_token=TOKEN&v=" + strings.Repeat("x", 1<<20), same, 403},
	{"the token in the header of a form of more than 1 MiB", alice, "POST", "/", form, "v=" + strings.Repeat("x", 1<<20), append([]string{"X-CSRF-Token", "TOKEN"}, same...), 200},
	{"the token in a multipart body", alice, "POST", "/", "multipart", "TOKEN", same, 403},
	{"the token in the header of a multipart body", alice, "POST", "/", "multipart", "", append([]string{"X-CSRF-Token", "TOKEN"}, same...), 200},
	{"the token in text/plain", alice, "POST", "/", text, "csrf_token=TOKEN", same, 403},
	{"the token in a body without a type", alice, "POST", "/", "", "csrf_token=TOKEN", same, 403},
	{"the token in JSON", alice, "POST", "/", json, `{"csrf_token":"TOKEN"}`, same, 403},
	{"the token in the header of JSON", alice, "PUT", "/", json, `{}`, append([]string{"X-CSRF-Token", "TOKEN"}, same...), 200},
	{"two Managers' tokens in the header", alice, "PATCH", "/", json, `{}`, append([]string{"X-CSRF-Token", "OTHER, TOKEN"}, same...), 200},
	{"a wrong header is not made good by the body", alice, "POST", "/", form, "csrf_token=TOKEN", append([]string{"X-CSRF-Token", "OTHER"}, same...), 403},
	{"an empty header leaves it to the body", alice, "POST", "/", form, "csrf_token=TOKEN", append([]string{"X-CSRF-Token", ""}, same...), 200},
	{"DELETE with the header", alice, "DELETE", "/", "", "", append([]string{"X-CSRF-Token", "TOKEN"}, same...), 200},
	{"DELETE with a form", alice, "DELETE", "/", form, "csrf_token=TOKEN", same, 200},
	{"a GET that asks to be a DELETE", alice, "GET", "/", "", "", append([]string{"X-HTTP-Method-Override", "DELETE"}, same...), 403},
	{"a GET that asks to be a DELETE, from another site", stranger, "GET", "/", "", "", []string{"X-HTTP-Method-Override", "DELETE", "Sec-Fetch-Site", "cross-site"}, 403},
	{"a GET that asks to be a DELETE, with the token", alice, "GET", "/", "", "", append([]string{"X-HTTP-Method-Override", "DELETE", "X-CSRF-Token", "TOKEN"}, same...), 200},
	{"half of a login with the token", half, "POST", "/", form, "csrf_token=TOKEN&code=1", same, 200},
	{"half of a login without the token", half, "POST", "/", form, "code=1", same, 403},
	{"a login form under an id that has ended", gone, "POST", "/", form, "user=alice", same, 200},
	{"a login form under an id that has ended, from another site", gone, "POST", "/", form, "user=alice", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	{"a session by Config.Header without the token", mobile, "POST", "/", json, `{}`, nil, 200},
	{"a session by Config.Header, from another site", mobile, "POST", "/", json, `{}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
	{"a websocket of this site", alice, "GET", "/", "", "", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "https://example.com"}, 200},
	{"a websocket of another site", alice, "GET", "/", "", "", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "https://evil.example"}, 403},
	{"a websocket of another subdomain, of a stranger", stranger, "GET", "/", "", "", []string{"Connection", "Upgrade", "Upgrade", "WebSocket", "Sec-Fetch-Site", "same-site"}, 403},
	{"a websocket of a program", alice, "GET", "/", "", "", []string{"Connection", "Upgrade", "Upgrade", "websocket"}, 200},
	{"a websocket over HTTP/2 of another site", alice, "CONNECT", "/", "", "", []string{":protocol", "websocket", "Origin", "https://evil.example"}, 403},
	{"a POST that also asks for a websocket, without a token", alice, "POST", "/", form, "v=1", append([]string{"Connection", "Upgrade", "Upgrade", "websocket"}, same...), 403},
}

// request makes the request of a row, with token and other in the place of their names.
func request(t *testing.T, method, path, kind, body string, fields []string, token, other string) *http.Request {
	t.Helper()
	fill := strings.NewReplacer("TOKEN", token, "OTHER", other)
	if kind == "multipart" {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		_ = w.WriteField(redsession.CSRFField, fill.Replace(body))
		_ = w.WriteField("v", "1")
		_ = w.Close()
		kind, body = w.FormDataContentType(), b.String()
	}
	var content io.Reader
	if body != "" {
		content = strings.NewReader(fill.Replace(body))
	}
	r := httptest.NewRequest(method, "https://example.com"+fill.Replace(path), content)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == ":protocol" { // as net/http has it, not canonical
			r.Header[fields[i]] = []string{fields[i+1]}
			continue
		}
		r.Header.Set(fields[i], fill.Replace(fields[i+1]))
	}
	return r
}

// visitors makes a request of each kind of visitor without a body, whose session's token it has in its header.
func visitors(t *testing.T, m *redsessiontest.Manager) map[string]*http.Request {
	t.Helper()
	blank := func() *http.Request { return httptest.NewRequest("GET", "/", nil) }
	token := func(r *http.Request) *http.Request {
		m.With(r, func(s *redsession.Session) { r.Header.Set(redsession.CSRFHeader, s.CSRFToken()) })
		return r
	}
	const item = redsession.Key[int]("item")
	ended := m.Login(blank(), "alice")
	m.With(ended, func(s *redsession.Session) { s.Logout() })
	byHeader := blank()
	byHeader.Header.Set("X-Session", "")
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") })).ServeHTTP(w, byHeader)
	byHeader.Header.Set("X-Session", w.Header().Get("X-Session"))
	return map[string]*http.Request{
		stranger: blank(),
		cart:     token(m.With(blank(), func(s *redsession.Session) { item.Set(s, 1) })),
		half:     token(m.With(blank(), func(s *redsession.Session) { s.Login("alice", redsession.Pending()) })),
		alice:    token(m.Login(blank(), "alice")),
		gone:     ended,
		mobile:   byHeader,
	}
}

func TestCSRFAnswers(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Header = "X-Session" })
	who := visitors(t, m)
	other := visitors(t, m)[alice].Header.Get(redsession.CSRFHeader)
	h := m.Handler(m.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for _, row := range answers {
		v := who[row.who]
		r := request(t, row.method, row.path, row.kind, row.body, row.fields, v.Header.Get(redsession.CSRFHeader), other)
		for _, c := range v.Cookies() {
			r.AddCookie(c)
		}
		if value := v.Header.Get("X-Session"); value != "" {
			r.Header.Set("X-Session", value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		t.Logf("%d  %-20s %-7s %s", w.Code, row.who, row.method, row.name)
		if w.Code != row.want {
			t.Errorf("%s: got %d, want %d", row.name, w.Code, row.want)
		}
		if w.Code == 403 && (row.who == alice || row.who == half) && w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got Cache-Control %q, want no cache to store it", row.name, w.Header().Get("Cache-Control"))
		}
	}
}

func TestCSRFLeavesTheBodyToTheHandler(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.FormValue("v")) }))
	t.Cleanup(behind.Close)
	target, _ := url.Parse(behind.URL)
	for name, h := range map[string]http.HandlerFunc{
		"FormValue": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.FormValue("v")) },
		"ParseForm": func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			fmt.Fprint(w, r.PostForm.Get("v"))
		},
		"reading it": func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil || r.Body.Close() != nil {
				t.Error(err)
			}
			form, _ := url.ParseQuery(string(b))
			fmt.Fprint(w, form.Get("v"))
		},
		"a limit of its own": func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
			fmt.Fprint(w, r.FormValue("v"))
		},
		"a reverse proxy": httputil.NewSingleHostReverseProxy(target).ServeHTTP,
	} {
		for where, wrap := range map[string]func(http.Handler) http.Handler{
			"straight": func(h http.Handler) http.Handler { return h },
			"after somebody parsed it": func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.FormValue("v"); name == "FormValue" || name == "ParseForm" {
						h.ServeHTTP(w, r)
						return
					}
					fmt.Fprint(w, "all of it")
				})
			},
		} {
			srv := httptest.NewServer(m.Handler(wrap(m.CSRF(h))))
			r := m.Login(httptest.NewRequest("GET", "/", nil), "alice")
			token := m.WithCSRFToken(r).Header.Get(redsession.CSRFHeader)
			sent, _ := http.NewRequest("POST", srv.URL, strings.NewReader(url.Values{"csrf_token": {token}, "v": {"all of it"}}.Encode()))
			sent.Header.Set("Content-Type", form)
			sent.Header.Set("Cookie", r.Header.Get("Cookie"))
			res, err := http.DefaultClient.Do(sent)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			srv.Close()
			if string(body) != "all of it" {
				t.Errorf("%s, %s: got %d %q, want the field behind the token", name, where, res.StatusCode, body)
			}
		}
	}
}

func TestCSRFLoginFormStoresNothing(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t)
	h := m.Handler(m.CSRF(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		if r.Method == http.MethodPost {
			s.Login(r.FormValue("user"))
		}
		fmt.Fprintf(w, "<input type=hidden name=%s value=%q>", redsession.CSRFField, s.CSRFToken())
	})))
	for range 1000 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/login", nil))
		if w.Code != 200 || len(w.Result().Cookies()) != 0 || !strings.Contains(w.Body.String(), `value=""`) {
			t.Fatalf("got %d %q and %d cookies, want a form without a token", w.Code, w.Body, len(w.Result().Cookies()))
		}
	}
	keys := m.Redis.Keys()
	t.Logf("keys after 1,000 anonymous visits of a login form behind CSRF: %d", len(keys))
	if len(keys) != 0 {
		t.Errorf("got %d keys, want none", len(keys))
	}
	login := httptest.NewRequest("POST", "/login", strings.NewReader("user=alice&csrf_token="))
	login.Header.Set("Content-Type", form)
	login.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, login)
	_, token, _ := strings.Cut(w.Body.String(), `value="`)
	if token, _, _ = strings.Cut(token, `"`); token == "" || m.Cookie(w.Result()) == nil {
		t.Fatalf("got %d %q, want a login, and a token for what follows", w.Code, w.Body)
	}
	m.After(login, w.Result(), func(s *redsession.Session) {
		if !s.VerifyCSRF(token) {
			t.Error("got a token that is not the new session's")
		}
	})
}

func TestCSRFTokenOfASessionThatIsNotStored(t *testing.T) {
	t.Parallel()
	const item = redsession.Key[int]("item")
	for _, row := range []struct {
		name   string
		do     func(*redsession.Session)
		token  bool
		stores int
	}{
		{"nothing is stored", func(*redsession.Session) {}, false, 0},
		{"something is about to be", func(s *redsession.Session) { item.Set(s, 1) }, true, 1},
		{"a login is about to be", func(s *redsession.Session) { s.Login("alice") }, true, 2},
		{"a login was taken back", func(s *redsession.Session) { s.Login("alice"); s.Logout() }, false, 0},
	} {
		m := redsessiontest.New(t)
		var token string
		h := m.Handler(m.CSRF(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s := m.FromContext(r.Context())
			row.do(s)
			token = s.CSRFToken()
		})))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 || (token != "") != row.token || len(m.Redis.Keys()) != row.stores {
			t.Errorf("%s: got %d, token %q, keys %v; want a token: %v, and %d keys", row.name, w.Code, token, m.Redis.Keys(), row.token, row.stores)
		}
	}
}

func TestCSRFSkippedAndMisplaced(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Skip = func(r *http.Request) bool { return r.URL.Path == "/health" }
	})
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	inside, outside := m.Handler(m.CSRF(ok)), m.CSRF(m.Handler(ok))
	for _, row := range []struct {
		name, method, path, site string
		h                        http.Handler
		want                     int // 0 for a panic
	}{
		{"what is skipped has no session", "POST", "/health", "same-origin", inside, 200},
		{"what is skipped has an origin", "POST", "/health", "cross-site", inside, 403},
		{"outside of Handler, skipped", "POST", "/health", "same-origin", outside, 200},
		{"outside of Handler nothing unsafe passes", "POST", "/", "same-origin", outside, 0},
		{"outside of Handler, another site", "POST", "/", "cross-site", outside, 403},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(row.method, row.path, nil)
		r.Header.Set("Sec-Fetch-Site", row.site)
		got := func() (code int) {
			defer func() {
				if recover() != nil {
					code = 0
				}
			}()
			row.h.ServeHTTP(w, r)
			return w.Code
		}()
		if got != row.want {
			t.Errorf("%s: got %d, want %d", row.name, got, row.want)
		}
	}
}

func TestCSRFForbiddenAndItsEvent(t *testing.T) {
	t.Parallel()
	var seen []redsession.Event
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Forbidden = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "not you, "+r.URL.Path, http.StatusTeapot)
		})
		c.OnEvent = func(_ context.Context, e redsession.Event) {
			if e.Kind == redsession.EventRefused {
				seen = append(seen, e)
			}
		}
	})
	h := m.Handler(m.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	r := m.Login(httptest.NewRequest("POST", "/transfer?to=mallory", nil), "alice")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusTeapot || strings.TrimSpace(w.Body.String()) != "not you, /transfer" {
		t.Errorf("got %d %q, want Config.Forbidden's answer", w.Code, w.Body)
	}
	if len(seen) != 1 || seen[0].UserID != "alice" || seen[0].ID == "" || seen[0].Path != "/transfer" || seen[0].Reason != "no CSRF token of this session came" {
		t.Errorf("got events %+v, want one that says why", seen)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, m.WithCSRFToken(r))
	if w.Code != 200 {
		t.Errorf("got %d with a token, want 200", w.Code)
	}
}

// The token of a page outlives the timed rotation of its session, and an outage.
func TestCSRFTokenWhileTheSessionLives(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t)
	degraded := false
	h := m.Handler(m.CSRF(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		degraded = m.FromContext(r.Context()).Degraded()
	})))
	send := func(r *http.Request) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if c := m.Cookie(w.Result()); c != nil && w.Code == 200 {
			r.Header.Set("Cookie", c.Name+"="+c.Value)
		}
		return w.Code
	}
	r := m.WithCSRFToken(m.Login(httptest.NewRequest("POST", "/", nil), "alice"))
	cookie := r.Header.Get("Cookie")
	m.Advance(4 * time.Hour)
	if got := send(r); got != 200 || r.Header.Get("Cookie") == cookie {
		t.Errorf("got %d, want the token accepted and the id turned", got)
	}
	if got := send(r); got != 200 {
		t.Errorf("got %d under the new id, want 200", got)
	}
	m.TakeRedisAway()
	if got := send(r); got != 200 || !degraded {
		t.Errorf("got %d and degraded: %v in an outage, want 200 from memory", got, degraded)
	}
	r.Header.Set(redsession.CSRFHeader, "wrong")
	if got := send(r); got != 403 {
		t.Errorf("got %d for a wrong token in an outage, want 403", got)
	}
}

// A locked session is nobody's: what it may do is said by its guards, and its login form needs no token.
func TestCSRFOfALockedSession(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Cookie.InsecurePlainHTTP = false
		c.DeviceBinding.Enabled = true
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { m.FromContext(r.Context()).Login("alice") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		fmt.Fprintf(w, "locked %v, token %q", s.Locked(), s.CSRFToken())
	})
	h := m.Handler(m.CSRF(mux))
	owner := m.Browser()
	owner.Get(h, "/login")
	owner.Get(h, "/")
	thief := owner.Thief()
	m.Advance(12 * time.Minute)
	for _, row := range []struct {
		site, want string
	}{
		{"same-origin", `200 locked true, token ""`},
		{"cross-site", "403 This request is not allowed from here. Please load the page again.\n"},
	} {
		r := httptest.NewRequest("POST", "https://example.com/", nil)
		r.Header.Set("Sec-Fetch-Site", row.site)
		res := thief.Do(h, r)
		body, _ := io.ReadAll(res.Body)
		if got := fmt.Sprintf("%d %s", res.StatusCode, body); got != row.want {
			t.Errorf("%s: got %q, want %q", row.site, got, row.want)
		}
	}
}
