package writes_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestLimitOfADefaultConfig(t *testing.T) {
	t.Parallel()
	const text = redsession.Key[string]("text")
	visit := visits(t, stage.NewMini(t).Manager(t))
	for size, want := range map[int]int{64<<10 - 200: 200, 64 << 10: 500} {
		a := visit(func(s *redsession.Session) { text.Set(s, strings.Repeat("x", size)) })
		if a.StatusCode != want {
			t.Errorf("got status %d for a value of %d bytes, want %d", a.StatusCode, size, want)
		}
	}
}

func TestLimitHundredMegabytesAreRefusedOnWriteAndOnRead(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	srv := redistest.Start(t)
	e := stage.NewEnv(srv.URL, srv.Client())
	b := stage.LifeBrowser(t, e.Manager(t, stage.Patient), stage.Handlers{"/large": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		stage.LifeNote.Set(s, strings.Repeat("x", size))
	}})
	b.Play(e, "/login?user=alice", "/set?v=kept")
	if a := b.Get("/large"); a.StatusCode != http.StatusInternalServerError || b.State().Note != "kept" {
		t.Errorf("got %d for a value of %d bytes, want 500 and the one from before kept", a.StatusCode, size)
	}
	key := stage.KeyOf(t, b.Cookie())
	head := e.Dump(t)[key][:100]
	e.Client.Set(t.Context(), key, head, time.Hour)
	if err := e.Client.SetRange(t.Context(), key, size, "x").Err(); err != nil {
		t.Fatal(err)
	}
	a := b.Get("/who")
	if refused := len(e.Events.Of(redsession.EventRefused)); a.StatusCode != http.StatusOK || a.Text != "" || refused != 1 {
		t.Errorf("got %d, user %q and %d refusals for %d bytes that begin with %q, want 200, nobody and one", a.StatusCode, a.Text, refused, size, head)
	}
}
