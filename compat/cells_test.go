package compat_test

import (
	"fmt"
	"net/http"
	"strings"
)

// ok is a cell in which all is as it should be.
const ok = "ok"

// cells are what is tried in each row. Each returns ok, or what was seen instead.
var cells = []struct {
	name string
	try  func(c *client) string
}{
	{"set and get", func(c *client) string {
		c.get("/set")
		c.get("/set")
		return wants(c.get("/get"), 200, "2")
	}},
	{"login", func(c *client) string {
		c.get("/set")
		before := c.cookies()
		if seen := wants(c.get("/login"), 200, "welcome"); seen != ok {
			return seen
		}
		if got := c.with(before).get("/get"); got.text != "0" {
			return "the old cookie reads " + got.text
		}
		return wants(c.get("/get"), 200, "alice 1")
	}},
	{"206", func(c *client) string {
		got := c.get("/file", "Range", "bytes=10-19")
		if seen := wants(got, http.StatusPartialContent, "0123456789"); seen != ok {
			return seen
		}
		return wants(c.get("/get"), 200, "1")
	}},
	{"304", func(c *client) string {
		got := c.get("/file", "If-Modified-Since", modified.Format(http.TimeFormat))
		if seen := wants(got, http.StatusNotModified, ""); seen != ok {
			return seen
		}
		return wants(c.get("/get"), 200, "1")
	}},
	{"flush", func(c *client) string {
		c.get("/set")
		got := c.get("/flush")
		if seen := wants(got, 200, "one,two"); seen != ok {
			return seen
		}
		return wants(c.get("/get"), 200, "2")
	}},
	{"hijack", func(c *client) string {
		if !strings.HasPrefix(c.base, "https://") {
			return ok
		}
		got := c.get("/hijack")
		if got.status == http.StatusNotImplemented {
			return "no connection"
		}
		if seen := wants(got, 200, "raw"); seen != ok {
			return seen
		}
		return wants(c.get("/get"), 200, "1")
	}},
	{"panic", func(c *client) string {
		c.get("/set")
		if got := c.get("/panic"); got.status != 0 && got.status < http.StatusInternalServerError {
			return fmt.Sprintf("status %d", got.status)
		}
		if got := c.get("/get"); got.text == "2" {
			return "kept"
		}
		return wants(c.get("/get"), 200, "1")
	}},
	{"early failure", func(c *client) string {
		c.get("/login")
		got := c.get("/early")
		if seen := wants(got, http.StatusConflict, "Your session has ended. Please load the page again."); seen != ok {
			return seen
		}
		return wants(c.get("/get"), 200, "0")
	}},
	{"late failure", func(c *client) string {
		c.get("/login")
		if got := c.get("/late"); got.err == nil && got.status < 400 {
			return fmt.Sprintf("%d, a success", got.status)
		}
		return wants(c.get("/get"), 200, "0")
	}},
	{"logout", func(c *client) string {
		c.get("/login")
		before := c.cookies()
		if seen := wants(c.get("/logout"), 200, "goodbye"); seen != ok {
			return seen
		}
		if got := c.with(before).get("/get"); got.text != "0" {
			return "the old cookie reads " + got.text
		}
		return wants(c.get("/get"), 200, "0")
	}},
	{interfacesCell, func(c *client) string { return c.get("/interfaces").text }},
}

// interfacesCell shows what a handler finds, and is compared with nothing but the document.
const interfacesCell = "interfaces"

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
