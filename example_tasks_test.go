package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

func ExampleKey_Update() {
	m := exampleManager()
	defer m.Close()
	const cart = redsession.Key[[]string]("cart")
	app := visit(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if item := r.FormValue("add"); item != "" {
			cart.Update(s, func(old []string) []string { return append(old, item) })
		}
		items, _ := cart.Get(s)
		fmt.Fprint(w, items)
	})))
	defer app.server.Close()
	app.get("/?add=tea")
	_, items := app.get("/?add=milk")
	fmt.Println(items)
	// Output:
	// [tea milk]
}

func ExampleSession_Login() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		// Check the password first.
		s := redsession.FromContext(r.Context())
		s.Login("alice", redsession.RememberFor(30*24*time.Hour)) // "remember me"
	})
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Logout()
	})
	mux.Handle("/account", m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "Hello, ", redsession.FromContext(r.Context()).UserID())
	})))
	app := visit(m.Handler(mux))
	defer app.server.Close()
	status, _ := app.get("/account")
	fmt.Println(status)
	app.get("/login")
	fmt.Println(app.get("/account"))
	app.get("/logout")
	status, _ = app.get("/account")
	fmt.Println(status)
	// Output:
	// 401
	// 200 Hello, alice
	// 401
}

func ExampleSession_Promote() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/password", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice", redsession.Pending())
	})
	mux.HandleFunc("/code", func(_ http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if s.PendingUserID() != "" { // and the code is right
			s.Promote()
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		fmt.Fprintf(w, "logged in: %t, half-way: %q", s.LoggedIn(), s.PendingUserID())
	})
	app := visit(m.Handler(mux))
	defer app.server.Close()
	app.get("/password")
	_, half := app.get("/")
	app.get("/code")
	_, whole := app.get("/")
	fmt.Println(half)
	fmt.Println(whole)
	// Output:
	// logged in: false, half-way: "alice"
	// logged in: true, half-way: ""
}

func ExampleSession_Flash() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		s.Logout()
		s.Flash("You are logged out.")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, redsession.FromContext(r.Context()).Flashes())
	})
	app := visit(m.Handler(mux))
	defer app.server.Close()
	_, first := app.get("/logout")
	_, second := app.get("/")
	fmt.Println(first, second)
	// Output:
	// [You are logged out.] []
}

func ExampleManager_RevokeOthers() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice")
	})
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		n, err := m.RevokeOthers(r.Context(), redsession.FromContext(r.Context()))
		if err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "logged out of %d other devices", n)
	})
	laptop, phone := visit(m.Handler(mux)), visit(m.Handler(mux))
	defer laptop.server.Close()
	defer phone.server.Close()
	laptop.get("/login")
	phone.get("/login")
	_, said := phone.get("/elsewhere")
	left, err := m.Sessions(context.Background(), "alice")
	fmt.Println(said)
	fmt.Println(len(left), err)
	// Output:
	// logged out of 1 other devices
	// 1 <nil>
}

func ExampleSession_Save() {
	m := exampleManager()
	defer m.Close()
	const note = redsession.Key[string]("note")
	app := visit(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		note.Set(s, "kept before the payment is made")
		switch err := s.Save(r.Context()); {
		case errors.Is(err, redsession.ErrGone):
			http.Error(w, "You have logged out meanwhile.", http.StatusConflict)
		case err != nil:
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, "saved")
		}
	})))
	defer app.server.Close()
	fmt.Println(app.get("/"))
	// Output:
	// 200 saved
}

func ExampleManager_Import() {
	m := exampleManager()
	defer m.Close()
	outcomes, err := m.Import(context.Background(), []redsession.LegacyRecord{{
		Source: "old", ID: "what-the-old-cookie-holds", UserID: "alice",
		Values:    map[string]any{"theme": "dark"},
		ExpiresAt: time.Now().Add(48 * time.Hour),
	}}, false)
	if err != nil {
		fmt.Println("Redis is away: import it again later")
		return
	}
	list, _ := m.Sessions(context.Background(), "alice")
	fmt.Println(outcomes[0].Status == redsession.ImportStored, len(list))
	// Output:
	// true 1
}
