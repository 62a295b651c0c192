package redsession_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	"github.com/redsession/redsession"
)

// customer is a user as a shop knows them.
type customer struct {
	Name, PasswordHash string
}

// findCustomer stands for a database.
func findCustomer(_ context.Context, id string) (*customer, error) {
	if id != "alice" {
		return nil, sql.ErrNoRows
	}
	return &customer{"Alice", "$argon2id$…"}, nil
}

// The user is loaded once a request, and a new password ends all sessions that began with the
// old one.
func ExampleUserAs() {
	m := exampleManager(func(c *redsession.Config) {
		c.LoadUser = func(ctx context.Context, id string) (any, string, error) {
			u, err := findCustomer(ctx, id)
			if errors.Is(err, sql.ErrNoRows) {
				return nil, "", redsession.ErrNoUser
			}
			if err != nil {
				return nil, "", err
			}
			return u, u.PasswordHash, nil
		}
	})
	defer m.Close()
	app := page(m, func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if r.URL.Path == "/login" {
			s.Login("alice")
		}
		if u, ok := redsession.UserAs[*customer](s); ok {
			fmt.Fprint(w, "Hello, ", u.Name)
		}
	})
	defer app.server.Close()
	app.get("/login")
	fmt.Println(app.get("/"))
	// Output:
	// 200 Hello, Alice
}
