package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

// site is the demo on a server of its own, with a clock that moves by hand.
type site struct {
	url  string
	demo *demo
	mini *miniredis.Miniredis
	now  time.Time
}

func newSite(t *testing.T, change ...func(*redsession.Config)) *site {
	t.Helper()
	st := &site{mini: miniredis.RunT(t), now: time.Now()}
	c := redsession.Config{
		URL: "redis://" + st.mini.Addr(), Secrets: [][]byte{bytes.Repeat([]byte("s"), 32)},
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, RedisTimeout: 5 * time.Second,
		OutageWait: -1,
		Now:        func() time.Time { return st.now },
	}
	for _, f := range change {
		f(&c)
	}
	d, err := newDemo(c, &place{name: "a test", inside: testRedis{st.mini}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(d.handler())
	t.Cleanup(func() {
		srv.Close()
		d.sessions.Close()
	})
	st.url, st.demo = srv.URL, d
	return st
}

// testRedis is a Redis whose clock the test turns.
type testRedis struct{ *miniredis.Miniredis }

func (r testRedis) SetAway(away bool) {
	refusal := ""
	if away {
		refusal = "LOADING Redis is loading the dataset in memory"
	}
	r.SetError(refusal)
}

func (st *site) advance(d time.Duration) {
	st.now = st.now.Add(d)
	st.mini.FastForward(d)
}

// browser keeps cookies and does not follow redirects.
type browser struct {
	t    *testing.T
	base *url.URL
	http http.Client

	token    string // of the forms of the page last seen
	tokenFor string // the cookie that it belongs to
}

var tokenInput = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

func (st *site) browser(t *testing.T) *browser {
	t.Helper()
	base, err := url.Parse(st.url)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, base: base}
	b.http.Jar, _ = cookiejar.New(nil)
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

type answer struct {
	status         int
	location, body string
	header         http.Header
}

// do sends form, or gets if form is nil. The headers come in pairs.
func (b *browser) do(path string, form url.Values, headers ...string) answer {
	b.t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequest(method, b.base.String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if m := tokenInput.FindSubmatch(body); m != nil {
		b.token, b.tokenFor = string(m[1]), b.cookie()
	}
	return answer{res.StatusCode, res.Header.Get("Location"), string(body), res.Header}
}

func (b *browser) get(path string) answer { b.t.Helper(); return b.do(path, nil) }

// post sends a form of names and values in turn, as a page of the site does: if
// it has seen no page since its login, it looks at one first.
func (b *browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{}
	if cookie := b.cookie(); cookie != "" {
		if b.tokenFor != cookie {
			b.get("/cart")
		}
		if b.tokenFor == b.cookie() {
			form.Set(tokenField, b.token)
		}
	}
	for pair := range slices.Chunk(fields, 2) {
		form.Set(pair[0], pair[1])
	}
	return b.do(path, form, "Sec-Fetch-Site", "same-origin", "Origin", b.base.String())
}

func (b *browser) login(more ...string) answer {
	b.t.Helper()
	return b.post("/login", append([]string{"username", "alice", "password", "rabbit-hole"}, more...)...)
}

func (b *browser) cookie() string {
	for _, c := range b.http.Jar.Cookies(b.base) {
		if c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

func want(t *testing.T, what string, a answer, status int, parts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: got status %d, want %d", what, a.status, status)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("%s: want %q in the page, got:\n%s", what, part, a.body)
		}
	}
}

func wantRedirect(t *testing.T, what string, a answer, to string) {
	t.Helper()
	if a.status != http.StatusSeeOther || a.location != to {
		t.Errorf("%s: got status %d and location %q, want 303 and %q", what, a.status, a.location, to)
	}
}
