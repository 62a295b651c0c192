package peer

import (
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
)

// idleConnections is what redistore keeps. Its README says 10, with which it dials anew all the time under the load of
// these measurements; this is the better for it.
const idleConnections = 256

const cookieName = "session"

// Gorilla is gorilla/sessions with boj/redistore. Expiry slides because every request saves, and the id changes at login
// by hand, for the library offers neither. The error of Get is ignored, as gorilla's README does.
var Gorilla = Peer{
	Name: "gorilla",
	Open: func(set Settings) (*Site, error) {
		store, err := redistore.NewRediStore(idleConnections, "tcp", set.Addr, "", "", secret)
		if err != nil {
			return nil, err
		}
		if set.Lifetime > 0 {
			store.SetMaxAge(int(set.Lifetime / time.Second))
		}
		return gorillaSite(store), nil
	},
	DefaultCookie: func(addr string) (string, error) {
		store, err := redistore.NewRediStore(idleConnections, "tcp", addr, "", "", secret)
		if err != nil {
			return "", err
		}
		defer store.Close()
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		s, _ := store.Get(r, cookieName)
		s.Values["user"] = "ada"
		err = s.Save(r, w)
		return w.Header().Get("Set-Cookie"), err
	},
}

func gorillaSite(store *redistore.RediStore) *Site {
	var pages pages
	handle := func(f func(http.ResponseWriter, *http.Request, *sessions.Session)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := store.Get(r, cookieName)
			f(w, r, s)
		})
	}
	fill := func(s *sessions.Session) {
		for _, p := range pairs {
			s.Values[p.key] = p.value
		}
	}
	return &Site{
		Read: handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			id, _ := s.Values["user_id"].(int)
			name, _ := s.Values["name"].(string)
			err := s.Save(r, w)
			answer(w, err == nil && id == wantID && name == wantName)
		}),
		Write: handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			id, _ := s.Values["user_id"].(int)
			s.Values["last_page"] = pages.next()
			err := s.Save(r, w)
			answer(w, err == nil && id == wantID)
		}),
		Login: handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			fill(s)
			err := renew(w, r, s)
			answer(w, err == nil)
		}),
		Fill: handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			fill(s)
			err := s.Save(r, w)
			answer(w, err == nil)
		}),
		Scripted: func(play Play) http.Handler {
			return handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
				play(w, r, &gorillaVisit{w: w, r: r, s: s})
			})
		},
		Close: store.Close,
	}
}

// renew stores the session under a new id and removes the old record.
func renew(w http.ResponseWriter, r *http.Request, s *sessions.Session) error {
	if !s.IsNew {
		age := s.Options.MaxAge
		s.Options.MaxAge = -1
		if err := s.Save(r, w); err != nil {
			return err
		}
		s.Options.MaxAge = age
		w.Header().Del("Set-Cookie")
	}
	s.ID = ""
	return s.Save(r, w)
}

type gorillaVisit struct {
	w     http.ResponseWriter
	r     *http.Request
	s     *sessions.Session
	fresh bool
}

func (v *gorillaVisit) Get(key string) any        { return v.s.Values[key] }
func (v *gorillaVisit) Set(key string, value any) { v.s.Values[key] = value }
func (v *gorillaVisit) Logout()                   { v.s.Options.MaxAge = -1 }

func (v *gorillaVisit) Increment(key string) {
	n, _ := v.s.Values[key].(int)
	v.s.Values[key] = n + 1
}

func (v *gorillaVisit) User() string {
	user, _ := v.s.Values["user"].(string)
	return user
}

func (v *gorillaVisit) Login(user string) {
	v.s.Values["user"] = user
	v.fresh = true
}

func (v *gorillaVisit) Save() error {
	if v.fresh {
		v.fresh = false
		return renew(v.w, v.r, v.s)
	}
	return v.s.Save(v.r, v.w)
}
