package browsertest_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// publicID is where the account page shows the session's id.
const publicID = "dl.facts code"

func TestLogin(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.visit("/")
	before, anonymous := b.text("main p code"), b.cookie()
	if anonymous == nil || before == "" {
		t.Fatal("the first page began no session")
	}
	b.visit("/login")
	b.write("#username", "alice")
	b.write("#password", "wrong")
	if status := b.click("main form button"); status != 401 {
		t.Errorf("a wrong password: got status %d, want 401", status)
	}
	b.want("a wrong password", "/login", "is not right")
	if c := b.cookie(); c == nil || c.Value != anonymous.Value {
		t.Error("a failed login changed the cookie")
	}
	b.login()
	b.want("login", "/account", "Welcome, alice", before)
	if id := b.text(publicID); id == "" || id == before {
		t.Errorf("got the public id %q after login, want another than %q", id, before)
	}
	if c := b.cookie(); c == nil || c.Value == anonymous.Value {
		t.Error("the cookie is the same after login")
	}
	left := b.text("[data-seconds]")
	b.until("the lifetime to run down", "document.querySelector('[data-seconds]').innerText !== '"+left+"'")
}

func TestSecondFactor(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.login("second_factor")
	b.want("password", "/second-factor", "Until the code is, too, you are not logged in")
	half := b.cookie().Value
	b.visit("/account")
	b.want("the account before the code", "/second-factor")
	b.write("#code", b.text(".code"))
	b.click("main form button")
	b.want("the code", "/account", "Both factors were right", "second factor")
	if b.cookie().Value == half {
		t.Error("the cookie is the same after the second factor")
	}
}

func TestRotationChangesTheIDAndTheOldCookieLeadsOn(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.login()
	id, old := b.text(publicID), b.cookie().Value
	b.click("form[action='/account/rotate'] button")
	b.want("rotation", "/account", "Your session has a new id", "By your wish", id)
	rotated, successor := b.text(publicID), b.cookie().Value
	if rotated == id || successor == old {
		t.Error("the id or the cookie is the same after the rotation")
	}
	yes := true
	if _, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: "session", Value: old, URL: b.base, HTTPOnly: &yes}); err != nil {
		t.Fatal(err)
	}
	b.visit("/account")
	b.want("the old cookie", "/account", "logged in as alice")
	if got := b.text(publicID); got != rotated {
		t.Errorf("the old cookie led to %q, want %q", got, rotated)
	}
	if b.cookie().Value == old {
		t.Error("the browser did not get the successor's cookie")
	}
}

func TestRememberMeSurvivesTheBrowser(t *testing.T) {
	remembered := startDemo(t)
	forgotten := strings.Replace(remembered, "127.0.0.1", "localhost", 1) // another host to the browser
	profile := t.TempDir()
	first, stop, err := launch(profile)
	if err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	openTab(t, first, remembered).login("remember")
	other := openTab(t, first, forgotten)
	other.login()
	other.want("login", "/account", "logged in as alice")
	if err := stop(); err != nil {
		t.Fatalf("closing the browser: %v", err)
	}

	second, stop, err := launch(profile)
	if err != nil {
		t.Fatalf("starting the browser again: %v", err)
	}
	t.Cleanup(func() {
		_ = stop()
		_ = os.RemoveAll(profile) // or the last of its files appear while it is removed
	})
	b := openTab(t, second, remembered)
	b.visit("/account")
	b.want("remembered, after a restart of the browser", "/account", "logged in as alice")
	b = openTab(t, second, forgotten)
	b.visit("/account")
	b.want("not remembered", "/login", "please log in first")
}

func TestOneBrowserEndsAnother(t *testing.T) {
	base := startDemo(t)
	desk, phone := newBrowser(t, base), newBrowser(t, base)
	desk.login()
	phone.login()
	desk.visit("/devices")
	if n := eval[int](desk, "document.querySelectorAll('.devices > li').length"); n != 2 {
		t.Errorf("got %d devices, want 2", n)
	}
	desk.click("form[action='/devices/revoke'] button")
	desk.want("ending the phone", "/devices", "That device is logged out.")
	phone.visit("/account")
	phone.want("the phone", "/login", "please log in first")
	desk.visit("/account")
	desk.want("the desk", "/account", "logged in as alice")
}

func TestLogoutIsNotUndoneByASlowRequest(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.login()
	opened := chromedp.WaitNewTarget(b.ctx, func(i *target.Info) bool { return i.Type == "page" })
	if err := chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS("form[action='/account/slow'] button"))); err != nil {
		t.Fatal(err)
	}
	watch := newBrowser(t, b.base)
	watch.visit("/operations")
	watch.until("the slow request to run", "document.getElementById('slow-running').innerText === '1'")
	b.click("header form button")
	b.want("logout", "/login", "You have logged out")
	slow := openTab(t, b.ctx, b.base, chromedp.WithTargetID(<-opened)) // waits for the page
	slow.until("the slow request's answer", "document.title.startsWith('Your session has ended')")
	if c := b.cookie(); c != nil {
		t.Error("the browser has a cookie again")
	}
	b.visit("/account")
	b.want("the account afterwards", "/login", "please log in first")
}

func TestCookieAsTheBrowserSeesIt(t *testing.T) {
	for _, row := range []struct {
		name     string
		flags    []string
		boxes    []string
		cookie   string
		secure   bool
		lifetime time.Duration // 0: ends with the browser
	}{
		{"over HTTPS it is bound to the host", []string{"-tls"}, nil, "__Host-session", true, 0},
		{"remembered over HTTPS it has an end", []string{"-tls"}, []string{"remember"}, "__Host-session", true, 30 * 24 * time.Hour},
		{"over plain HTTP it has another name", nil, nil, "session", false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBrowser(t, startDemo(t, row.flags...))
			b.login(row.boxes...)
			b.want("login", "/account", "logged in as alice")
			c := b.cookie()
			if c == nil {
				t.Fatal("no cookie")
			}
			if c.Name != row.cookie || c.Secure != row.secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Path != "/" || c.Domain != "127.0.0.1" {
				t.Errorf("got %s for %s%s, Secure %t, HttpOnly %t, SameSite %s; want %s for 127.0.0.1/, %t, true, Lax",
					c.Name, c.Domain, c.Path, c.Secure, c.HTTPOnly, c.SameSite, row.cookie, row.secure)
			}
			if c.Session != (row.lifetime == 0) {
				t.Errorf("ends with the browser: got %t", c.Session)
			}
			if ends := time.Unix(int64(c.Expires), 0); row.lifetime > 0 && time.Until(ends).Round(time.Hour) != row.lifetime {
				t.Errorf("got an end in %v, want %v", time.Until(ends), row.lifetime)
			}
			if seen := eval[string](b, "document.cookie"); seen != "" {
				t.Error("a script sees the cookie")
			}
		})
	}
}

func TestEverythingButWhatMovesWorksWithoutJavaScript(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.visit("/cart")
	b.write("#item", "red lamp")
	b.click("main form button")
	b.login()
	b.want("login", "/account", "Cart (1)", "Remaining lifetime")
	if left := b.text("[data-seconds]"); left != "7 days" {
		t.Errorf("got the lifetime %q, want that at load, 7 days", left)
	}
	b.visit("/operations")
	b.want("operations", "/operations", "Renew the figures")
	b.click("main form button")
	b.want("Redis away", "/operations", "Redis is away", "for 0 seconds")
	b.click("#outage button")
	b.want("Redis back", "/operations", "answers")
	b.click("header form button")
	b.want("logout", "/login", "You have logged out")
}
