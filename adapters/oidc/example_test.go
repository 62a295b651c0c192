package redsessionoidc_test

import (
	"context"
	"log"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/redsession/redsession"
	redsessionoidc "github.com/redsession/redsession/adapters/oidc"
)

// A program whose users log in with a provider, which can log them out.
func Example() {
	provider, err := oidc.NewProvider(context.Background(), "https://id.example")
	if err != nil {
		log.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: "the-client"})
	m, err := redsession.New(redsession.Config{})
	if err != nil {
		log.Fatal(err)
	}
	app := http.NewServeMux()
	app.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		rawIDToken := r.FormValue("id_token") // your exchange of the code
		token, err := verifier.Verify(r.Context(), rawIDToken)
		if err != nil {
			http.Error(w, "That login was not accepted.", http.StatusBadRequest)
			return
		}
		options, err := redsessionoidc.LoginOptions(token)
		if err != nil {
			http.Error(w, "That login was not accepted.", http.StatusBadRequest)
			return
		}
		redsession.FromContext(r.Context()).Login(token.Subject, options...)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux := http.NewServeMux()
	mux.Handle("POST /backchannel-logout", redsessionoidc.BackChannelLogout(m, redsessionoidc.Config{Verifier: verifier}))
	mux.Handle("/", m.Handler(app))
	log.Fatal(http.ListenAndServe(":8080", mux))
}
