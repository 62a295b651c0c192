package importer_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// What follows, up to the tests, is the recipes of docs/migrating*.md, word for word: TestRecipesAreThoseOfTheDocs.

var (
	authKey, encKey = gorillaKey, []byte("fedcba9876543210")
	secretKey       = "keyboard cat"
)

// recipe is one: it completes cfg for sessions in a folder, in an old Redis, or in a store of scs.
type recipe func(cfg *redsession.Config, dir string, old redis.UniversalClient, store importer.SCSStore) importer.Source

func userID(rec redsession.LegacyRecord) string { return fmt.Sprint(rec.Values["user_id"]) }

func userName(rec redsession.LegacyRecord) string { return rec.Values["name"].(string) }

var recipes = map[string]recipe{
	"Odoo": func(cfg *redsession.Config, dir string, _ redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.Odoo(dir)         // "/var/lib/odoo/sessions"
		source.Lifetime = 7 * 24 * time.Hour // from the file's last change; this is the default
		cfg.Adopt = []redsession.Legacy{source.Adopt()}
		return source
	},
	"OdooRedis": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.OdooRedis(old, "session::prod:") // "" for session:
		cfg.Adopt = []redsession.Legacy{source.Adopt()}
		return source
	},
	"GorillaFiles": func(cfg *redsession.Config, dir string, _ redis.UniversalClient, _ importer.SCSStore) importer.Source {
		gob.Register(User{})
		source := importer.GorillaFiles(dir, "mysession", authKey, encKey)
		source.UserID = func(rec redsession.LegacyRecord) string {
			if id, ok := rec.Values["user_id"].(int64); ok { // every whole number is an int64
				return fmt.Sprint(id)
			}
			return ""
		}
		cfg.Adopt = []redsession.Legacy{source.Adopt()}
		return source
	},
	"Redistore": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.Redistore(old, "session_")
		source.UserID = userID
		cfg.Adopt = []redsession.Legacy{source.Adopt("mysession", authKey, encKey)}
		return source
	},
	"Rbcervilla": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.Rbcervilla(old, "session:")
		source.UserID = userID
		cfg.Adopt = []redsession.Legacy{source.Adopt("mysession")}
		return source
	},
	"SCS": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		gob.Register(User{}) // every type that is in the old sessions
		source := importer.SCS(old, "scs:session:")
		source.HashedTokens = false // scs's HashTokenInStore
		source.UserID = func(rec redsession.LegacyRecord) string {
			user, _ := rec.Values["user"].(map[string]any) // a User, as its JSON
			name, _ := user["Name"].(string)
			return name
		}
		cfg.Adopt = []redsession.Legacy{source.Adopt("session")}
		return source
	},
	"SCSIn": func(cfg *redsession.Config, _ string, _ redis.UniversalClient, store importer.SCSStore) importer.Source {
		source := importer.SCSIn(store)    // postgresstore.New(db)
		source.Lifetime = 20 * time.Minute // scs's IdleTimeout, if you have one
		source.UserID = userID
		cfg.Adopt = []redsession.Legacy{source.Adopt("session")}
		return source
	},
	"ConnectRedis": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.ConnectRedis(old, "sess:")              // or importer.ExpressFiles("sessions")
		source.UserID = func(rec redsession.LegacyRecord) string { // of Passport
			passport, _ := rec.Values["passport"].(map[string]any)
			if passport["user"] == nil {
				return ""
			}
			return fmt.Sprint(passport["user"])
		}
		cfg.Adopt = []redsession.Legacy{source.Adopt("connect.sid", os.Getenv("SESSION_SECRET"))}
		return source
	},
	"PHPFiles": func(cfg *redsession.Config, dir string, _ redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.PHPFiles(dir)   // "/var/lib/php/sessions"
		source.Lifetime = 24 * time.Minute // session.gc_maxlifetime
		source.UserID = func(rec redsession.LegacyRecord) string {
			name, _ := rec.Values["username"].(string)
			return name
		}
		cfg.Adopt = []redsession.Legacy{source.Adopt("PHPSESSID")}
		return source
	},
	"PHPRedis": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.PHPRedis(old, "PHPREDIS_SESSION:")
		source.UserID = userName
		cfg.Adopt = []redsession.Legacy{source.Adopt("PHPSESSID")}
		return source
	},
	"FlaskRedis": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.FlaskRedis(old, "session:")
		source.UserID = func(rec redsession.LegacyRecord) string { // of Flask-Login
			id, _ := rec.Values["_user_id"].(string)
			return id
		}
		cfg.Adopt = []redsession.Legacy{source.Adopt("session", secretKey)}
		return source
	},
	"DjangoRedis": func(cfg *redsession.Config, _ string, old redis.UniversalClient, _ importer.SCSStore) importer.Source {
		source := importer.DjangoRedis(old, ":1:django.contrib.sessions.cache") // KEY_PREFIX:VERSION:django.contrib.sessions.cache
		cfg.Adopt = []redsession.Legacy{source.Adopt("sessionid")}
		return source
	},
}

