package redsessiontest

import (
	"net/http"
	"slices"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/sessioncookie"
)

// asideOf finds the request that a request of this package's is made for.
type asideOf struct{}

// byMode has the requests of this package's be of the mode of those that they are made for.
func (m *Manager) byMode(c *redsession.Cookie) {
	when := c.InsecureWhen
	c.InsecureWhen = func(r *http.Request) bool {
		if of, ok := r.Context().Value(asideOf{}).(*http.Request); ok {
			r = of
		}
		return when(r)
	}
	m.cookies, m.when = append(m.cookies, sessioncookie.BareName(c.Name)), when
}

// insecure tells whether r has the cookie that Cookie.InsecureWhen is about.
func (m *Manager) insecure(r *http.Request) bool { return m.when != nil && r.TLS == nil && m.when(r) }

// set returns the session cookies that res sets, by name.
func (m *Manager) set(res *http.Response) map[string]*http.Cookie {
	list := map[string]*http.Cookie{}
	for _, c := range res.Cookies() {
		if slices.Contains(m.cookies, c.Name) && list[c.Name] == nil {
			list[c.Name] = c
		}
	}
	return list
}
