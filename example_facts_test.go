package redsession_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

// page has m serve do.
func page(m *redsession.Manager, do func(w http.ResponseWriter, r *http.Request, s *redsession.Session)) *visitor {
	return visit(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do(w, r, redsession.FromContext(r.Context()))
	})))
}

func ExampleLabel() {
	m := exampleManager()
	defer m.Close()
	app := page(m, func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Login("alice", redsession.Label("Alice's laptop")) // as she named it
	})
	defer app.server.Close()
	app.get("/")
	devices, err := m.Sessions(context.Background(), "alice")
	for _, d := range devices {
		fmt.Println(d.Label, err)
	}
	// Output:
	// Alice's laptop <nil>
}

func ExampleTag() {
	m := exampleManager()
	defer m.Close()
	const issuer, sid = "https://login.example.com", "08a5019c" // of the ID token
	app := page(m, func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Login("alice", redsession.Tag(issuer+"|"+sid))
	})
	defer app.server.Close()
	app.get("/")
	sessions, err := m.Tagged(context.Background(), issuer+"|"+sid)
	fmt.Println(len(sessions), err)
	// Output:
	// 1 <nil>
}

// The provider says that its user has logged out there (OpenID Connect Back-Channel Logout
// 1.0): the sessions that began with that login end.
func ExampleAdmin_RevokeTagged() {
	m := exampleManager()
	defer m.Close()
	const tag = "https://login.example.com|08a5019c"
	app := page(m, func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if r.URL.Path == "/login" {
			s.Login("alice", redsession.Tag(tag))
		}
		fmt.Fprint(w, s.LoggedIn())
	})
	defer app.server.Close()
	app.get("/login")
	ended, err := m.RevokeTagged(context.Background(), tag) // after the logout token was verified
	fmt.Println(ended, err)
	fmt.Println(app.get("/"))
	// Output:
	// 1 <nil>
	// 200 false
}

func ExampleManager_RequireLevel() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/password", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice", redsession.Proved(1, "pwd"))
	})
	mux.HandleFunc("/code", func(_ http.ResponseWriter, r *http.Request) { // and the code is right
		redsession.FromContext(r.Context()).Login("alice", redsession.Proved(2, "otp"))
	})
	mux.Handle("/salaries", m.RequireLevel(2)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		fmt.Fprint(w, s.Level(), s.Methods())
	})))
	app := visit(m.Handler(mux))
	defer app.server.Close()
	app.get("/password")
	status, _ := app.get("/salaries")
	fmt.Println(status)
	app.get("/code")
	fmt.Println(app.get("/salaries"))
	// Output:
	// 401
	// 200 2 [pwd otp]
}

func ExampleProved() {
	m := exampleManager()
	defer m.Close()
	app := page(m, func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		switch r.URL.Path {
		case "/password":
			s.Login("alice", redsession.Pending(), redsession.Proved(1, "pwd"))
		case "/code":
			s.Promote(redsession.Proved(2, "otp"))
		}
		fmt.Fprint(w, s.Level(), s.Methods())
	})
	defer app.server.Close()
	fmt.Println(app.get("/password")) // nothing counts before all factors are in
	fmt.Println(app.get("/code"))
	// Output:
	// 200 0 []
	// 200 2 [pwd otp]
}

func ExampleBy() {
	m := exampleManager()
	defer m.Close()
	app := page(m, func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		switch r.URL.Path {
		case "/login":
			s.Login("support-7")
		case "/act": // once it is clear that support may, and why
			s.Login("alice", redsession.By(s.UserID()))
		}
		fmt.Fprintf(w, "%s, by %q", s.UserID(), s.ActorID())
	})
	defer app.server.Close()
	app.get("/login")
	fmt.Println(app.get("/act"))
	hers, err := m.Sessions(context.Background(), "alice")
	fmt.Println(hers[0].ActorID, err)
	// Output:
	// 200 alice, by "support-7"
	// support-7 <nil>
}

func ExampleSession_AuthAge() {
	m := exampleManager()
	defer m.Close()
	app := page(m, func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Login("alice", redsession.RememberFor(30*24*time.Hour))
		fmt.Fprint(w, s.Remembered(), s.AuthAge() < time.Minute)
	})
	defer app.server.Close()
	fmt.Println(app.get("/"))
	// Output:
	// 200 true true
}
