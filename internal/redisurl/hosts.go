package redisurl

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// cutHosts takes all hosts but the first out of rawURL, since net/url knows of one
// alone, and returns them all.
func cutHosts(rawURL string) (rest string, hosts []string, err error) {
	scheme, after, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL, nil, nil
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	credentials, hosts, err := splitAuthority(after[:end])
	if err != nil {
		return "", nil, err
	}
	return scheme + "://" + credentials + hosts[0] + after[end:], hosts, nil
}

var (
	errCredentials = errors.New("has credentials behind a comma: write user and password once, before the first host, or the same before each, " +
		"and percent-encode @ and a comma in them; " + urlExamples)
	// hostFirst finds a host where user and password belong: "h1:6379,user:".
	hostFirst = regexp.MustCompile(`^(\[[^\]]*\]|[^:,]+)(:[0-9]+)?,|^,`)
)

// splitAuthority returns what stands before the first host, with its @, and the hosts.
// The others may repeat the same credentials. A host must never be taken for a part of
// the password: what could be either is refused.
func splitAuthority(authority string) (credentials string, hosts []string, err error) {
	at := strings.LastIndexByte(authority, '@') + 1
	credentials = authority[:at]
	if hostFirst.MatchString(credentials) {
		return "", nil, errCredentials
	}
	list := authority[at:]
	if strings.Count(credentials, "@") > 1 && strings.Contains(credentials, ",") {
		list = authority
	}
	for i, part := range strings.Split(list, ",") {
		at := strings.LastIndexByte(part, '@') + 1
		if i == 0 && at > 0 {
			credentials = part[:at]
		}
		if at > 0 && part[:at] != credentials {
			return "", nil, errCredentials
		}
		hosts = append(hosts, strings.TrimSpace(part[at:]))
	}
	return credentials, hosts, nil
}

// urlHosts returns the addresses that u names, with their ports.
func urlHosts(u *url.URL, kind string, list []string) ([]string, error) {
	if u.Scheme == "unix" {
		if u.Host != "" || u.Path == "" {
			return nil, errors.New("names no socket: " + urlExamples)
		}
		return nil, nil
	}
	port := "6379"
	if kind == "sentinel" {
		port = "26379"
	}
	var hosts []string
	for _, h := range list {
		one, err := url.Parse("redis://" + h)
		if err != nil || one.User != nil {
			return nil, errors.New("has something else where a host belongs: " + urlExamples)
		}
		if one.Hostname() == "" {
			return nil, errors.New("has no host, or an empty one: " + urlExamples)
		}
		hosts = append(hosts, net.JoinHostPort(one.Hostname(), cmp.Or(one.Port(), port)))
	}
	if kind == "" && len(hosts) > 1 {
		return nil, fmt.Errorf("names several hosts, which %s:// does not do: %s", u.Scheme, urlExamples)
	}
	return hosts, nil
}