func recipeAhead(ctx context.Context, m *redsession.Manager, source importer.Source) error {
	report, err := importer.Run(ctx, m, source, importer.Options{Rate: 5000})
	fmt.Println(report)
	return err
}

func recipeAtTheStart(ctx context.Context, m *redsession.Manager, source importer.Source) {
	go func() {
		report, err := importer.Once(ctx, m, source, importer.Options{Rate: 5000})
		log.Printf("sessions: %v\n%v", err, report)
	}()
}

func recipeRolling(cfg *redsession.Config, source *importer.SCSRecords) {
	legacy := source.Adopt("session")
	legacy.SideBySide = true
	cfg.Adopt = []redsession.Legacy{legacy}
}

func recipeInside(cfg *redsession.Config) *importer.GorillaCookies {
	gob.Register(User{}) // every type that is in the old sessions
	source := importer.GorillaCookie("mysession", authKey, encKey)
	source.Lifetime = 30 * 24 * time.Hour // the store's MaxAge; this is the default
	source.UserID = userID
	cfg.Adopt = []redsession.Legacy{source.Adopt()}
	return source
}

func recipeInsideRolling(cfg *redsession.Config, source *importer.GorillaCookies) {
	legacy := source.Adopt()
	legacy.SideBySide = true
	cfg.Adopt = []redsession.Legacy{legacy}
}

func recipeInsideOwn(cfg *redsession.Config, verify func(string) (ownSession, error)) {
	cfg.Adopt = []redsession.Legacy{{
		Source: "shop", Cookie: "shop", MaxAge: 24 * time.Hour,
		Decode: func(value string) (*redsession.LegacyRecord, error) {
			s, err := verify(value) // what the old program does with its cookie
			if err != nil {
				return nil, err // told as refused; the request goes on without
			}
			return &redsession.LegacyRecord{
				UserID: s.User, Values: s.Values,
				CreatedAt: s.Signed, ExpiresAt: s.Signed.Add(24 * time.Hour),
			}, nil
		},
	}}
}

// ownSession is what an application keeps in its cookie, or in a table.
type ownSession struct {
	User                      string
	Values                    map[string]any
	Signed, LoggedIn, Expires time.Time
}

func recipeOwn(cfg *redsession.Config, signature func(string) string, find func(context.Context, string) (*ownSession, error), remove func(context.Context, string) error) {
	cfg.Adopt = []redsession.Legacy{{
		Source: "table",     // names the kind; lower-case letters, digits and hyphens
		Cookie: "sessionid", // as the old program called it
		Verify: func(value string) (string, error) { // nil if the cookie is nothing but the id
			id, claimed, _ := strings.Cut(value, ".")
			if !hmac.Equal([]byte(claimed), []byte(signature(id))) {
				return "", errors.New("forged") // never show the value
			}
			return id, nil
		},
		Load: func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			row, err := find(ctx, id)
			if err != nil || row == nil {
				return nil, err // an error is 503, and no row is a stranger
			}
			return &redsession.LegacyRecord{
				UserID: row.User, Values: row.Values,
				CreatedAt: row.LoggedIn, ExpiresAt: row.Expires, Persistent: true,
			}, nil
		},
		Delete: remove, // nil leaves it there; it is not taken over again all the same
	}}
}

