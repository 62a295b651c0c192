package redsession_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

func ExampleSession_Extend() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Login("alice", redsession.RememberFor(2*time.Hour))
	})
	mux.Handle("/stay", m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		s.Extend() // the user pressed "stay logged in"
		fmt.Fprint(w, time.Until(s.ExpiresAt()).Round(time.Minute))
	})))
	app := visit(m.Handler(mux))
	defer app.server.Close()
	app.get("/login")
	status, left := app.get("/stay")
	fmt.Println(status, left)
	// Output:
	// 200 2h0m0s
}

func ExampleSession_LimitTo() {
	m := exampleManager()
	defer m.Close()
	app := visit(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		s.Login("alice")
		s.LimitTo(8 * time.Hour) // until the end of the shift
		s.Extend()               // does not get past it
		fmt.Fprint(w, time.Until(s.ExpiresAt()).Round(time.Minute))
	})))
	defer app.server.Close()
	_, left := app.get("/")
	fmt.Println(left)
	// Output:
	// 8h0m0s
}

func ExampleManager_TimeLeft() {
	m := exampleManager(func(c *redsession.Config) {
		c.Assurance = redsession.AAL2 // an hour without a request
		c.Passive = func(r *http.Request) bool { return r.URL.Path == "/session/left" }
	})
	defer m.Close()
	mux := http.NewServeMux()
	mux.Handle("/session/left", m.TimeLeft()) // a page asks it every minute, and offers to stay
	app := visit(m.Handler(mux))
	defer app.server.Close()
	_, left := app.get("/session/left") // nobody has logged in
	fmt.Print(left)
	// Output:
	// {"loggedIn":false,"idle":0,"absolute":0}
}
