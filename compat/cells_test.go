package compat_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ok is a cell in which all is as it should be.
const ok = "ok"

// cells are what is tried in each row. Each returns ok, or what was seen instead.
var cells = []struct {
	name string
	try  func(c *client) string
}{
	{"set and get", setAndGet},
	{"login", logIn},
	{"206", func(c *client) string {
		return first(
			wants(c.get("/file", "Range", "bytes=10-19"), http.StatusPartialContent, "0123456789"),
			wants(c.get("/get"), 200, "1"))
	}},
	{"304", func(c *client) string {
		return first(
			wants(c.get("/file", "If-Modified-Since", modified.Format(http.TimeFormat)), http.StatusNotModified, ""),
			wants(c.get("/get"), 200, "1"))
	}},
	{"flush", flushes},
	{"hijack", func(c *client) string {
		got := c.get("/hijack")
		if got.status == http.StatusNotImplemented {
			return noConnection
		}
		return first(wants(got, 200, "raw"), wants(c.get("/get"), 200, "1"))
	}},
	{"panic", panics},
	{"early failure", func(c *client) string {
		c.get("/get")
		c.post("/login")
		got := c.post("/early")
		if got.status != http.StatusConflict || strings.Contains(got.text, "done") {
			return wants(got, http.StatusConflict, "Your session has ended. Please load the page again.")
		}
		return wants(c.get("/get"), 200, "0")
	}},
	{"late failure", fails("/late")},
	{"late, flushed", fails("/late-flushed")},
	{"logout", logOut},
	{interfacesCell, interfacesLeft},
}

// first returns the first that is not ok.
func first(seen ...string) string {
	for _, one := range seen {
		if one != ok {
			return one
		}
	}
	return ok
}

func wants(got reply, status int, text string) string {
	switch {
	case got.err != nil:
		return "cut off"
	case got.status != status:
		return fmt.Sprintf("status %d", got.status)
	case got.text != text:
		return fmt.Sprintf("%.40q", got.text)
	}
	return ok
}

// setAndGet also looks at what says to caches that nobody else may have the response.
func setAndGet(c *client) string {
	c.get("/get") // gives the token of a form, where there is one
	set := c.post("/set")
	again, got := c.post("/set"), c.get("/get")
	if n := len(set.session()) + len(again.session()); n != 1 {
		return fmt.Sprintf("%d cookies", n)
	}
	if cache := set.header.Values("Cache-Control"); !slices.Equal(cache, []string{"no-store"}) {
		return fmt.Sprintf("Cache-Control %q beside the cookie", cache)
	}
	if vary := strings.Join(got.header.Values("Vary"), ","); !strings.Contains(vary, "Cookie") {
		return fmt.Sprintf("Vary %q", vary)
	}
	return first(wants(set, 200, "set"), wants(again, 200, "set"), wants(got, 200, "2"))
}

func logIn(c *client) string {
	c.get("/get")
	c.post("/set")
	before := c.cookies()
	got := c.post("/login")
	return first(wants(got, 200, "welcome"), wants(c.get("/get"), 200, "alice 1"), c.stranger(before))
}

// stranger tells whether the cookies are of nobody any more.
func (c *client) stranger(cookies []*http.Cookie) string {
	if got := c.with(cookies).get("/get"); len(cookies) == 0 || got.text != "0" {
		return "the old cookie reads " + got.text
	}
	return ok
}

// patience is how long a first piece may be on its way before it counts as kept back.
const patience = 30 * time.Second

// keptBack is a response that arrives when the handler has returned, and not before.
const keptBack = "kept back"

func flushes(c *client) string {
	name, gate := rand.Text(), make(chan struct{})
	gates.Store(name, gate)
	defer gates.Delete(name)
	late := time.AfterFunc(patience, func() { close(gate) })
	seen := keptBack
	got := c.send(http.MethodGet, "/flush?gate="+name, func(text string) {
		if text == "one," && late.Stop() {
			seen = ok
			close(gate)
		}
	})
	late.Stop()
	return first(wants(got, 200, "one,two"), wants(c.get("/get"), 200, "1"), seen)
}

func panics(c *client) string {
	c.get("/get")
	c.post("/set")
	if got := c.post("/panic"); got.err == nil && got.status < http.StatusInternalServerError {
		return fmt.Sprintf("status %d", got.status)
	}
	got := c.get("/get")
	if got.text == "2" {
		return "kept"
	}
	return wants(got, 200, "1")
}

// fails tries a response that must not look like a success.
func fails(path string) func(c *client) string {
	return func(c *client) string {
		c.get("/get")
		c.post("/login")
		if got := c.post(path); got.err == nil && got.status < http.StatusBadRequest {
			return fmt.Sprintf("%d, a success", got.status)
		}
		return wants(c.get("/get"), 200, "0")
	}
}

func logOut(c *client) string {
	c.get("/get")
	c.post("/set")
	c.post("/login")
	before := c.cookies()
	got := c.post("/logout")
	if k := got.session(); len(k) != 1 || k[0].MaxAge >= 0 {
		return "the cookie is not expired"
	}
	return first(wants(got, 200, "goodbye"), wants(c.get("/get"), 200, "0"), c.stranger(before))
}

// interfacesCell shows what a handler finds. It is compared with what the row has without
// redsession, and with the document.
const interfacesCell = "interfaces"

func interfacesLeft(c *client) string {
	with, without := c.get("/interfaces"), c.get("/interfaces", skipField, "1")
	if with.status != 200 || without.status != 200 {
		c.t.Errorf("got status %d, and %d without redsession, want 200", with.status, without.status)
	}
	has := strings.Fields(with.text)
	for _, name := range strings.Fields(without.text) {
		if !slices.Contains(has, name) {
			c.t.Errorf("got %q, and %q without redsession: it takes away %s", with.text, without.text, name)
		}
	}
	return with.text
}
