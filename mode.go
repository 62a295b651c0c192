package redsession

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/redsession/redsession/internal/sessioncookie"
)

// checkInsecureWhen refuses what would leave requests without a cookie, or with one for all.
func (c Cookie) checkInsecureWhen() error {
	if c.InsecureWhen == nil {
		return nil
	}
	var errs []error
	refuse := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf("Config.Cookie.InsecureWhen "+format, args...))
		}
	}
	bare := sessioncookie.BareName(c.Name)
	refuse(c.InsecurePlainHTTP, "and InsecurePlainHTTP (REDSESSION_INSECURE) exclude each other: the latter leaves no cookie Secure")
	refuse(bare == c.Name && !c.InsecurePlainHTTP, `needs two names of cookies, and Name %q has no prefix to leave out: leave it empty, or set %q`, c.Name, "__Host-"+c.Name)
	refuse(bare == "", "needs a name for its cookie, and Name %q is nothing but a prefix", c.Name)
	refuse(c.Domain != "", "and Domain exclude each other: without a prefix every page of a subdomain can plant the cookie")
	refuse(c.Partitioned, "and Partitioned exclude each other: that demands Secure")
	refuse(c.SameSite == http.SameSiteNoneMode, "and SameSite None exclude each other: that demands Secure")
	return errors.Join(errs...)
}

// cookieName is that of the cookie that the request's mode has.
func (s *Session) cookieName() string { return s.m.cookies.Name(s.came.Insecure) }

// warnOfMode says once, in the log, that browsers will not keep the cookies of this site, or
// that they would keep safer ones.
func (s *Session) warnOfMode() {
	m, log := s.m, s.m.cfg.Logger
	switch {
	case m.cfg.Cookie.InsecurePlainHTTP || s.came.Cookie || s.came.Header:
	case s.came.Insecure:
		if !ownMachine(s.r.Host) && tellsHTTPS(s.r) && m.insecureTold.CompareAndSwap(false, true) {
			log.Warn("Cookie.InsecureWhen names a request that seems to have come over HTTPS, so that its session's cookie is not Secure: "+
				"behind a proxy that ends TLS the function must go by what the proxy says, such as X-Forwarded-Proto", "host", s.r.Host)
		}
	case overPlainHTTP(s.r) && m.plainHTTP.CompareAndSwap(false, true):
		log.Warn("session cookies are sent over plain HTTP, and browsers drop them since they are Secure: serve HTTPS, "+
			"have the proxy that ends TLS set X-Forwarded-Proto, have Cookie.InsecureWhen name such requests, or, for development alone, set Cookie.InsecurePlainHTTP", "host", s.r.Host)
	}
}

// overPlainHTTP tells whether r seems to have come over plain HTTP all the way, to a name
// that browsers do not trust without TLS.
func overPlainHTTP(r *http.Request) bool {
	return r.TLS == nil && !ownMachine(r.Host) && !tellsHTTPS(r)
}

// tellsHTTPS tells whether the header of r says that the browser has made it over HTTPS. Any
// client can say so.
func tellsHTTPS(r *http.Request) bool {
	for name, values := range r.Header {
		for _, v := range values {
			switch v = strings.ToLower(v); {
			case strings.HasPrefix(name, "Sec-Fetch-"): // sent over HTTPS alone
				return true
			case name == "X-Forwarded-Proto", name == "X-Forwarded-Scheme", name == "X-Forwarded-Protocol", name == "X-Url-Scheme":
				if first, _, _ := strings.Cut(v, ","); strings.TrimSpace(first) == "https" {
					return true
				}
			case name == "X-Forwarded-Ssl", name == "Front-End-Https":
				if v == "on" {
					return true
				}
			case name == "Forwarded":
				if strings.Contains(v, "proto=https") || strings.Contains(v, `proto="https"`) {
					return true
				}
			case name == "Origin", name == "Referer":
				if u, err := url.Parse(v); err == nil && u.Scheme == "https" && u.Host == strings.ToLower(r.Host) {
					return true
				}
			}
		}
	}
	return false
}

// ownMachine tells whether host, with or without a port, names the browser's own machine.
func ownMachine(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
