package users_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// A login that fails leaves who was logged in before, and what the program said of them.
func TestUserAsAfterALoginThatFails(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		login func(d *directory, s *redsession.Session)
	}{
		{"by a label that is refused", func(_ *directory, s *redsession.Session) { s.Login("bob", redsession.Label("\n")) }},
		{"by somebody whose session this is not", func(_ *directory, s *redsession.Session) { s.Login("bob", redsession.By("carol")) }},
		{"for longer than the level allows", func(_ *directory, s *redsession.Session) { s.Login("bob", redsession.RememberFor(9*time.Hour)) }},
		{"of nobody", func(_ *directory, s *redsession.Session) { s.Login("ghost") }},
		{"as the directory is away", func(d *directory, s *redsession.Session) {
			d.change(func(d *directory) { d.err = http.ErrHandlerTimeout })
			s.Login("bob")
			d.change(func(d *directory) { d.err = nil })
		}},
		{"of the same user", func(_ *directory, s *redsession.Session) { s.Login("alice", redsession.Tag("")) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := newDirectory("alice", "bob")
			e := stage.NewMini(t)
			m := e.Manager(t, d.configure, func(c *redsession.Config) { c.Assurance = redsession.AAL2 })
			more := maps.Clone(pages)
			more["/fails"] = func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
				row.login(d, s)
				if err := s.Save(r.Context()); err == nil {
					t.Error("got no error of the login")
				}
				showUser(w, s)
			}
			b := stage.LifeBrowser(t, m, more)
			b.Get("/login?user=alice")
			for _, path := range []string{"/fails", "/name"} {
				if got := b.Get(path).Text; got != "ALICE true" {
					t.Errorf("%s: got %q, want alice", path, got)
				}
			}
		})
	}
}

// Of an actor the program is asked once a request too, however many cookies came.
func TestLoadUserIsCalledOnceForAnActor(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	m := stage.NewMini(t).Manager(t, d.configure)
	var cookies []string
	for range 2 {
		b := stage.LifeBrowser(t, m, pages)
		b.Get("/login?user=bob")
		b.Get("/act?user=alice")
		cookies = append(cookies, "session="+b.Cookie())
	}
	d.take()
	if got := stage.Ask(t, m, "/who", strings.Join(cookies, "; ")).Text; !strings.Contains(got, "alice") {
		t.Errorf("got %q, want alice", got)
	}
	if got := d.take(); got != "bob alice" {
		t.Errorf("got %q asked for, want the actor and the user", got)
	}
}
