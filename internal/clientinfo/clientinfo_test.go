package clientinfo_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/redsession/redsession/internal/clientinfo"
)

func TestRemoteAddr(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, peer string
		forwarded  []string
		hops       int
		want       string
	}{
		{"the peer without a proxy", "192.0.2.1:1234", []string{"203.0.113.7"}, 0, "192.0.2.1"},
		{"one proxy", "192.0.2.1:1234", []string{"203.0.113.7"}, 1, "203.0.113.7"},
		{"the rightmost entry for one proxy", "192.0.2.1:1234", []string{"198.51.100.1, 203.0.113.7"}, 1, "203.0.113.7"},
		{"two proxies", "192.0.2.1:1234", []string{"198.51.100.1, 203.0.113.7"}, 2, "198.51.100.1"},
		{"entries in several lines", "192.0.2.1:1234", []string{"198.51.100.1", "203.0.113.7"}, 2, "198.51.100.1"},
		{"fewer entries than proxies", "192.0.2.1:1234", []string{"203.0.113.7"}, 3, "203.0.113.7"},
		{"no entry", "192.0.2.1:1234", nil, 1, "192.0.2.1"},
		{"an entry with a port", "192.0.2.1:1234", []string{"203.0.113.7:51234"}, 1, "203.0.113.7"},
		{"an IPv6 entry", "192.0.2.1:1234", []string{"2001:db8::7"}, 1, "2001:db8::7"},
		{"an IPv6 entry in brackets", "192.0.2.1:1234", []string{"[2001:db8::7]"}, 1, "2001:db8::7"},
		{"an IPv6 entry with a port", "192.0.2.1:1234", []string{"[2001:db8::7]:51234"}, 1, "2001:db8::7"},
		{"a zone is cut", "192.0.2.1:1234", []string{"fe80::1%" + strings.Repeat("z", 70_000)}, 1, "fe80::1"},
		{"a zone of the peer is cut", "[fe80::1%eth0]:1234", nil, 0, "fe80::1"},
		{"an IPv4 address in IPv6 form stays what it is", "[::ffff:192.0.2.1]:1234", nil, 0, "::ffff:192.0.2.1"},
		{"an entry that is no address", "192.0.2.1:1234", []string{"unknown"}, 1, "192.0.2.1"},
		{"an empty entry", "192.0.2.1:1234", []string{"198.51.100.1, "}, 1, "192.0.2.1"},
		{"a peer without a port", "192.0.2.1", nil, 0, "192.0.2.1"},
		{"a peer by a unix socket", "@", nil, 0, "@"},
		{"a long peer is cut", strings.Repeat("p", 100), nil, 0, strings.Repeat("p", 64)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = row.peer
			r.Header["X-Forwarded-For"] = row.forwarded
			if got := clientinfo.RemoteAddr(r, row.hops); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestUserAgentIsBoundedAndValid(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("User-Agent", strings.Repeat("a", 159)+"é\xff")
	if got := clientinfo.UserAgent(r); len(got) > 160 || !utf8.ValidString(got) {
		t.Errorf("got %d bytes of valid UTF-8: %v", len(got), utf8.ValidString(got))
	}
}
