package server

import (
	"context"
	"net"
	"net/url"
	"strings"
)

// Hosts returns the hosts of nodes and those that rawURL, which redisurl has
// accepted, names. A unix socket has none.
func Hosts(rawURL string, nodes []Node) []string {
	var hosts []string
	for _, n := range nodes {
		if n.Client.Options().Network == "unix" {
			continue
		}
		if host, _, err := net.SplitHostPort(n.Addr); err == nil && host != "" {
			hosts = append(hosts, host)
		}
	}
	for _, addr := range Addrs(rawURL) {
		one := url.URL{Host: addr}
		hosts = append(hosts, one.Hostname())
	}
	return hosts
}

// Addrs returns the addresses that rawURL, which redisurl has accepted, names: the
// ports as they are there, and none of a unix socket.
func Addrs(rawURL string) []string {
	_, rest, _ := strings.Cut(rawURL, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if rest == "" {
		return nil
	}
	return strings.Split(rest, ",")
}

// IsLocal tells whether what is sent to host stays within this machine: each of its
// addresses is one of the loopback interface, or the unspecified one, which a dial
// takes for it. Of a name that cannot be resolved it says no. An address of this
// machine that others reach too is none, since they reach what listens there.
func IsLocal(ctx context.Context, host string) bool {
	host, _, _ = strings.Cut(host, "%") // the zone of an IPv6 address
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsUnspecified()
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	for _, a := range addrs {
		if !a.IP.IsLoopback() && !a.IP.IsUnspecified() {
			return false
		}
	}
	return err == nil
}
