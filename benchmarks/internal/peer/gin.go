package peer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gin-contrib/sessions"
	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"
)

// Gin is gin-contrib/sessions with its Redis store on gin. A request saves when it set something, so the read sets what
// it read to make expiry slide. The library cannot change the id at login.
var Gin = Peer{
	Name: "gin",
	Open: func(set Settings) (*Site, error) {
		store, err := newGinStore(set.Addr)
		if err != nil {
			return nil, err
		}
		if set.Lifetime > 0 {
			store.Options(sessions.Options{Path: "/", MaxAge: int(set.Lifetime / time.Second)})
		}
		inner, err := ginredis.GetRedisStore(store)
		if err != nil {
			return nil, err
		}
		return ginSite(store, inner.Close), nil
	},
	DefaultCookie: func(addr string) (string, error) {
		store, err := newGinStore(addr)
		if err != nil {
			return "", err
		}
		w := httptest.NewRecorder()
		ginHandler(store, func(c *gin.Context, s sessions.Session) {
			s.Set("user", "ada")
			err = s.Save()
		}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Header().Get("Set-Cookie"), err
	},
}

func newGinStore(addr string) (ginredis.Store, error) {
	return ginredis.NewStore(idleConnections, "tcp", addr, "", "", secret)
}

func ginHandler(store sessions.Store, f func(*gin.Context, sessions.Session)) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultErrorWriter = io.Discard
	engine := gin.New()
	engine.Use(sessions.Sessions(cookieName, store))
	engine.Any("/*path", func(c *gin.Context) { f(c, sessions.Default(c)) })
	return engine
}

func ginSite(store sessions.Store, closeStore func() error) *Site {
	var pages pages
	handle := func(f func(*gin.Context, sessions.Session)) http.Handler { return ginHandler(store, f) }
	fill := func(s sessions.Session) {
		for _, p := range pairs {
			s.Set(p.key, p.value)
		}
	}
	filled := handle(func(c *gin.Context, s sessions.Session) {
		fill(s)
		err := s.Save()
		answer(c.Writer, err == nil)
	})
	return &Site{
		Read: handle(func(c *gin.Context, s sessions.Session) {
			id, _ := s.Get("user_id").(int)
			name, _ := s.Get("name").(string)
			s.Set("user_id", id)
			err := s.Save()
			answer(c.Writer, err == nil && id == wantID && name == wantName)
		}),
		Write: handle(func(c *gin.Context, s sessions.Session) {
			id, _ := s.Get("user_id").(int)
			s.Set("last_page", pages.next())
			err := s.Save()
			answer(c.Writer, err == nil && id == wantID)
		}),
		Login: filled,
		Fill:  filled,
		Scripted: func(play Play) http.Handler {
			return handle(func(c *gin.Context, s sessions.Session) {
				s.Get("user") // loads it
				play(c.Writer, c.Request, ginVisit{s})
			})
		},
		Close: closeStore,
	}
}

type ginVisit struct{ s sessions.Session }

func (v ginVisit) Get(key string) any        { return v.s.Get(key) }
func (v ginVisit) Set(key string, value any) { v.s.Set(key, value) }
func (v ginVisit) Login(user string)         { v.s.Set("user", user) }

func (v ginVisit) Increment(key string) {
	n, _ := v.s.Get(key).(int)
	v.s.Set(key, n+1)
}

func (v ginVisit) User() string {
	user, _ := v.s.Get("user").(string)
	return user
}

func (v ginVisit) Logout() {
	v.s.Clear()
	v.s.Options(sessions.Options{Path: "/", MaxAge: -1})
}

func (v ginVisit) Save() error {
	v.s.Set("seen", true) // saves a request that only read, too: expiry slides
	return v.s.Save()
}
