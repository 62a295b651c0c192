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

// A fourth login is refused, and the user chooses which of the others to end.
func ExampleSession_AtLimit() {
	m := exampleManager(func(c *redsession.Config) { c.MaxPerUser, c.RefuseAtLimit = 3, true })
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice")
	})
	mux.HandleFunc("/replace", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if !s.AtLimit() { // it may lack a factor
			http.Error(w, "Please log in.", http.StatusForbidden)
			return
		}
		list, err := m.Sessions(r.Context(), s.PendingUserID())
		if err != nil || len(list) == 0 {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		chosen := list[len(list)-1].ID // by the user, of the list
		if _, err := m.RevokeOf(r.Context(), s.PendingUserID(), chosen); err == nil {
			s.Promote()
		}
		fmt.Fprint(w, "Welcome, ", s.UserID())
	})
	app := visit(m.Handler(mux))
	defer app.server.Close()
	for range 3 {
		other := visit(m.Handler(mux))
		other.get("/login")
		other.server.Close()
	}
	fmt.Println(app.get("/login"))
	fmt.Println(app.get("/replace"))
	// Output:
	// 409 You are logged in at too many places. Please log out at one of them.
	// 200 Welcome, alice
}
