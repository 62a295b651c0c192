package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

func TestEveryFormOfAUserNeedsTheTokenOfItsLogin(t *testing.T) {
	b := newSite(t).browser(t)
	b.login()
	b.get("/account")
	old := b.token
	own := []string{"Sec-Fetch-Site", "same-origin"}
	for _, path := range []string{"/logout", "/cart", "/cart/empty", "/login", "/account/rotate", "/account/slow", "/devices/revoke", "/devices/revoke-others"} {
		want(t, path+" without a token", b.do(path, url.Values{}, own...), 403, "too old")
		want(t, path+" with another's", b.do(path, url.Values{tokenField: {"x" + old}}, own...), 403, "too old")
	}
	b.login()
	want(t, "a token from before the last login", b.do("/logout", url.Values{tokenField: {old}}, own...), 403, "too old")
	b.login("second_factor", "yes")
	want(t, "half-way, without a token", b.do("/second-factor", url.Values{"code": {"000000"}}, own...), 403, "too old")
	for _, path := range []string{"/account", "/devices", "/cart"} {
		b.login()
		body := b.get(path).body
		forms, tokens := strings.Count(body, "<form"), strings.Count(body, `name="csrf"`)
		if banner := 1; forms-banner != tokens { // the switch in the banner's template belongs to nobody
			t.Errorf("%s: got %d tokens for %d forms", path, tokens, forms-banner)
		}
	}
}

func TestAccountShowsEachChangeOfTheID(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	b.get("/")
	b.login("second_factor", "yes")
	b.post("/second-factor", "code", shownCode(t, b.get("/second-factor")))
	b.get("/account")
	cookie := b.cookie()
	wantRedirect(t, "rotating", b.post("/account/rotate"), "/account")
	if b.cookie() == cookie {
		t.Error("the cookie is the same after the rotation")
	}
	b.get("/account")
	st.advance(4 * time.Hour) // RotateEvery is three
	b.get("/cart")            // is answered with the new cookie
	a := b.get("/account")
	want(t, "account", a, 200, "By password", "By second factor", "By your wish", "By timed rotation")
	rows := regexp.MustCompile(`<code>([\w-]{32})</code> <span class="hint">became</span> <code>([\w-]{32})</code>`).FindAllStringSubmatch(a.body, -1)
	if len(rows) != 4 {
		t.Fatalf("got %d changes with both ids, want 4:\n%s", len(rows), a.body)
	}
	for i, row := range rows {
		if row[1] == row[2] || i > 0 && row[1] != rows[i-1][2] {
			t.Errorf("change %d does not go on from the one before: %q", i, rows)
		}
	}
}

func TestSwitchTakesRedisAwayAndBringsItBack(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	b.post("/cart", "item", "red lamp")
	b.login()
	b.get("/account")
	wantRedirect(t, "taking it away", b.post("/operations/redis", "redis", "away"), "/operations")
	want(t, "operations", b.get("/operations"), 200, "Redis is away", "away <span")
	want(t, "what the script asks", b.get("/outage"), 200, `{"down":true}`)
	want(t, "adding", b.post("/cart", "item", "green lamp"), 503, "Redis is away", "not known to be done")
	want(t, "cart meanwhile", b.get("/cart"), 200, "Cart (1)", "red lamp", "From memory")
	want(t, "home meanwhile", b.get("/"), 200, "this page view was not counted")
	want(t, "account", b.get("/account"), 200, "Cart (1)", "From memory", "not known while Redis is away")
	if a := st.browser(t).get("/"); strings.Contains(a.body, "From memory") {
		t.Error("a stranger's page says that it is from memory")
	}
	want(t, "a login elsewhere", st.browser(t).login(), 503, "Redis is away", "Bring Redis back")

	wantRedirect(t, "bringing it back", b.post("/operations/redis", "redis", "back"), "/operations")
	want(t, "what the script asks", b.get("/outage"), 200, `{"down":false}`)
	want(t, "operations", b.get("/operations"), 200, "answers", "Take Redis away")
	wantRedirect(t, "adding", b.post("/cart", "item", "blue lamp"), "/cart")
	a := b.get("/cart")
	if want(t, "cart", a, 200, "Cart (2)", "red lamp", "blue lamp"); strings.Contains(a.body, "green lamp") {
		t.Error("what was refused in the outage is in the cart")
	} else if strings.Contains(a.body, "From memory") {
		t.Error("a page says that it is from memory though Redis is back")
	}
	want(t, "devices", b.get("/devices"), 200, "This device")
}

func TestLogoutInAnOutageIsMadeOnceItIsOver(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	b.login()
	b.get("/account")
	cookie := "session=" + b.cookie()
	b.post("/operations/redis", "redis", "away")
	want(t, "logout", b.post("/logout"), 503, "has not ended there yet", "a cookie now by which any other server does so")
	want(t, "home meanwhile", b.get("/"), 200, "not logged in")
	b.post("/operations/redis", "redis", "back")
	other := &browser{t: t, base: b.base, http: http.Client{CheckRedirect: b.http.CheckRedirect}}
	wantRedirect(t, "account with the cookie", other.do("/account", nil, "Cookie", cookie), "/login?next=%2Faccount&why=login")
}

