package rotation_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/stage"
)

func TestRotationReplayIsRefusedAfterTheGrace(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		b.Get("/login?user=alice")
		stolen, id := b.Cookie(), b.State().ID
		e.Advance(t, 3*time.Hour)
		successor := issuedSID(t, b.Get("/who"))
		served := func(when string) {
			t.Helper()
			if a := b.With(stolen).Get("/who"); a.Text != "alice" || issuedSID(t, a) != successor {
				t.Errorf("%s: got user %q, want alice and the successor's cookie", when, a.Text)
			}
		}
		e.Advance(t, 2*time.Hour)
		served("the successor's cookie has not been seen")
		b.Get("/who")
		e.Advance(t, 59*time.Second)
		served("within the grace")
		e.Advance(t, 2*time.Second)
		if a := b.With(stolen).Get("/who"); a.Text != "" || len(a.SetCookies()) != 0 {
			t.Errorf("after the grace: got user %q and %d Set-Cookie, want nobody and none", a.Text, len(a.SetCookies()))
		}
		replayed := e.Events.Of(redsession.EventReplayed)
		if len(replayed) != 1 || replayed[0].ID != id || replayed[0].RemoteAddr == "" {
			t.Errorf("got replayed events %+v, want one of %s with a remote address", replayed, id)
		}
		if a := b.Get("/who"); a.Text != "alice" || len(a.SetCookies()) != 0 {
			t.Errorf("the successor: got user %q and %d Set-Cookie, want alice and none", a.Text, len(a.SetCookies()))
		}
	})
}

func TestRotationKeepsAWriteBegunWithinTheGrace(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	entered, proceed := make(chan struct{}), make(chan struct{})
	b := stage.LifeBrowser(t, e.Manager(t), stage.Handlers{"/slow": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		close(entered)
		<-proceed
		stage.LifeNote.Set(s, "late")
	}})
	b.Get("/login?user=alice")
	slow := b.With(b.Cookie())
	b.Get("/rotate")
	b.Get("/who") // the grace begins
	done := make(chan stage.Answer)
	go func() { done <- slow.Get("/slow") }()
	<-entered
	e.Advance(t, time.Hour)
	close(proceed)
	if a := <-done; a.StatusCode != http.StatusOK {
		t.Errorf("got %d, want 200", a.StatusCode)
	}
	if st := b.State(); st.Note != "late" {
		t.Errorf("got note %q, want late", st.Note)
	}
}

func TestRotationChainLeadsOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, begin, user string
		seen              bool
		rotations         int
	}{
		{"of an anonymous session, each cookie in use", "/set?v=x", "", true, 4},
		{"of a login, each cookie in use", "/login?user=alice", "alice", true, 4},
		{"of a login whose new id was never seen, so that it is not replaced", "/login?user=alice", "alice", false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := stage.NewMini(t)
			b := stage.LifeBrowser(t, e.Manager(t), nil)
			b.Get(tt.begin)
			b.Get("/set?v=kept")
			cookies := []string{b.Cookie()}
			for range 4 {
				from := b
				if !tt.seen {
					from = b.With(cookies[0])
				}
				from.Get("/rotate")
				cookies = append(cookies, from.Cookie())
			}
			newest, _ := stage.ParseCookie(t, cookies[4])
			for i, c := range cookies {
				old := b.With(c)
				st := old.State()
				if sid, _ := stage.ParseCookie(t, old.Cookie()); !bytes.Equal(sid, newest) || st.Note != "kept" || st.User != tt.user {
					t.Errorf("cookie %d: got user %q, note %q, want %q, kept, and the newest cookie", i, st.User, st.Note, tt.user)
				}
			}
			if got := len(e.Events.Of(redsession.EventRotated)); got != tt.rotations {
				t.Errorf("got %d rotations, want %d", got, tt.rotations)
			}
		})
	}
}

func TestRotationReplayDoesNotKeepTheSessionFromEnding(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		b.Get("/login?user=alice")
		thief := b.With(b.Cookie())
		e.Advance(t, 3*time.Hour)
		b.Get("/who") // rotates
		b.Get("/who") // shows the new cookie
		key := "session:" + b.State().ID
		e.Advance(t, 2*time.Hour)
		before := e.Client.TTL(context.Background(), key).Val()
		if got := thief.Get("/who").Text; got != "" {
			t.Fatalf("got user %q by a replay, want none", got)
		}
		if after := e.Client.TTL(context.Background(), key).Val(); after > before {
			t.Errorf("got %s left to the session after a replay, want %s and no more", after, before)
		}
	})
}

func TestRotationTombstoneIsOfNoUseWithoutTheOldSID(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		b.Get("/login?user=alice")
		old := b.With(b.Cookie())
		oldSID, _ := stage.ParseCookie(t, b.Cookie())
		key := "session:" + b.State().ID
		e.Advance(t, 3*time.Hour)
		b.Get("/who")
		old.Get("/who") // prolongs it no more than that
		newSID, _ := stage.ParseCookie(t, b.Cookie())
		values := e.Dump(t)
		for k, v := range values {
			for _, sid := range [][]byte{oldSID, newSID} {
				if form := stage.FindSecret(k+v, sid); form != "" {
					t.Errorf("got an SID in Redis as %s, want none", form)
				}
			}
		}
		if ttl := e.Client.TTL(context.Background(), key).Val(); ttl <= 0 || ttl > 24*time.Hour {
			t.Errorf("got a tombstone that lives for %s, want at most 24h", ttl)
		}
		ring, err := record.NewRing([][]byte{stage.Secret})
		if err != nil {
			t.Fatal(err)
		}
		_, tomb, err := record.Open(ring, key, values[key])
		if err != nil || tomb == nil || tomb.Next != b.State().ID {
			t.Fatalf("got tombstone %+v, %v, want one that names the successor's public id", tomb, err)
		}
		for _, wrong := range [][]byte{newSID, []byte(tomb.Next), make([]byte, 32), nil} {
			if got, err := tomb.Follow(key, wrong); err == nil {
				t.Errorf("got %d bytes without the old SID, want an error", len(got))
			}
		}
		if got, err := tomb.Follow(key, oldSID); err != nil || !bytes.Equal(got, newSID) {
			t.Errorf("got %v with the old SID, want the successor's SID", err)
		}
	})
}
