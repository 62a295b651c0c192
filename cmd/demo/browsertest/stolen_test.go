package browsertest_test

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var (
	cookieInCommand = regexp.MustCompile(`Cookie: ([^']+)'`)
	pinInCommand    = regexp.MustCompile(`spki-list=(\S+)`)
)

// TestStolenCookiesInABrowserThatBinds follows the page of the demo: a browser without support is
// told how to start one with it, and that one's session is locked to whoever has one cookie.
func TestStolenCookiesInABrowserThatBinds(t *testing.T) {
	t.Parallel()
	base := startDemo(t, "-tls")
	unable := newBrowser(t, base)
	unable.login()
	unable.visit("/stolen")
	unable.want("a browser without support", "/stolen", "has not bound this session")
	look(unable, "stolen-unbound")
	shown := pinInCommand.FindStringSubmatch(unable.text("main pre code"))
	if shown == nil {
		t.Fatalf("got %q, want the command for a browser that can", unable.text("main"))
	}
	thief := func(command string) int {
		t.Helper()
		at, _ := url.Parse(base + "/stolen/who")
		r := &http.Request{Method: http.MethodGet, URL: at, Header: http.Header{"Cookie": {cookieInCommand.FindStringSubmatch(command)[1]}}}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer client.CloseIdleConnections()
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := thief(unable.text("section pre code")); got != http.StatusOK {
		t.Errorf("got %d with the copied cookie of a session that is not bound, want 200", got)
	}

	ctx, stop := launchBinding(t, t.TempDir(), shown[1])
	defer stop()
	b := openTab(t, ctx, base)
	b.login()
	b.until("the page of a bound session", `fetch("/stolen").then(r => r.text()).then(t => { window.bound = t.includes("has bound") }), window.bound`)
	b.visit("/stolen")
	commands := strings.Split(eval[string](b, `Array.from(document.querySelectorAll("section pre code")).map(c => c.innerText).join("\n")`), "\n")
	if len(commands) != 2 {
		t.Fatalf("got the commands %q, want two", commands)
	}
	for i, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		if got := thief(commands[i]); got != want {
			t.Errorf("got %d for %q, want %d", got, commands[i], want)
		}
	}
	b.visit("/stolen")
	b.want("the owner goes on", "/stolen", "has bound this session")
	look(b, "stolen-bound")
}
