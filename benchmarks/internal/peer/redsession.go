package peer

import (
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/redsession/redsession"
)

// Redsession is this project, with its defaults but for plain HTTP and a silent log: the peers log no logins.
var Redsession = Peer{
	Name: "redsession",
	Open: func(set Settings) (*Site, error) {
		c := redsession.Config{
			URL: "redis://" + set.Addr, Secrets: [][]byte{secret}, Logger: slog.New(slog.DiscardHandler),
			Cookie: redsession.Cookie{InsecurePlainHTTP: true},
		}
		c.IdleTimeout = set.Lifetime
		c.AnonymousTimeout = set.Lifetime
		m, err := redsession.New(c)
		if err != nil {
			return nil, err
		}
		return redsessionSite(m), nil
	},
	DefaultCookie: func(addr string) (string, error) {
		m, err := redsession.New(redsession.Config{
			URL: "redis://" + addr, Secrets: [][]byte{secret}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return "", err
		}
		w := httptest.NewRecorder()
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			redsession.FromContext(r.Context()).Login("ada")
		})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Header().Get("Set-Cookie"), m.Close()
	},
}

func redsessionSite(m *redsession.Manager) *Site {
	const userID, name, lastPage = redsession.Key[int]("user_id"), redsession.Key[string]("name"), redsession.Key[string]("last_page")
	var pages pages
	handle := func(f func(http.ResponseWriter, *http.Request, *redsession.Session)) http.Handler {
		return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f(w, r, redsession.FromContext(r.Context()))
		}))
	}
	fill := func(s *redsession.Session) {
		for _, p := range pairs {
			redsession.Key[any](p.key).Set(s, p.value)
		}
	}
	return &Site{
		Read: handle(func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			id, _ := userID.Get(s)
			n, _ := name.Get(s)
			answer(w, id == wantID && n == wantName)
		}),
		Write: handle(func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			id, _ := userID.Get(s)
			lastPage.Set(s, pages.next())
			answer(w, id == wantID)
		}),
		Login: handle(func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			s.Login(r.Header.Get(UserHeader))
			fill(s)
			answer(w, true)
		}),
		Fill: handle(func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			fill(s)
			answer(w, true)
		}),
		Scripted: func(play Play) http.Handler {
			return handle(func(w http.ResponseWriter, r *http.Request, s *redsession.Session) { play(w, r, redsessionVisit{s}) })
		},
		Close: m.Close,
	}
}

type redsessionVisit struct{ s *redsession.Session }

func (v redsessionVisit) Get(key string) any {
	value, ok := redsession.Key[any](key).Get(v.s)
	if !ok {
		return nil
	}
	if n, ok := value.(float64); ok { // as JSON has it
		return int(n)
	}
	return value
}

func (v redsessionVisit) Set(key string, value any) { redsession.Key[any](key).Set(v.s, value) }

func (v redsessionVisit) Increment(key string) {
	redsession.Key[int](key).Update(v.s, func(n int) int { return n + 1 })
}
func (v redsessionVisit) Login(user string) { v.s.Login(user) }
func (v redsessionVisit) User() string      { return v.s.UserID() }
func (v redsessionVisit) Logout()           { v.s.Logout() }
func (v redsessionVisit) Save() error       { return nil }
