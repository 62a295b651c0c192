package originals_test

import (
	"context"
	"encoding/gob"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alicebob/miniredis/v2"
	"github.com/boj/redistore"
	ginsessions "github.com/gin-contrib/sessions"
	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"
	rbcervilla "github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// address is a type of the application's own.
type address struct{ City string }

func init() {
	gob.Register(address{})
	gin.SetMode(gin.ReleaseMode)
}

const name = "sid"

var (
	hashKey  = []byte("0123456789abcdef0123456789abcdef")
	blockKey = []byte("fedcba9876543210")
)

// visit returns the cookie that h sets.
func visit(t *testing.T, h http.Handler) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	cookies := w.Result().Cookies()
	if w.Code != http.StatusOK || len(cookies) != 1 {
		t.Fatalf("got status %d and %d cookies, want 200 and one", w.Code, len(cookies))
	}
	return cookies[0]
}

// gorilla saves a session as gorilla's documentation does.
func gorilla(t *testing.T, store sessions.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := store.Get(r, name)
		if err != nil {
			t.Error(err)
		}
		s.Values["user_id"], s.Values["name"], s.Values["home"] = 42, "ada", address{City: "London"}
		if err := s.Save(r, w); err != nil {
			t.Error(err)
		}
	})
}

func start(t *testing.T) (addr string, client redis.UniversalClient) {
	t.Helper()
	server := miniredis.RunT(t)
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return server.Addr(), c
}

// check fails the test unless the session is found by its cookie, live, and by a
// walk, and is what was saved.
func check(t *testing.T, source importer.Source, legacy redsession.Legacy, cookie *http.Cookie, lifetime time.Duration) {
	t.Helper()
	if legacy.Cookie != cookie.Name {
		t.Errorf("got the cookie's name %q, want %q", legacy.Cookie, cookie.Name)
	}
	id, err := legacy.Verify(cookie.Value)
	if err != nil {
		t.Fatalf("got error %v for the cookie, want none", err)
	}
	rec, err := legacy.Load(t.Context(), id)
	if err != nil || rec == nil {
		t.Fatalf("live: got no session and error %v, want one", err)
	}
	found := []redsession.LegacyRecord{*rec}
	for read, err := range source.Sessions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		rec, _, err := read()
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, rec)
	}
	if len(found) != 2 {
		t.Fatalf("got %d sessions by a walk, want 1", len(found)-1)
	}
	for _, rec := range found {
		home, _ := rec.Values["home"].(map[string]any)
		if rec.ID != id || rec.Values["user_id"] != int64(42) || rec.Values["name"] != "ada" || home["City"] != "London" {
			t.Errorf("got another id or other values than were saved")
		}
		if left := time.Until(rec.ExpiresAt); left > lifetime || left < lifetime-time.Minute {
			t.Errorf("got %v to live, want %v", left, lifetime)
		}
	}
	stillLoggedIn(t, legacy, cookie)
	if rec, err := legacy.Load(t.Context(), id); rec != nil || err != nil {
		t.Errorf("after the new cookie: got a session and error %v, want neither", err)
	}
}

// stillLoggedIn sends the old cookie to a server of ours, which must know the
// user by it, and after that by the new cookie.
func stillLoggedIn(t *testing.T, legacy redsession.Legacy, cookie *http.Cookie) {
	t.Helper()
	_, client := start(t)
	load := legacy.Load
	legacy.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
		rec, err := load(ctx, id)
		if rec != nil {
			rec.UserID = rec.Values["name"].(string)
		}
		return rec, err
	}
	m, err := redsession.New(redsession.Config{
		Client: client, Secrets: [][]byte{hashKey}, RedisTimeout: time.Minute, Adopt: []redsession.Legacy{legacy},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		number, _ := redsession.Key[int]("user_id").Get(s)
		home, _ := redsession.Key[address]("home").Get(s)
		fmt.Fprint(w, s.UserID(), number, home.City)
	}))
	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(cookie)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got, want := w.Body.String(), "ada42London"; got != want {
			t.Fatalf("got %d %q, want %q", w.Code, got, want)
		}
		for _, set := range w.Result().Cookies() {
			if set.MaxAge >= 0 {
				cookie = set
			}
		}
	}
}

func TestGorillaFilesystemStore(t *testing.T) {
	for _, keys := range [][][]byte{{hashKey}, {hashKey, blockKey}} {
		dir := t.TempDir()
		cookie := visit(t, gorilla(t, sessions.NewFilesystemStore(dir, keys...)))
		check(t, importer.GorillaFiles(dir, name, keys...), importer.AdoptGorillaFiles(dir, name, keys...), cookie, 30*24*time.Hour)
	}
}

func TestRedistore(t *testing.T) {
	for _, serializer := range []redistore.SessionSerializer{redistore.GobSerializer{}, redistore.JSONSerializer{}} {
		addr, client := start(t)
		store, err := redistore.NewRediStore(4, "tcp", addr, "", "", hashKey, blockKey)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		store.SetSerializer(serializer)
		cookie := visit(t, gorilla(t, store))
		check(t, importer.Redistore(client, ""), importer.AdoptRedistore(client, "", name, hashKey, blockKey), cookie, 30*24*time.Hour)
	}
}

func TestRbcervilla(t *testing.T) {
	_, client := start(t)
	store, err := rbcervilla.NewRedisStore(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	store.Options(sessions.Options{Path: "/", MaxAge: 3600})
	source := importer.Rbcervilla(client, "")
	check(t, source, source.Adopt(name), visit(t, gorilla(t, store)), time.Hour)
}

func TestGinContrib(t *testing.T) {
	addr, client := start(t)
	store, err := ginredis.NewStore(4, "tcp", addr, "", "", hashKey)
	if err != nil {
		t.Fatal(err)
	}
	router := gin.New()
	router.Use(ginsessions.Sessions(name, store))
	router.GET("/", func(c *gin.Context) {
		s := ginsessions.Default(c)
		s.Set("user_id", 42)
		s.Set("name", "ada")
		s.Set("home", address{City: "London"})
		if err := s.Save(); err != nil {
			t.Error(err)
		}
	})
	check(t, importer.Redistore(client, ""), importer.AdoptRedistore(client, "", name, hashKey), visit(t, router), 30*24*time.Hour)
}

func TestSCS(t *testing.T) {
	for _, hashed := range []bool{false, true} {
		_, client := start(t)
		manager := scs.New()
		manager.Lifetime = 12 * time.Hour
		manager.HashTokenInStore = hashed
		manager.Store = goredisstore.New(client.(*redis.Client))
		source := importer.SCS(client, "")
		source.HashedTokens = hashed
		cookie := visit(t, manager.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			manager.Put(ctx, "user_id", 42)
			manager.Put(ctx, "name", "ada")
			manager.Put(ctx, "home", address{City: "London"})
		})))
		check(t, source, source.Adopt(""), cookie, 12*time.Hour)
	}
}
