// Package clientinfo tells what a request says of its client: the address and the
// browser that a list of devices shows. Both are bounded and valid UTF-8, whatever was
// sent.
package clientinfo

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

const (
	maxUserAgent = 160 // bytes; enough to tell the devices of one user apart
	maxAddr      = 64  // bytes; the longest IPv6 address has 45
)

// RemoteAddr is the client's address, without a port and a zone. Only as many entries of
// X-Forwarded-For are believed, from the right, as proxies stand in front (hops), since a
// client may send its own. An entry that is no address is not believed at all.
func RemoteAddr(r *http.Request, hops int) string {
	if hops > 0 {
		entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if addr, ok := parse(entries[max(0, len(entries)-hops)]); ok {
			return addr
		}
	}
	if addr, ok := parse(r.RemoteAddr); ok {
		return addr
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr // of a unix socket, or of a server of another kind
	}
	return cut(host, maxAddr)
}

// parse reads an address with or without a port, with or without brackets.
func parse(entry string) (addr string, ok bool) {
	entry = strings.TrimSpace(entry)
	if host, _, err := net.SplitHostPort(entry); err == nil {
		entry = host
	} else if strings.HasPrefix(entry, "[") && strings.HasSuffix(entry, "]") {
		entry = entry[1 : len(entry)-1]
	}
	ip, err := netip.ParseAddr(entry)
	if err != nil {
		return "", false
	}
	return ip.WithZone("").String(), true
}

// UserAgent is what the client says that it is, cut after 160 bytes.
func UserAgent(r *http.Request) string { return cut(r.UserAgent(), maxUserAgent) }

func cut(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
