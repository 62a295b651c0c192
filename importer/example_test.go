package importer_test

import (
	"context"
	"encoding/gob"
	"fmt"
	"iter"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// User is what an application kept in its gorilla or scs sessions.
type User struct{ Name string }

func ExampleRun() {
	ctx := context.Background()
	cfg, err := redsession.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	m, err := redsession.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	report, err := importer.Run(ctx, m, importer.Odoo("/var/lib/odoo/sessions"), importer.Options{
		DryRun:   true, // only counts
		Progress: func(r importer.Report) { log.Printf("%d found", r.Found) },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report)
}

func ExampleOnce() {
	cfg, err := redsession.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	source := importer.Odoo("/var/lib/odoo/sessions")
	cfg.Adopt = []redsession.Legacy{source.Adopt()} // leads the old cookies to the imported sessions
	m, err := redsession.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	go func() { // the server need not wait: Adopt reads what is not imported yet
		report, err := importer.Once(context.Background(), m, source, importer.Options{Rate: 5000})
		if err != nil {
			log.Printf("importing sessions: %v", err)
		}
		log.Printf("sessions:\n%v", report)
	}()
}

func ExampleSCSRecords_Adopt() {
	gob.Register(User{}) // every type that is in the old sessions
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	source := importer.SCS(old, "")
	source.UserID = func(rec redsession.LegacyRecord) string {
		user, _ := rec.Values["user"].(map[string]any) // a User, as its JSON
		name, _ := user["Name"].(string)
		return name
	}
	legacy := source.Adopt("session")
	legacy.SideBySide = true // while old servers run
	_ = redsession.Config{Adopt: []redsession.Legacy{legacy}}
}

func ExampleAdoptRedistore() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	authentication, encryption := []byte(os.Getenv("AUTH_KEY")), []byte(os.Getenv("ENC_KEY"))
	_ = redsession.Config{Adopt: []redsession.Legacy{
		importer.AdoptRedistore(old, "session_", "mysession", authentication, encryption),
	}}
}

func ExampleGorillaFolder() {
	source := importer.GorillaFiles("/var/lib/app/sessions", "mysession", []byte(os.Getenv("AUTH_KEY")))
	source.UserID = func(rec redsession.LegacyRecord) string {
		if id, ok := rec.Values["user_id"].(int64); ok { // every whole number is an int64
			return fmt.Sprint(id)
		}
		return ""
	}
	_ = redsession.Config{Adopt: []redsession.Legacy{source.Adopt()}}
}

func ExampleConnectRedisRecords_Adopt() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	source := importer.ConnectRedis(old, "sess:")
	source.UserID = func(rec redsession.LegacyRecord) string { // of Passport
		passport, _ := rec.Values["passport"].(map[string]any)
		if passport["user"] == nil {
			return ""
		}
		return fmt.Sprint(passport["user"])
	}
	_ = redsession.Config{Adopt: []redsession.Legacy{source.Adopt("connect.sid", os.Getenv("SESSION_SECRET"))}}
}

func ExampleGorillaCookie() {
	source := importer.GorillaCookie("mysession", []byte(os.Getenv("AUTH_KEY")), []byte(os.Getenv("ENC_KEY")))
	source.UserID = func(rec redsession.LegacyRecord) string {
		name, _ := rec.Values["username"].(string)
		return name
	}
	_ = redsession.Config{Adopt: []redsession.Legacy{source.Adopt()}}
}

func ExampleSCSIn() {
	var store importer.SCSStore // postgresstore.New(db)
	source := importer.SCSIn(store)
	source.Lifetime = 20 * time.Minute // scs's IdleTimeout
	_ = redsession.Config{Adopt: []redsession.Legacy{source.Adopt("session")}}
}

func ExampleRbcervilla() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	_ = redsession.Config{Adopt: []redsession.Legacy{importer.Rbcervilla(old, "").Adopt("mysession")}}
}

func ExamplePHPRedis() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	_ = redsession.Config{Adopt: []redsession.Legacy{importer.PHPRedis(old, "").Adopt("PHPSESSID")}}
}

func ExampleOdooRedis() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	_ = redsession.Config{Adopt: []redsession.Legacy{importer.OdooRedis(old, "session::prod:").Adopt()}}
}

func ExampleFlaskRedis() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	_ = redsession.Config{Adopt: []redsession.Legacy{importer.FlaskRedis(old, "").Adopt("session", os.Getenv("SECRET_KEY"))}}
}

func ExampleDjangoRedis() {
	old := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	_ = redsession.Config{Adopt: []redsession.Legacy{importer.DjangoRedis(old, "").Adopt("sessionid")}}
}

func ExamplePHPFolder() {
	source := importer.PHPFiles("/var/lib/php/sessions")
	source.Lifetime = 24 * time.Minute // session.gc_maxlifetime
	source.UserID = func(rec redsession.LegacyRecord) string {
		name, _ := rec.Values["username"].(string)
		return name
	}
	_ = redsession.Config{Adopt: []redsession.Legacy{source.Adopt("PHPSESSID")}}
}

// table is a source of an application's own: sessions in a database.
type table struct{}

func (table) Name() string { return "table" } // what Legacy.Source says

func (table) Sessions(ctx context.Context) iter.Seq2[importer.Read, error] {
	return func(yield func(importer.Read, error) bool) {
		for _, token := range []string{"token of a first row", "token of a second row"} { // in truth, rows.Next()
			read := func() (redsession.LegacyRecord, []string, error) {
				return redsession.LegacyRecord{
					Source: "table", ID: token, UserID: "alice",
					Values: map[string]any{"theme": "dark"}, ExpiresAt: time.Now().Add(time.Hour),
				}, nil, nil
			}
			if ctx.Err() != nil || !yield(read, nil) {
				return
			}
		}
	}
}

func ExampleSource() {
	n, err := importer.Estimate(context.Background(), table{})
	fmt.Println(n, err)
	// Output: 2 <nil>
}
