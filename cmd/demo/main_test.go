package main

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestCartSurvivesLoginUnderANewCookieAndTheOldOneIsAnonymous(t *testing.T) {
	b := newSite(t).browser(t)
	wantRedirect(t, "adding", b.post("/cart", "item", "red lamp"), "/cart")
	before := b.cookie()
	want(t, "home", b.get("/"), 200, "not logged in", "Cart (1)")
	wantRedirect(t, "login", b.login(), "/account")
	if b.cookie() == before {
		t.Error("the cookie is the same after login")
	}
	want(t, "cart after login", b.get("/cart"), 200, "red lamp", "alice")

	thief := &browser{t: t, base: b.base, http: http.Client{CheckRedirect: b.http.CheckRedirect}}
	stolen := func(path string) answer { return thief.do(path, nil, "Cookie", "session="+before) }
	want(t, "home with the old cookie", stolen("/"), 200, "not logged in", "Cart (0)", "ended a moment ago")
	wantRedirect(t, "account with the old cookie", stolen("/account"), "/login?next=%2Faccount&why=login")
	want(t, "writing with the old cookie", thief.do("/cart", url.Values{"item": {"x"}}, "Cookie", "session="+before), 409, "has ended")
	want(t, "cart of the user afterwards", b.get("/cart"), 200, "Cart (1)")
}

func TestAStolenCookieIsShownToBeCopied(t *testing.T) {
	b := newSite(t).browser(t)
	wantRedirect(t, "without login", b.get("/stolen"), "/login?next=%2Fstolen&why=login")
	want(t, "the thief's page, without a cookie", b.get("/stolen/who"), 401, "You are nobody.")
	b.login()
	want(t, "over plain HTTP", b.get("/stolen"), 200, "curl -k -H &#39;Cookie: session=", "-tls")
	want(t, "the thief's page", b.get("/stolen/who"), 200, "You are alice.")
}

func TestAccountShowsTheSession(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	b.get("/")
	id := regexp.MustCompile(`<code>([\w-]{32})</code>`).FindStringSubmatch(b.get("/").body)
	if id == nil {
		t.Fatal("home shows no public id")
	}
	b.login()
	first := b.get("/account")
	want(t, "account", first, 200, "Welcome, alice", "127.0.0.1", "Go-http-client", "7 days", "<code>"+id[1]+"</code>", "<code>visits</code>")
	st.advance(time.Hour)
	again := b.get("/account")
	want(t, "account an hour later", again, 200, "7 days")
	if strings.Contains(again.body, "Welcome") {
		t.Error("the flash is shown twice")
	}
}

func TestRememberMeKeepsTheCookie(t *testing.T) {
	st := newSite(t)
	for _, row := range []struct {
		name   string
		fields []string
		maxAge string
	}{
		{"ticked", []string{"remember", "yes"}, "Max-Age=2592000"},
		{"not ticked", nil, ""},
	} {
		cookie := st.browser(t).login(row.fields...).header.Get("Set-Cookie")
		if got := strings.Contains(cookie, "Max-Age"); got != (row.maxAge != "") || !strings.Contains(cookie, row.maxAge) {
			t.Errorf("%s: got the cookie %q, want %q in it", row.name, cookie, row.maxAge)
		}
	}
}

func TestLogoutEndsTheSession(t *testing.T) {
	b := newSite(t).browser(t)
	b.post("/cart", "item", "red lamp")
	b.login()
	wantRedirect(t, "logout", b.post("/logout"), "/login?why=logged-out")
	if c := b.cookie(); c != "" {
		t.Error("the browser still has a cookie")
	}
	want(t, "afterwards", b.get("/login?why=logged-out"), 200, "You have logged out", "Cart (0)")
	want(t, "posting afterwards", b.post("/devices/revoke", "id", "x"), 401, "Please log in")
}

func TestWrongPasswordIs401AndKeepsTheInput(t *testing.T) {
	b := newSite(t).browser(t)
	for _, name := range []string{"alice", "nobody"} {
		a := b.post("/login", "username", name, "password", "wrong", "remember", "yes", "next", "/devices")
		want(t, name, a, 401, "is not right", `value="`+name+`"`, `value="yes" checked`, `name="next" value="/devices"`)
	}
	if b.cookie() != "" {
		t.Error("a failed login set a cookie")
	}
}