// TestRecipesAreThoseOfTheDocs has what the pages show be what is compiled and run here.
func TestRecipesAreThoseOfTheDocs(t *testing.T) {
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	var code string
	for _, file := range []string{"recipes_test.go", "example_test.go"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code += words(string(data))
	}
	found := 0
	for _, page := range []string{"migrating.md", "migrating-inside-cookies.md", "migrating-own-store.md"} {
		data, err := os.ReadFile("../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
			if found++; !strings.Contains(code, words(block[1])) {
				t.Errorf("%s: no test runs\n%s", page, block[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("got %d recipes, want 20 at least", found)
	}
}

// oldServer makes a server of ours from cfg, and returns what it says to a browser with this old cookie: the user.
func whoHas(t *testing.T, cfg redsession.Config, cookie string) string {
	t.Helper()
	_, cfg.Client = startRedis(t)
	cfg.Secrets, cfg.RedisTimeout, cfg.Logger = [][]byte{gorillaKey}, time.Minute, slog.New(slog.DiscardHandler)
	m, err := redsession.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", cfg.Adopt[0].Cookie+"="+cookie)
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, redsession.FromContext(r.Context()).UserID())
	})).ServeHTTP(w, r)
	return w.Body.String()
}

// scsMemory is a store of scs.
type scsMemory map[string][]byte

func (s scsMemory) Find(token string) ([]byte, bool, error) {
	b, ok := s[token]
	return b, ok, nil
}

func (s scsMemory) Delete(token string) error {
	delete(s, token)
	return nil
}

func (s scsMemory) All() (map[string][]byte, error) { return s, nil }

func TestRecipes(t *testing.T) {
	t.Setenv("SESSION_SECRET", "keyboard cat")
	type scsData struct {
		Deadline time.Time
		Values   map[string]any
	}
	gob.Register(User{})
	soon := time.Now().Add(time.Hour)
	values := map[any]any{"user_id": 42}
	passport := strings.Replace(expressRaw, `"user_id":42`, `"passport":{"user":42}`, 1)
	flask := "51769844-3d2c-4bba-af22-8d8bec5821bc"
	signedFlask := flask + "." + base64.RawURLEncoding.EncodeToString(hmacSHA1(hmacSHA1([]byte(secretKey), "flask-session"), flask))
	for _, row := range []struct {
		recipe, place, body string // a file, a key, or a token of scs
		cookie, want        string
	}{
		{"Odoo", "tK/" + sid84, odooJSON, sid84, "2"},
		{"OdooRedis", "session::prod:" + sid84, odooJSON, sid84, "2"},
		{"GorillaFiles", "session_" + gorillaID, secure(t, "mysession", values, authKey, encKey), secure(t, "mysession", gorillaID, authKey, encKey), "42"},
		{"Redistore", "session_" + gorillaID, gorillaGob, secure(t, "mysession", gorillaID, authKey, encKey), "42"},
		{"Rbcervilla", "session:" + strings.Repeat("A", 103), gorillaGob, strings.Repeat("A", 103), "42"},
		{"SCS", "scs:session:" + scsToken, encodeGob(t, scsData{soon, map[string]any{"user": User{"ada"}}}), scsToken, "ada"},
		{"SCSIn", scsToken, encodeGob(t, scsData{soon, map[string]any{"user_id": 42}}), scsToken, "42"},
		{"ConnectRedis", "sess:" + expressID, passport, expressCookie("keyboard cat", expressID), "42"},
		{"PHPFiles", "sess_" + phpID, `username|s:3:"ada";`, phpID, "ada"},
		{"PHPRedis", "PHPREDIS_SESSION:" + phpID, `name|s:3:"ada";`, phpID, "ada"},
		{"FlaskRedis", "session:" + flask, `{"_user_id":"7"}`, signedFlask, "7"},
		{"DjangoRedis", ":1:django.contrib.sessions.cache" + phpID, `{"_auth_user_id":"7"}`, phpID, "7"},
	} {
		t.Run(row.recipe, func(t *testing.T) {
			dir, store := t.TempDir(), scsMemory{}
			_, old := startRedis(t)
			put(t, dir, row.place, row.body, 0)
			old.Set(t.Context(), row.place, row.body, time.Hour)
			store[row.place] = []byte(row.body)
			var cfg redsession.Config
			source := recipes[row.recipe](&cfg, dir, old, store)
			s := newSink()
			run(t, s, source, importer.Options{})
			if got := s.only(t).UserID; got != row.want {
				t.Errorf("at once: got user %q, want %q", got, row.want)
			}
			if got := whoHas(t, cfg, row.cookie); got != row.want {
				t.Errorf("live: got user %q, want %q", got, row.want)
			}
		})
	}
	if len(recipes) != 12 {
		t.Errorf("got %d recipes, want 12", len(recipes))
	}
}

