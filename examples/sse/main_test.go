package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/redsession/redsession/redsessiontest"
)

// device is a browser that has logged in.
type device struct {
	*http.Client
	t    *testing.T
	base string
}

func newDevice(t *testing.T, srv *httptest.Server) *device {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{&http.Client{Jar: jar}, t, srv.URL}
	if page := d.post("/login", url.Values{"password": {"rabbit-hole"}}); !strings.Contains(page, "Logged in as <b>alice</b>") {
		t.Fatalf("after the login: got %q", page)
	}
	return d
}

func (d *device) get(path string) string {
	d.t.Helper()
	res, err := d.Get(d.base + path)
	return d.body(res, err)
}

func (d *device) post(path string, form url.Values) string {
	d.t.Helper()
	res, err := d.PostForm(d.base+path, form)
	return d.body(res, err)
}

func (d *device) body(res *http.Response, err error) string {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(body)
}

// stream opens the events, and returns them from the first one on.
func (d *device) stream() *bufio.Scanner {
	d.t.Helper()
	res, err := d.Get(d.base + "/events")
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		d.t.Fatalf("got %d and the type %q, want a stream", res.StatusCode, got)
	}
	lines := bufio.NewScanner(res.Body)
	if lines.Scan(); lines.Text() != "event: time" {
		d.t.Fatalf("got %q first, want the time", lines.Text())
	}
	return lines
}

// last reads a stream to its end and returns its last event.
func last(lines *bufio.Scanner) (event string, err error) {
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
	}
	return event, lines.Err()
}

func newSite(t *testing.T, stopping <-chan struct{}) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer((&site{redsessiontest.New(t).Manager, stopping}).handler())
	t.Cleanup(srv.Close)
	return srv
}

func TestAStreamEndsWhenItsSessionIsRevoked(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(phone, laptop *device) (page string)
	}{
		{"on the page of another device", func(_, laptop *device) string {
			page := laptop.get("/")
			id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page)
			if id == nil {
				return page
			}
			return laptop.post("/devices/revoke", url.Values{"id": {id[1]}})
		}},
		{"with all others", func(_, laptop *device) string { return laptop.post("/devices/others", nil) }},
		{"by a logout in another tab", func(phone, _ *device) string { return phone.post("/logout", nil) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // each waits for the next look at the sessions behind streams
			srv := newSite(t, nil)
			phone, laptop := newDevice(t, srv), newDevice(t, srv)
			doomed, other := phone.stream(), laptop.stream()
			page := row.end(phone, laptop)
			if event, err := last(doomed); event != "ended" || err != nil {
				t.Errorf("got %q last and the error %v, want ended; the page: %q", event, err, page)
			}
			res, err := phone.Get(phone.base + "/events")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("connecting again: got %d, want 401", res.StatusCode)
			}
			for range 4 { // an event has three lines
				if !other.Scan() {
					t.Error("the stream of the other device has ended, too")
				}
			}
		})
	}
}

func TestAStreamEndsWhenTheServerStops(t *testing.T) {
	stopping := make(chan struct{})
	d := newDevice(t, newSite(t, stopping))
	lines := d.stream()
	close(stopping)
	if event, err := last(lines); event == "ended" || err != nil {
		t.Errorf("got %q last and the error %v; want a mere end after which the browser comes again", event, err)
	}
}

func TestTheStreamNeedsALogin(t *testing.T) {
	srv := newSite(t, nil)
	res, err := http.Get(srv.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d, want 401", res.StatusCode)
	}
}
