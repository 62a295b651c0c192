package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

// A payment provider calls a webhook, which empties the cart of the session that the payment
// was made in.
func ExampleManager_ChangeOf() {
	m := exampleManager()
	defer m.Close()
	const cart = redsession.Key[[]string]("cart")
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		s.Login("alice")
		cart.Set(s, []string{"tea"})
	})
	mux.HandleFunc("/pay", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		fmt.Fprint(w, s.ID()) // goes to the provider, with the user's id, and comes back with the webhook
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		items, _ := cart.Get(s)
		fmt.Fprint(w, items, s.Flashes())
	})
	app := visit(m.Handler(mux))
	defer app.server.Close()
	app.get("/login")
	_, id := app.get("/pay")

	webhook := func(ctx context.Context, user, id string) error {
		err := m.ChangeOf(ctx, user, id, func(s *redsession.Session) error {
			cart.Delete(s)
			s.Flash("Thank you for your payment.")
			return nil
		})
		if errors.Is(err, redsession.ErrGone) {
			return nil // the session has ended, and with it the cart
		}
		return err // the provider calls again
	}
	fmt.Println(webhook(context.Background(), "alice", id))
	fmt.Println(webhook(context.Background(), "mallory", id)) // changes nothing
	fmt.Println(app.get("/"))
	// Output:
	// <nil>
	// <nil>
	// 200 [] [Thank you for your payment.]
}

// A job tells every session of a user's that an export is ready.
func ExampleManager_ChangeUser() {
	m := exampleManager()
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, redsession.FromContext(r.Context()).Flashes())
	})
	laptop, phone := visit(m.Handler(mux)), visit(m.Handler(mux))
	defer laptop.server.Close()
	defer phone.server.Close()
	laptop.get("/login")
	phone.get("/login")
	fmt.Println(m.ChangeUser(context.Background(), "alice", func(s *redsession.Session) error {
		s.Flash("Your export is ready.")
		return nil
	}))
	fmt.Println(phone.get("/"))
	// Output:
	// 2 <nil>
	// 200 [Your export is ready.]
}

// An operator looks into a session that a user has trouble with.
func ExampleManager_Change() {
	m := exampleManager()
	defer m.Close()
	app := visit(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		redsession.Key[string]("locale").Set(s, "xx")
		fmt.Fprint(w, s.ID())
	})))
	defer app.server.Close()
	_, id := app.get("/")
	err := m.Change(context.Background(), id, func(s *redsession.Session) error {
		fmt.Println(s.Keys()) // reading alone costs no write
		return nil
	})
	fmt.Println(err)
	// Output:
	// [locale]
	// <nil>
}

// The refresh token of an OAuth provider is good for one use: whichever requests find the
// access token stale, the provider is asked once.
func ExampleKey_Refresh() {
	m := exampleManager()
	defer m.Close()
	type tokens struct {
		Access, Refresh string
		Expiry          time.Time
	}
	const oauth = redsession.Key[tokens]("oauth")
	asked := 0
	renew := func(_ context.Context, old tokens) (tokens, error) { // a request to the provider
		asked++
		return tokens{"access-2", "refresh-2", time.Now().Add(time.Hour)}, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/callback", func(_ http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		s.Login("alice")
		oauth.Set(s, tokens{"access-1", "refresh-1", time.Now()})
	})
	mux.HandleFunc("/calendar", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		stale := func(t tokens) bool { return time.Until(t.Expiry) < time.Minute }
		t, err := oauth.Refresh(ctx, s, stale, renew)
		if err != nil {
			http.Error(w, "The calendar does not answer.", http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, "calendar read with ", t.Access)
	})
	app := visit(m.Handler(mux))
	defer app.server.Close()
	app.get("/callback")
	fmt.Println(app.get("/calendar"))
	fmt.Println(app.get("/calendar"))
	fmt.Println("the provider was asked", asked, "time")
	// Output:
	// 200 calendar read with access-2
	// 200 calendar read with access-2
	// the provider was asked 1 time
}
