package redsession_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/redsession/redsession"
)

// A hook that prints what each request asks of Redis. adapters/otel has one for OpenTelemetry.
func ExampleTrace() {
	m := exampleManager(func(c *redsession.Config) {
		c.Trace = func(ctx context.Context, op redsession.Operation) (context.Context, func(redsession.OperationEnd)) {
			return ctx, func(end redsession.OperationEnd) {
				fmt.Println(op.Kind, op.Commands, end.Err)
			}
		}
	})
	defer m.Close()
	app := visit(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice")
	})))
	defer app.server.Close()
	app.get("/")
	// Output:
	// load [] <nil>
	// exchange [EVALSHA] <nil>
	// commit [] <nil>
}

// Secrets that the platform mounts as files.
func ExampleConfigFromEnv() {
	dir, err := os.MkdirTemp("", "secrets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "session")
	if err := os.WriteFile(file, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600); err != nil { // openssl rand -base64 32
		log.Fatal(err)
	}
	os.Setenv("REDSESSION_SECRETS_FILE", file)
	defer os.Unsetenv("REDSESSION_SECRETS_FILE")
	c, err := redsession.ConfigFromEnv()
	fmt.Println(len(c.Secrets), err)
	// Output: 1 <nil>
}