func TestSecondFactor(t *testing.T) {
	b := newSite(t).browser(t)
	wantRedirect(t, "password", b.login("second_factor", "yes", "next", "/devices"), "/second-factor?next=%2Fdevices")
	half := b.cookie()
	wantRedirect(t, "account before the code", b.get("/account"), "/second-factor?next=%2Faccount")
	first := shownCode(t, b.get("/second-factor"))
	wrong := fmt.Sprintf("%06d", (atoi(first)+1)%1_000_000)
	a := b.post("/second-factor", "code", wrong)
	want(t, "wrong code", a, 401, "not the code")
	if code := shownCode(t, a); code == first {
		t.Error("the code is the same after a wrong guess")
	} else {
		wantRedirect(t, "code", b.post("/second-factor", "code", code, "next", "/devices"), "/devices")
	}
	if b.cookie() == half {
		t.Error("the cookie is the same after the second factor")
	}
	want(t, "afterwards", b.get("/devices"), 200, "Both factors were right", "This device")
	wantRedirect(t, "the page once more", b.get("/second-factor?next=/cart"), "/login?next=%2Fcart&why=again")
	wantRedirect(t, "and on", b.get("/login?next=%2Fcart&why=again"), "/cart")
}

func shownCode(t *testing.T, a answer) string {
	t.Helper()
	m := regexp.MustCompile(`class="code">(\d{6})<`).FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no code in the page:\n%s", a.body)
	}
	return m[1]
}

func atoi(digits string) (n int) {
	_, _ = fmt.Sscanf(digits, "%d", &n)
	return n
}

func TestDevicesEndEachOther(t *testing.T) {
	st := newSite(t)
	desk, phone, tablet := st.browser(t), st.browser(t), st.browser(t)
	for _, b := range []*browser{desk, phone, tablet} {
		b.login()
		st.advance(time.Second) // so that the list has an order
	}
	list := desk.get("/devices")
	want(t, "devices", list, 200, "This device", "Log out everywhere else", "1 second ago")
	ids := regexp.MustCompile(`name="id" value="([^"]+)"`).FindAllStringSubmatch(list.body, -1)
	if len(ids) != 2 {
		t.Fatalf("got %d devices to end, want 2", len(ids))
	}

	stranger := st.browser(t)
	stranger.post("/login", "username", "bob", "password", "can-we-fix-it")
	stranger.post("/devices/revoke", "id", ids[1][1])
	want(t, "phone after bob tried to end it", phone.get("/account"), 200)
	wantRedirect(t, "ending the phone", desk.post("/devices/revoke", "id", ids[1][1]), "/devices")
	wantRedirect(t, "phone", phone.get("/account"), "/login?next=%2Faccount&why=login")
	want(t, "tablet", tablet.get("/account"), 200)
	wantRedirect(t, "ending the others", desk.post("/devices/revoke-others"), "/devices")
	want(t, "desk", desk.get("/devices"), 200, "That device is logged out.", "One other device is logged out.")
	wantRedirect(t, "tablet", tablet.get("/account"), "/login?next=%2Faccount&why=login")
	want(t, "bob", stranger.get("/account"), 200)
}

func TestSecretWantsARecentLogin(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	wantRedirect(t, "without login", b.get("/secret"), "/login?next=%2Fsecret&why=login")
	b.login()
	want(t, "after login", b.get("/secret"), 200, "42")
	st.advance(recentLogin + time.Second)
	wantRedirect(t, "later", b.get("/secret"), "/login?next=%2Fsecret&why=recent")
	want(t, "the reason", b.get("/login?next=%2Fsecret&why=recent"), 200, "more than two minutes ago", `value="alice"`)
	want(t, "another page", b.get("/account"), 200)
	wantRedirect(t, "login again", b.login("next", "/secret"), "/secret")
	want(t, "at last", b.get("/secret"), 200, "42")
}

