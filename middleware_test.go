package redsession_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// The tests in this file show the main promises end to end, on one page. Each topic has its own tests in suite.

const cart = redsession.Key[[]string]("cart")

// shop is a program with a login and a cart.
var shop = stage.Handlers{
	"/login":  func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login("alice") },
	"/logout": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Logout() },
	"/buy": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
		cart.Update(s, func(items []string) []string { return append(items, r.FormValue("item")) })
	},
	"/": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		items, _ := cart.Get(s)
		fmt.Fprintf(w, "%q has %d items", s.UserID(), len(items))
	},
}

func TestMiddlewareKeepsWhatParallelRequestsAndOtherServersWrite(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	one, two := stage.Serve(t, e.Manager(t), shop), stage.Serve(t, e.Manager(t), shop)
	here := stage.NewBrowser(t, one)
	here.Get("/buy?item=tea")
	there := stage.NewBrowser(t, two).With(here.Cookie())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { here.Get("/buy?item=milk") })
		all.Go(func() { there.Get("/buy?item=sugar") })
	}
	all.Wait()
	for name, b := range map[string]*stage.Browser{"one server": here, "the other": there} {
		if got, want := b.Get("/").Text, `"" has 21 items`; got != want {
			t.Errorf("at %s: got %s, want %s", name, got, want)
		}
	}
}

func TestMiddlewareChangesTheCookieAtLoginAndEndsItAtLogout(t *testing.T) {
	t.Parallel()
	b := stage.NewBrowser(t, stage.Serve(t, stage.NewMini(t).Manager(t), shop))
	b.Get("/buy?item=tea")
	before := b.Cookie()
	b.Get("/login")
	login := b.Cookie()
	if before == "" || login == before {
		t.Error("got the same cookie before and after a login, want another")
	}
	if got, want := b.Get("/").Text, `"alice" has 1 items`; got != want {
		t.Errorf("after the login: got %s, want %s", got, want)
	}
	if got, want := b.With(before).Get("/").Text, `"" has 0 items`; got != want {
		t.Errorf("with the cookie from before the login: got %s, want %s", got, want)
	}
	if b.Get("/logout"); b.Cookie() != "" {
		t.Error("got a cookie after the logout, want none")
	}
	if got, want := b.With(login).Get("/").Text, `"" has 0 items`; got != want {
		t.Errorf("with the cookie of a session that was logged out: got %s, want %s", got, want)
	}
}

func TestMiddlewareAsksRedisOnce(t *testing.T) {
	t.Parallel()
	m, sent := stage.NewMini(t).Counted(t)
	visitor := stage.NewBrowser(t, stage.Serve(t, m, shop))
	customer, stranger := visitor.Fresh(), visitor.With("a cookie that we did not sign")
	customer.Get("/buy?item=tea")
	sent.Take()
	for _, row := range []struct {
		name    string
		browser *stage.Browser
		want    string
	}{
		{"a read is one round trip", customer, "GET EXPIRE in 1"},
		{"a visitor without a cookie costs nothing", visitor, " in 0"},
		{"a cookie of somebody else's making costs nothing", stranger, " in 0"},
	} {
		row.browser.Get("/")
		if got := sent.Take(); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestMiddlewareFailsAWriteThatRedisDoesNotTake(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	b := stage.NewBrowser(t, stage.Serve(t, o.M, shop))
	o.Down(t)
	if a := b.Get("/"); a.StatusCode != http.StatusOK {
		t.Errorf("got %d for a visitor, want 200", a.StatusCode)
	}
	if a := b.Get("/buy?item=tea"); a.StatusCode != http.StatusServiceUnavailable || len(a.SetCookies()) != 0 {
		t.Errorf("got %d and the cookies %v for a write, want 503 and none", a.StatusCode, a.SetCookies())
	}
}
