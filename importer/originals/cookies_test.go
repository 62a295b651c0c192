package originals_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	gincookie "github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// server returns a server of ours that takes these over.
func server(t *testing.T, adopt ...redsession.Legacy) (*redsession.Manager, http.Handler) {
	t.Helper()
	_, client := start(t)
	m, err := redsession.New(redsession.Config{
		Client: client, Secrets: [][]byte{hashKey}, RedisTimeout: time.Minute, Adopt: adopt, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m, m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if r.URL.Path == "/logout" {
			s.Logout()
		}
		number, _ := redsession.Key[int]("user_id").Get(s)
		home, _ := redsession.Key[address]("home").Get(s)
		cart, _ := redsession.Key[string]("cart").Get(s)
		fmt.Fprintf(w, "%s %d %s %s", s.UserID(), number, home.City, cart)
	}))
}

func byName(rec redsession.LegacyRecord) string {
	name, _ := rec.Values["name"].(string)
	return name
}

func TestGorillaCookieStore(t *testing.T) {
	other := []byte("another key of thirty-two bytes!")
	for _, row := range []struct {
		name          string
		writes, reads [][]byte
		want          string
	}{
		{"signed", [][]byte{hashKey}, [][]byte{hashKey}, "ada 42 London "},
		{"encrypted", [][]byte{hashKey, blockKey}, [][]byte{hashKey, blockKey}, "ada 42 London "},
		{"after a change of keys", [][]byte{hashKey, blockKey}, [][]byte{other, nil, hashKey, blockKey}, "ada 42 London "},
		{"signed before it was encrypted by the same key", [][]byte{hashKey}, [][]byte{hashKey, blockKey, hashKey, nil}, "ada 42 London "},
		{"with another key", [][]byte{other}, [][]byte{hashKey}, " 0  "},
	} {
		t.Run(row.name, func(t *testing.T) {
			cookie := visit(t, gorilla(t, sessions.NewCookieStore(row.writes...)))
			source := importer.GorillaCookie(name, row.reads...)
			source.UserID = byName
			_, h := server(t, source.Adopt())
			j := jar{name: cookie}
			for range 2 {
				if got := j.get(h, "/"); got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			}
			if j[name] != nil && row.want[0] == 'a' {
				t.Error("the old cookie is still there")
			}
		})
	}
}

func TestGinCookieStore(t *testing.T) {
	router := gin.New()
	router.Use(ginsessions.Sessions(name, gincookie.NewStore(hashKey, blockKey)))
	router.GET("/", func(c *gin.Context) {
		s := ginsessions.Default(c)
		s.Set("user_id", 42)
		s.Set("name", "ada")
		s.Set("home", address{City: "London"})
		if err := s.Save(); err != nil {
			t.Error(err)
		}
	})
	source := importer.GorillaCookie(name, hashKey, blockKey)
	source.UserID = byName
	_, h := server(t, source.Adopt())
	j := jar{name: visit(t, router)}
	if got := j.get(h, "/"); got != "ada 42 London " {
		t.Errorf("got %q, want ada's session", got)
	}
}

// TestTwoSessionNames has a browser with a cart in one of gorilla's sessions and a login in another.
func TestTwoSessionNames(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct {
		name  string
		store sessions.Store
		adopt func(name string) redsession.Legacy
	}{
		{"inside cookies", sessions.NewCookieStore(hashKey), func(name string) redsession.Legacy {
			source := importer.GorillaCookie(name, hashKey)
			source.Label, source.UserID = "gorilla-"+name, byName
			return source.Adopt()
		}},
		{"in files", sessions.NewFilesystemStore(dir, hashKey), func(name string) redsession.Legacy {
			source := importer.GorillaFiles(dir, name, hashKey)
			source.Label, source.UserID = "gorilla-"+name, byName
			return source.Adopt()
		}},
	} {
		for _, order := range [][2]string{{"cart", "login"}, {"login", "cart"}} {
			t.Run(fmt.Sprint(row.name, ", ", order), func(t *testing.T) {
				m, h := server(t, row.adopt(order[0]), row.adopt(order[1]))
				j := jar{}
				j.get(putting(t, row.store, "cart", "cart", "tea"), "/")
				j.get(putting(t, row.store, "login", "name", "ada"), "/")
				if len(j) != 2 {
					t.Fatalf("got %d cookies, want two", len(j))
				}
				for range 2 {
					if got := j.get(h, "/"); got != "ada 0  tea" {
						t.Errorf("got %q, want ada with her cart", got)
					}
				}
				if j["cart"] != nil || j["login"] != nil {
					t.Error("an old cookie is still there")
				}
				if infos, err := m.Sessions(t.Context(), "ada"); len(infos) != 1 || err != nil {
					t.Errorf("got %d sessions and error %v, want one", len(infos), err)
				}
			})
		}
	}
}

// putting puts one value into the session of this name.
func putting(t *testing.T, store sessions.Store, name, key, value string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, name)
		s.Values[key] = value
		if err := s.Save(r, w); err != nil {
			t.Error(err)
		}
	})
}

// TestARollingDeployFromACookieStoreLogsNobodyOut has browsers talk to a server that keeps sessions inside the cookie, and
// writes it anew with each request, and to one of ours in turn.
func TestARollingDeployFromACookieStoreLogsNobodyOut(t *testing.T) {
	store := sessions.NewCookieStore(hashKey, blockKey)
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, name)
		if r.URL.Path == "/login" {
			s.Values["name"] = r.URL.Query().Get("user")
		}
		n, _ := s.Values["n"].(int)
		s.Values["n"] = n + 1
		if err := s.Save(r, w); err != nil {
			t.Error(err)
		}
		user, _ := s.Values["name"].(string)
		_, _ = io.WriteString(w, user)
	})
	source := importer.GorillaCookie(name, hashKey, blockKey)
	source.UserID = byName
	legacy := source.Adopt()
	legacy.SideBySide = true
	m, ours := server(t, legacy)
	for user, first := range map[string]string{"ada": "a login at an old server", "bob": "a visit to a new server, then a login at an old one"} {
		t.Run(first, func(t *testing.T) {
			j := jar{}
			if strings.Contains(first, "visit") {
				j.get(ours, "/")
			}
			j.get(old, "/login?user="+user)
			earlier := jar{name: j[name]}
			for i := range 50 {
				for kind, h := range map[string]http.Handler{"gorilla": old, "ours": ours} {
					if got, _, _ := strings.Cut(j.get(h, "/"), " "); got != user {
						t.Fatalf("round %d, %s: got user %q, want %s", i, kind, got, user)
					}
				}
			}
			if infos, err := m.Sessions(t.Context(), user); len(infos) != 1 || err != nil {
				t.Errorf("got %d sessions and error %v, want one", len(infos), err)
			}
			stale := jar{name: j[name]}
			j.get(ours, "/logout")
			for kind, b := range map[string]jar{"the browser": j, "the last value": stale, "the first value": earlier} {
				if got := b.get(ours, "/"); got != " 0  " {
					t.Errorf("%s, after the logout: got %q, want nobody", kind, got)
				}
			}
			if got := j.get(old, "/"); got != "" {
				t.Errorf("the browser at an old server, after the logout: got %q, want nobody", got)
			}
		})
	}
}
