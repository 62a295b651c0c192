package stage

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// OthersHandlers end the user's other sessions and says how many.
func OthersHandlers(t *testing.T, m *redsession.Manager) Handlers {
	return Handlers{"/others": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		n, err := m.RevokeOthers(r.Context(), s)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, n)
	}}
}

// GuardedHandlers are pages that the guards stand before, and what leads past them.
func GuardedHandlers(m *redsession.Manager) Handlers {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "come in") })
	return Handlers{
		"/account": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
			m.RequireLogin(ok).ServeHTTP(w, r)
		},
		"/money": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
			m.RequireRecentLogin(10*time.Minute)(ok).ServeHTTP(w, r)
		},
		"/remember": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			d, _ := time.ParseDuration(r.FormValue("for"))
			opts := []redsession.LoginOption{redsession.RememberFor(d)}
			if r.FormValue("half") != "" {
				opts = append(opts, redsession.Pending())
			}
			s.Login("alice", opts...)
		},
		"/token": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { fmt.Fprint(w, s.CSRFToken()) },
		"/verify": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			fmt.Fprint(w, s.VerifyCSRF(r.FormValue("token")))
		},
	}
}

// Play gets each path in turn; "+1h" lets that long pass.
func (b *Browser) Play(e *Env, steps ...string) (last Answer) {
	b.T.Helper()
	for _, step := range steps {
		if !strings.HasPrefix(step, "+") {
			last = b.Get(step)
			continue
		}
		d, err := time.ParseDuration(step[1:])
		if err != nil {
			b.T.Fatal(err)
		}
		e.Advance(b.T, d)
	}
	return last
}

// What LifeHandlers keep in a session.
const (
	LifeNote  = redsession.Key[string]("note")
	LifeCount = redsession.Key[int]("count")
)

// State is what a handler sees of a session.
type State struct {
	ID, Token, User, Pending, Note string
	Auth, Created                  time.Time
	Count, Keys                    int
}

// LifeHandlers are what the tests of rotation, endings and guards let a browser do.
func LifeHandlers() Handlers {
	type (
		W = http.ResponseWriter
		R = *http.Request
		S = *redsession.Session
	)
	return Handlers{
		"/login":  func(_ W, r R, s S) { s.Login(r.FormValue("user")) },
		"/half":   func(_ W, r R, s S) { s.Login(r.FormValue("user"), redsession.Pending()) },
		"/second": func(_ W, _ R, s S) { s.Promote() },
		"/logout": func(_ W, _ R, s S) { s.Logout() },
		"/rotate": func(_ W, _ R, s S) { s.Rotate() },
		"/set":    func(_ W, r R, s S) { LifeNote.Set(s, r.FormValue("v")) },
		"/who":    func(w W, _ R, s S) { fmt.Fprint(w, s.UserID()) },
		"/keep":   func(w W, _ R, s S) { s.KeepID(); fmt.Fprint(w, s.UserID()) },
		"/state": func(w W, _ R, s S) {
			st := State{ID: s.ID(), Token: s.Token(), User: s.UserID(), Pending: s.PendingUserID(), Auth: s.AuthTime(), Created: s.CreatedAt()}
			st.Note, _ = LifeNote.Get(s)
			st.Count, _ = LifeCount.Get(s)
			st.Keys = len(s.Keys())
			_ = json.NewEncoder(w).Encode(st)
		},
	}
}

// LifeBrowser starts a server with LifeHandlers and more, and a browser on it.
func LifeBrowser(t *testing.T, m *redsession.Manager, more Handlers) *Browser {
	t.Helper()
	hs := LifeHandlers()
	maps.Copy(hs, more)
	return NewBrowser(t, Serve(t, m, hs))
}

// State asks the handlers of LifeHandlers for the session as it is.
func (b *Browser) State() State {
	b.T.Helper()
	var st State
	if err := json.Unmarshal([]byte(b.Get("/state").Text), &st); err != nil {
		b.T.Error(err)
	}
	return st
}