func TestOpenRedirectIsRefused(t *testing.T) {
	for next, want := range map[string]string{
		"/cart?a=b#c":             "/cart?a=b#c",
		"":                        "/account",
		"https://evil.example":    "/account",
		"//evil.example":          "/account",
		`/\evil.example`:          "/account",
		`\\evil.example`:          "/account",
		"/\t/evil.example":        "/account",
		" //evil.example":         "/account",
		"javascript:alert(1)":     "/account",
		"evil.example":            "/account",
		"/%zz":                    "/account",
		"/..//evil.example":       "/..//evil.example", // of this site, as Location below shows
		strings.Repeat("/a", 400): "/account",
	} {
		if got := safeNext(next); got != want {
			t.Errorf("safeNext(%q): got %q, want %q", next, got, want)
		}
	}
	b := newSite(t).browser(t)
	want(t, "the form", b.get("/login?next=//evil.example"), 200, `name="next" value="/account"`)
	wantRedirect(t, "login", b.login("next", "//evil.example"), "/account")
	wantRedirect(t, "login", b.login("next", "/..//evil.example"), "/evil.example")
}

func TestCrossOriginPostIsRefused(t *testing.T) {
	b := newSite(t).browser(t)
	b.login()
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
	} {
		want(t, headers[1], b.do("/logout", url.Values{}, headers...), 403, "Another site sent this request")
	}
	want(t, "afterwards", b.get("/account"), 200)
}

func TestEveryPageHasAContentSecurityPolicy(t *testing.T) {
	b := newSite(t).browser(t)
	check := func(what string, a answer) {
		t.Helper()
		if p := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: got the policy %q", what, p)
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", what)
		}
		if a.status != http.StatusSeeOther && strings.Contains(a.header.Get("Content-Type"), "text/html") && what != "/operations/live" {
			if n := strings.Count(a.body, "<h1>"); n != 1 {
				t.Errorf("%s: got %d h1, want 1", what, n)
			}
			if a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got Cache-Control %q, want no-store", what, a.header.Get("Cache-Control"))
			}
		}
	}
	check("403", b.do("/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"))
	check("401", b.post("/login"))
	check("413", b.post("/cart", "item", strings.Repeat("a", maxBody)))
	b.login()
	for _, path := range []string{"/", "/login", "/second-factor", "/cart", "/account", "/devices", "/secret", "/operations", "/operations/live", "/outage", "/healthz", "/nowhere", "/static/style.css", "/static/app.js", "/static/icon.svg", "/static/none"} {
		check(path, b.get(path))
	}
}

func TestHealthAndStaticFilesNeedNoSession(t *testing.T) {
	st := newSite(t)
	b := st.browser(t)
	want(t, "health", b.get("/healthz"), 200, "ok")
	want(t, "style", b.get("/static/style.css"), 200, ":root")
	if keys := st.mini.Keys(); len(keys) != 0 || b.cookie() != "" {
		t.Errorf("got the keys %q and the cookie %q, want neither", keys, b.cookie())
	}
	st.mini.Close()
	want(t, "health without Redis", b.get("/healthz"), 200, "ok")
	want(t, "home without Redis", b.get("/"), 200, "was not counted")
	want(t, "login without Redis", b.login(), 503, "Redis does not answer")
}

func TestItemsAreEscapedAndLimited(t *testing.T) {
	b := newSite(t).browser(t)
	const evil = `"><script>alert(1)</script>`
	b.post("/cart", "item", evil)
	a := b.get("/cart")
	want(t, "cart", a, 200, html.EscapeString(evil))
	if strings.Contains(a.body, "<script>") {
		t.Error("the page has a script of the visitor's")
	}
	for _, row := range []struct{ name, item, message string }{
		{"nothing", " ", "Please write"},
		{"too long", strings.Repeat("ä", maxItem+1), "The name has 81 characters; it may have 80."},
		{"a control character", "a\x00b", "cannot be shown"},
		{"no UTF-8", "a\xffb", "cannot be shown"},
	} {
		want(t, row.name, b.post("/cart", "item", row.item), 422, row.message, "Error: Your cart")
	}
	want(t, "kept input", b.post("/cart", "item", strings.Repeat("ä", maxItem+1)), 422, strings.Repeat("ä", maxItem+1))
	for i := range maxItems - 1 {
		wantRedirect(t, "adding", b.post("/cart", "item", fmt.Sprint(i)), "/cart")
	}
	want(t, "one too many", b.post("/cart", "item", "more"), 422, "The cart is full")
	wantRedirect(t, "emptying", b.post("/cart/empty"), "/cart")
	want(t, "afterwards", b.get("/cart"), 200, "The cart is empty")
}