func TestSwitchIsForThisSiteAndItsOwnRedisAlone(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	away := url.Values{"redis": {"away"}}
	want(t, "another site", b.do("/operations/redis", away, "Sec-Fetch-Site", "cross-site"), 403, "Another site")
	st.demo.redis = &place{name: "another"}
	want(t, "another Redis", b.post("/operations/redis", "redis", "away"), 404, "No switch here")
	if a := b.get("/operations"); strings.Contains(a.body, "<form class") {
		t.Error("operations offers to take another's Redis away")
	}
	want(t, "afterwards", b.get("/healthz"), 200)
}

func TestSlowRequestIsToldThatItsSessionHasEnded(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	b.login()
	b.get("/account")
	form := url.Values{tokenField: {b.token}}
	cookie := "session=" + b.cookie()
	answered := make(chan answer, 1)
	go func() {
		tab := &browser{t: t, base: b.base, http: http.Client{}}
		answered <- tab.do(slowPath, form, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
	}()
	for st.demo.slowRunning.Load() == 0 {
		b.get("/outage")
	}
	b.post("/logout")
	a := <-answered
	want(t, "the slow request", a, 409, "Your session has ended")
	if a.header.Get("Set-Cookie") != "" {
		t.Error("it set a cookie")
	}
	if n, err := st.demo.sessions.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("got %d sessions and the error %v, want none", n, err)
	}
}

func TestMemoryIsThatOfTheOtherRedis(t *testing.T) {
	for _, row := range []struct {
		name string
		addr string
		want bool
	}{
		{"a Redis", redistest.Start(t).Addr, true},
		{"one that does not tell", miniredis.RunT(t).Addr(), false},
		{"none", "127.0.0.1:1", false},
	} {
		p, err := otherRedis("redis://" + row.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		if n, ok := p.memory(t.Context()); ok != row.want || ok != (n > 100_000) {
			t.Errorf("%s: got %d bytes, %t; want known %t", row.name, n, ok, row.want)
		}
	}
	if _, err := otherRedis("no URL"); err == nil {
		t.Error("no error for what is no URL")
	}
}

func TestChart(t *testing.T) {
	now := time.Now()
	at := func(ok bool, n int) sample { return sample{at: now, ok: ok, sessions: n} }
	sessions := func(s sample) float64 { return float64(s.sessions) }
	format := func(n float64) string { return time.Duration(n).String() }
	for _, row := range []struct {
		name        string
		samples     []sample
		lines, gaps int
		now, top    string
	}{
		{"nothing yet", nil, 0, 0, "unknown", "0s"},
		{"one sample", []sample{at(true, 3)}, 1, 0, "3ns", "3ns"},
		{"none at all", []sample{at(true, 0), at(true, 0)}, 1, 0, "0s", "0s"},
		{"an outage in between", []sample{at(true, 5), at(false, 0), at(false, 0), at(true, 2)}, 2, 1, "2ns", "5ns"},
		{"away from the start", []sample{at(false, 0)}, 0, 1, "unknown", "0s"},
	} {
		c := newChart("Sessions", row.samples, sessions, format)
		if len(c.Lines) != row.lines || len(c.Areas) != row.lines || len(c.Gaps) != row.gaps || c.Now != row.now || c.Top != row.top {
			t.Errorf("%s: got %d lines, %d gaps, now %s, top %s; want %d, %d, %s, %s", row.name, len(c.Lines), len(c.Gaps), c.Now, c.Top, row.lines, row.gaps, row.now, row.top)
		}
		if strings.Contains(strings.Join(c.Areas, ""), "NaN") {
			t.Errorf("%s: got the area %q", row.name, c.Areas)
		}
		if got := strings.Contains(c.Said, "away in between"); got != (row.gaps > 0) {
			t.Errorf("%s: says %q", row.name, c.Said)
		}
	}
}

func TestAgentName(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36":                     "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0": "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/604.1": "Safari on an iPhone",
		"Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36":     "Chrome on Android",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 15.0; rv:150.0) Gecko/20100101 Firefox/150.0":                                       "Firefox on a Mac",
		"curl/8.14.1":        "curl",
		"Go-http-client/1.1": "Go-http-client/1.1",
		"":                   "Unknown browser",
	} {
		if got := agentName(agent); got != want {
			t.Errorf("agentName(%q): got %q, want %q", agent, got, want)
		}
	}
}

// TestPagesOfAKnownSessionWaitForNothing takes Redis away unseen: the page that finds out
// is from memory as well, and none of them waits for what it can do without.
func TestPagesOfAKnownSessionWaitForNothing(t *testing.T) {
	for _, path := range []string{"/", "/account", "/cart", "/secret", "/operations"} {
		t.Run(path, func(t *testing.T) {
			st := newSite(t, func(c *redsession.Config) { c.OutageWait = 5 * time.Minute })
			b := st.browser(t)
			b.login()
			b.get("/account")
			st.mini.SetError("LOADING Redis is loading the dataset in memory")
			want(t, path, b.get(path), 200, "alice", "From memory")
		})
	}
}
