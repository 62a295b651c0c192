// Command echo is a small shop on echo: a cart that is there before the login and
// survives it, and messages that are shown once.
//
//	go run ./examples/echo
//
// echo.WrapMiddleware brings net/http's middleware to echo, so redsession needs
// no adapter for it.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"strings"
	"syscall"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/examples/internal/devserver"
)

const try = `
  curl -c jar -L -d item=pear BASE/cart  # nobody has logged in yet
  curl -b jar -c jar -X POST BASE/order  # 401
  curl -b jar -c jar -L -d password=rabbit-hole BASE/login
  curl -b jar -c jar BASE/  # the message is gone, the cart is not
  curl -b jar -c jar -X POST BASE/order
  curl -b jar -c jar -L -d '' BASE/logout
`

const (
	cart     = redsession.Key[[]string]("cart")
	maxItems = 20
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, stopRedis, err := devserver.Config()
	if err != nil {
		return err
	}
	defer stopRedis()
	m, err := redsession.New(c)
	if err != nil {
		return err
	}
	defer m.Close()
	return devserver.Serve(ctx, handler(m), try)
}

func handler(m *redsession.Manager) http.Handler {
	e := echo.New()
	// Recover stands outside, so that a handler that panics changes no session;
	// then other sites' forms are refused, before any session is loaded.
	e.Use(middleware.Recover(),
		echo.WrapMiddleware(http.NewCrossOriginProtection().Handler),
		echo.WrapMiddleware(m.Handler))
	e.GET("/", home)
	e.POST("/cart", add)
	e.POST("/login", login)
	user := e.Group("", echo.WrapMiddleware(m.RequireLogin))
	user.POST("/order", order)
	user.POST("/logout", logout)
	return e
}

// session returns the session of c's request.
func session(c *echo.Context) *redsession.Session {
	return redsession.FromContext(c.Request().Context())
}

func home(c *echo.Context) error {
	s := session(c)
	var page strings.Builder
	for _, message := range s.Flashes() {
		fmt.Fprintf(&page, "* %s\n", message)
	}
	items, _ := cart.Get(s)
	fmt.Fprintf(&page, "User %q, cart %q\n", s.UserID(), items)
	return c.String(http.StatusOK, page.String())
}

func add(c *echo.Context) error {
	item := c.FormValue("item")
	if item == "" || len(item) > 80 {
		return echo.NewHTTPError(http.StatusUnprocessableEntity, "An item has 1 to 80 bytes.")
	}
	s := session(c)
	cart.Update(s, func(old []string) []string {
		if len(old) >= maxItems {
			return old
		}
		return append(old, item)
	})
	s.Flash(fmt.Sprintf("%q is in your cart.", item))
	return c.Redirect(http.StatusSeeOther, "/")
}

func login(c *echo.Context) error {
	// cmd/demo shows how to keep passwords; this example has only one.
	if c.FormValue("password") != "rabbit-hole" {
		return echo.NewHTTPError(http.StatusUnauthorized, "The password is not right.")
	}
	s := session(c)
	s.Login("alice")
	s.Flash("Welcome, alice.")
	return c.Redirect(http.StatusSeeOther, "/")
}

func order(c *echo.Context) error {
	// Take gives the cart to one of two requests that come at once: an order is
	// never placed twice.
	items, ok, err := cart.Take(c.Request().Context(), session(c))
	switch {
	case err != nil:
		return fmt.Errorf("ordering: %w", err)
	case !ok:
		return echo.NewHTTPError(http.StatusConflict, "The cart is empty.")
	}
	return c.String(http.StatusOK, fmt.Sprintf("Ordered %q.\n", items))
}

func logout(c *echo.Context) error {
	s := session(c)
	s.Logout()
	s.Flash("You have logged out.")
	return c.Redirect(http.StatusSeeOther, "/")
}
