package peer

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

// SCS is alexedwards/scs with its go-redis store, LoadAndSave around the handler and RenewToken at login. IdleTimeout
// makes its expiry slide.
var SCS = Peer{
	Name: "scs",
	Open: func(set Settings) (*Site, error) {
		m, client := newSCS(set.Addr)
		m.IdleTimeout = cmp.Or(set.Lifetime, long)
		m.Lifetime = cmp.Or(set.Lifetime, 4*long)
		m.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) { // the default one, without the log line
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		}
		return scsSite(m, client), nil
	},
	DefaultCookie: func(addr string) (string, error) {
		m, client := newSCS(addr)
		w := httptest.NewRecorder()
		m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "user", "ada")
		})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Header().Get("Set-Cookie"), client.Close()
	},
}

func newSCS(addr string) (*scs.SessionManager, *redis.Client) {
	client := goRedis(addr)
	m := scs.New()
	m.Store = goredisstore.New(client)
	return m, client
}

func scsSite(m *scs.SessionManager, client *redis.Client) *Site {
	var pages pages
	fill := func(ctx context.Context) {
		for _, p := range pairs {
			m.Put(ctx, p.key, p.value)
		}
	}
	handle := func(f http.HandlerFunc) http.Handler { return m.LoadAndSave(f) }
	return &Site{
		Read: handle(func(w http.ResponseWriter, r *http.Request) {
			answer(w, m.GetInt(r.Context(), "user_id") == wantID && m.GetString(r.Context(), "name") == wantName)
		}),
		Write: handle(func(w http.ResponseWriter, r *http.Request) {
			ok := m.GetInt(r.Context(), "user_id") == wantID
			m.Put(r.Context(), "last_page", pages.next())
			answer(w, ok)
		}),
		Login: handle(func(w http.ResponseWriter, r *http.Request) {
			err := m.RenewToken(r.Context())
			fill(r.Context())
			answer(w, err == nil)
		}),
		Fill: handle(func(w http.ResponseWriter, r *http.Request) {
			fill(r.Context())
			answer(w, true)
		}),
		Scripted: func(play Play) http.Handler {
			return handle(func(w http.ResponseWriter, r *http.Request) { play(w, r, &scsVisit{m: m, ctx: r.Context()}) })
		},
		Close: client.Close,
	}
}

type scsVisit struct {
	m   *scs.SessionManager
	ctx context.Context
	err error
}

func (v *scsVisit) Get(key string) any        { return v.m.Get(v.ctx, key) }
func (v *scsVisit) Set(key string, value any) { v.m.Put(v.ctx, key, value) }
func (v *scsVisit) Increment(key string)      { v.m.Put(v.ctx, key, v.m.GetInt(v.ctx, key)+1) }
func (v *scsVisit) User() string              { return v.m.GetString(v.ctx, "user") }

func (v *scsVisit) Login(user string) {
	v.err = v.m.RenewToken(v.ctx)
	v.m.Put(v.ctx, "user", user)
}

func (v *scsVisit) Logout()     { v.err = v.m.Destroy(v.ctx) }
func (v *scsVisit) Save() error { return v.err }