func TestRecipesInsideCookies(t *testing.T) {
	var cfg, rolling, own redsession.Config
	value := secure(t, "mysession", map[any]any{"user_id": 42}, authKey, encKey)
	source := recipeInside(&cfg)
	recipeInsideRolling(&rolling, source)
	recipeInsideOwn(&own, func(value string) (ownSession, error) {
		if value != "genuine" {
			return ownSession{}, errors.New("forged")
		}
		return ownSession{User: "42", Signed: time.Now()}, nil
	})
	for _, row := range []struct {
		name, value, want string
		cfg               redsession.Config
	}{
		{"gorilla", value, "42", cfg},
		{"gorilla, forged", value[:20], "", cfg},
		{"gorilla, side by side", value, "42", rolling},
		{"one's own", "genuine", "42", own},
		{"one's own, forged", "forged", "", own},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := whoHas(t, row.cfg, row.value); got != row.want {
				t.Errorf("got user %q, want %q", got, row.want)
			}
		})
	}
}

func TestRecipesOfOnesOwn(t *testing.T) {
	var cfg redsession.Config
	removed := ""
	recipeOwn(&cfg, func(string) string { return "signed" }, func(_ context.Context, id string) (*ownSession, error) {
		if id != "one" {
			return nil, nil
		}
		return &ownSession{User: "ada", LoggedIn: time.Now(), Expires: time.Now().Add(time.Hour)}, nil
	}, func(_ context.Context, id string) error {
		removed = id
		return nil
	})
	for value, want := range map[string]string{"one.signed": "ada", "two.signed": "", "one.forged": "", "one": ""} {
		if got := whoHas(t, cfg, value); got != want {
			t.Errorf("%s: got user %q, want %q", value, got, want)
		}
	}
	if removed != "one" {
		t.Errorf("got %q removed, want one", removed)
	}
}

func TestRecipesOfImporting(t *testing.T) {
	_, client := startRedis(t)
	m, err := redsession.New(redsession.Config{Client: client, Secrets: [][]byte{gorillaKey}, RedisTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := recipeAhead(t.Context(), m, table{}); err != nil {
		t.Error(err)
	}
	list, err := m.Sessions(t.Context(), "alice")
	if err != nil || len(list) != 2 {
		t.Errorf("got %d sessions and error %v, want two", len(list), err)
	}
	log.SetOutput(t.Output())
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	recipeAtTheStart(t.Context(), m, table{})
	for client.HGet(t.Context(), "session:import:table", "done").Val() == "" {
		time.Sleep(time.Millisecond)
	}
	var cfg redsession.Config
	if recipeRolling(&cfg, importer.SCS(client, "")); len(cfg.Adopt) != 1 || !cfg.Adopt[0].SideBySide {
		t.Errorf("got %d entries, want one side by side", len(cfg.Adopt))
	}
}

func hmacSHA1(key []byte, text string) []byte {
	mac := hmac.New(sha1.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
