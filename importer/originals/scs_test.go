package originals_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	_ "github.com/lib/pq"

	"github.com/redsession/redsession/importer"
)

// postgres starts Debian's server, as the user postgres if this is root, and returns a database of its own.
func postgres(t *testing.T) *sql.DB {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("postgresql is not installed")
		}
		t.Skip("postgresql is not installed")
	}
	bin := found[len(found)-1]
	dir, err := os.MkdirTemp("/tmp", "pg") // the path of a socket has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	made := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "scs", "--auth=trust", "--no-sync", "-E", "UTF8")
	made.SysProcAttr, made.Dir = attr, dir
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	var log strings.Builder
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.SysProcAttr, server.Dir, server.Stderr = attr, dir, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGINT); _ = server.Wait() })
	db, err := sql.Open("postgres", "host="+dir+" user=scs dbname=postgres sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for deadline := time.Now().Add(30 * time.Second); db.Ping() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("postgres does not answer: %s", log.String())
		}
	}
	if _, err := db.Exec(`CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	return db
}

// saved has scs save the session that all tests here have.
func saved(manager *scs.SessionManager) http.Handler {
	return manager.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		manager.Put(r.Context(), "user_id", 42)
		manager.Put(r.Context(), "name", "ada")
		manager.Put(r.Context(), "home", address{City: "London"})
	}))
}

func TestSCSInItsStores(t *testing.T) {
	db := postgres(t)
	for name, store := range map[string]scs.Store{"Postgres": postgresstore.NewWithCleanupInterval(db, 0), "memory": memstore.NewWithCleanupInterval(0)} {
		for _, hashed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hashed %t", name, hashed), func(t *testing.T) {
				manager := scs.New()
				manager.Lifetime, manager.HashTokenInStore, manager.Store = 12*time.Hour, hashed, store
				source := importer.SCSIn(store)
				source.HashedTokens = hashed
				check(t, source, source.Adopt(""), visit(t, saved(manager)), 12*time.Hour)
			})
		}
	}
}

func TestSCSWithAnIdleTimeoutInAStore(t *testing.T) {
	store := memstore.NewWithCleanupInterval(0)
	manager := scs.New()
	manager.Lifetime, manager.IdleTimeout, manager.Store = 12*time.Hour, time.Hour, store
	source := importer.SCSIn(store)
	source.Lifetime = time.Hour
	check(t, source, source.Adopt(""), visit(t, saved(manager)), time.Hour)
}

func TestARollingDeployFromSCSOnPostgresLogsNobodyOut(t *testing.T) {
	store := postgresstore.NewWithCleanupInterval(postgres(t), 0)
	manager := scs.New()
	manager.Store = store
	source := importer.SCSIn(store)
	source.UserID = byName
	rolling(t, manager, source.Adopt(""))
}
