package main

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/coder/websocket"

	"github.com/redsession/redsession/redsessiontest"
)

// browser is a client that has logged in.
func browser(t *testing.T, srv *httptest.Server) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	post(t, client, srv.URL+"/login", url.Values{"password": {"rabbit-hole"}})
	return client
}

func post(t *testing.T, client *http.Client, address string, form url.Values) {
	t.Helper()
	res, err := client.PostForm(address, form)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: got status %d, want 200", address, res.StatusCode)
	}
}

// open opens a socket and waits for the first message.
func open(t *testing.T, srv *httptest.Server, client *http.Client) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), srv.URL+"/socket", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	if _, _, err := conn.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestTheSocketSaysWhyItCloses(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(t *testing.T, srv *httptest.Server, client *http.Client, stop func())
		want websocket.StatusCode
	}{
		{"the user logs out", func(t *testing.T, srv *httptest.Server, client *http.Client, _ func()) {
			post(t, client, srv.URL+"/logout", nil)
		}, websocket.StatusPolicyViolation},
		{"another device logs this one out", func(t *testing.T, srv *httptest.Server, _ *http.Client, _ func()) {
			post(t, browser(t, srv), srv.URL+"/others", nil)
		}, websocket.StatusPolicyViolation},
		{"the server stops", func(_ *testing.T, _ *httptest.Server, _ *http.Client, stop func()) { stop() }, websocket.StatusGoingAway},
	} {
		t.Run(row.name, func(t *testing.T) {
			stopping := make(chan struct{})
			srv := httptest.NewServer((&site{redsessiontest.New(t).Manager, stopping}).handler())
			defer srv.Close()
			client := browser(t, srv)
			conn := open(t, srv, client)
			row.end(t, srv, client, func() { close(stopping) })
			for {
				_, _, err := conn.Read(t.Context())
				if err == nil {
					continue // the time once more
				}
				if got := websocket.CloseStatus(err); got != row.want {
					t.Errorf("got close code %d, want %d", got, row.want)
				}
				return
			}
		})
	}
}

func TestASocketNeedsALogin(t *testing.T) {
	srv := httptest.NewServer((&site{redsessiontest.New(t).Manager, nil}).handler())
	defer srv.Close()
	if _, res, err := websocket.Dial(t.Context(), srv.URL+"/socket", nil); err == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %v, want 401", err)
	}
	jar := browser(t, srv)
	_, res, err := websocket.Dial(t.Context(), srv.URL+"/socket", &websocket.DialOptions{HTTPClient: jar, HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	if err == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("got %v from a page of another origin, want 403", err)
	}
}
