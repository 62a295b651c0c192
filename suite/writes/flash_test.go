package writes_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestFlashesKeepTheirOrderThroughLoginAndLogout(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		before func(*redsession.Session)
	}{
		{"nothing else happens", func(*redsession.Session) {}},
		{"a login in the same request", func(s *redsession.Session) { s.Login("alice") }},
		{"a logout in the same request", func(s *redsession.Session) { s.Logout() }},
		{"a login again and a logout", func(s *redsession.Session) { s.Login("alice"); s.Logout() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			visit := visits(t, stage.NewMini(t).Manager(t))
			visit(func(s *redsession.Session) { s.Flash("first") })
			visit(func(s *redsession.Session) { row.before(s); s.Flash("second") })
			visit(func(s *redsession.Session) { s.Flash("<third> \"3\""); row.before(s) })
			visit(func(s *redsession.Session) {
				if got, want := s.Flashes(), []string{"first", "second", `<third> "3"`}; !reflect.DeepEqual(got, want) {
					t.Errorf("got flashes %q, want %q", got, want)
				}
				if got := s.Flashes(); len(got) != 0 {
					t.Errorf("got flashes %q once more, want none", got)
				}
			})
			visit(func(s *redsession.Session) {
				if got := s.Flashes(); len(got) != 0 {
					t.Errorf("got flashes %q in the next request, want none", got)
				}
			})
		})
	}
}

func TestFlashIsShownAgainIfTheResponseWasLost(t *testing.T) {
	t.Parallel()
	visit := visits(t, stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.MaxBytes = 1000 }))
	visit(func(s *redsession.Session) { s.Flash("hello") })
	a := visit(func(s *redsession.Session) {
		s.Flashes()
		redsession.Key[string]("large").Set(s, strings.Repeat("x", 1000))
	})
	visit(func(s *redsession.Session) {
		if got := s.Flashes(); a.StatusCode != 500 || !reflect.DeepEqual(got, []string{"hello"}) {
			t.Errorf("got flashes %q after status %d, want hello after 500", got, a.StatusCode)
		}
	})
}

func TestFlashSetWhileAnotherRequestShowsSomeIsNotLost(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		shown, added := make(chan struct{}), make(chan struct{})
		b := stage.NewBrowser(t, stage.Serve(t, e.Manager(t), stage.Handlers{
			"/flash": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) { s.Flash(r.URL.RawQuery) },
			"/show":  func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { fmt.Fprint(w, s.Flashes()) },
			"/slow": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				first := s.Flashes()
				close(shown)
				<-added
				fmt.Fprint(w, first)
			},
		}))
		b.Get("/flash?first")
		slow := make(chan string)
		go func() { slow <- b.Get("/slow").Text }()
		<-shown
		b.Get("/flash?second")
		close(added)
		if got := []string{<-slow, b.Get("/show").Text, b.Get("/show").Text}; !slices.Equal(got, []string{"[first]", "[second]", "[]"}) {
			t.Errorf("got flashes %q, want each once", got)
		}
	})
}

func TestFlashesSurviveLoginAndLogout(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		st.Must("flash:guest")
		st.Must("flash:in login:alice")
		st.Must("set:cart:1 flash:out logout flash:bye")
		if got, want := st.Do("flashes").Header.Get("X-Flashes"), "guest in out bye"; got != want {
			t.Errorf("got the flashes %q, want %q", got, want)
		}
		if a := st.Do("flashes"); a.Header.Get("X-Flashes") != "" || a.Text != "" {
			t.Errorf("got %q and the flashes %q, want nothing left", a.Text, a.Header.Get("X-Flashes"))
		}
	})
}
