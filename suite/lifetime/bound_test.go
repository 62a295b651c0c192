package lifetime_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/tuning"
	"github.com/redsession/redsession/redsessiontest"
)

// bound is a program whose sessions belong to devices, and the browser of one of alice's.
func bound(t *testing.T, change ...func(*redsession.Config)) (*redsessiontest.Manager, http.Handler, *redsessiontest.Browser) {
	t.Helper()
	all := append([]func(*redsession.Config){passive, func(c *redsession.Config) {
		c.Cookie, c.DeviceBinding.Enabled = redsession.Cookie{}, true
	}}, change...)
	m := redsessiontest.New(t, all...)
	hs := handlers(m.Manager)
	hs["/login"] = func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) { s.Login(r.FormValue("user")) }
	hs["/rotate"] = func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Rotate() }
	h := m.Handler(hs.Mux())
	b := m.Browser()
	for _, path := range []string{"/login?user=alice", "/ends", "/ends"} {
		if got, text := see(b, h, path); got != http.StatusOK {
			t.Fatalf("%s: got %d %q", path, got, text)
		}
	}
	return m, h, b
}

func see(b *redsessiontest.Browser, h http.Handler, path string) (int, string) {
	res := b.Get(h, path)
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, strings.TrimSpace(string(text))
}

// sessionOf is the value of the cookie that b sends for its session.
func sessionOf(b *redsessiontest.Browser) (value string) {
	b.Get(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("__Host-session"); err == nil {
			value = c.Value
		}
	}), "/")
	return value
}

// keysOf are the records of sessions and the keys of devices in Redis, and how long they live.
func keysOf(m *redsessiontest.Manager) (sessions, devices []time.Duration) {
	for _, key := range m.Redis.Keys() {
		raw, _ := m.Redis.Get(key)
		switch rest, _ := strings.CutPrefix(key, "session:"); {
		case strings.HasPrefix(rest, "bind:"):
			devices = append(devices, m.Redis.TTL(key))
		case len(rest) == 32 && raw[14] == 'r':
			sessions = append(sessions, m.Redis.TTL(key))
		}
	}
	return sessions, devices
}

func TestExtendOfABoundSession(t *testing.T) {
	// Not parallel: it sets how plans are carried out.
	usual := tuning.Current()
	for _, apart := range []bool{false, true} {
		changed := usual
		changed.Apart = apart
		tuning.Set(changed)
		m, h, b := bound(t, func(c *redsession.Config) { c.AbsoluteTimeout = 100 * time.Hour })
		tuning.Set(usual)
		m.Advance(90 * time.Hour)
		see(b, h, "/ends")
		see(b, h, "/ends")
		before := sessionOf(b)
		if code, text := see(b, h, "/extend"); code != http.StatusOK {
			t.Fatalf("got %d %q", code, text)
		}
		if _, devices := keysOf(m); len(devices) != 1 || !near(devices[0], 100*time.Hour) {
			t.Errorf("got devices' keys for %v, want one for 100 hours: it must not end before the session", devices)
		}
		if sessionOf(b) == before {
			t.Error("got the cookie as it was, want one that tells the new end")
		}
		m.Advance(11 * time.Minute) // the browser proves itself, and its id turns
		see(b, h, "/ends")
		rotated := m.Stats().Rotated
		m.Advance(20 * time.Hour) // past the old end
		if code, text := see(b, h, "/ends"); code != http.StatusOK || !strings.HasPrefix(text, "alice") || rotated < 1 {
			t.Errorf("got %d %q past the old end and %d rotations, want alice and one", code, text, rotated)
		}
	}
}

// TestExtendOfABoundSessionWhoseKeyIsGone ends when its browser cannot prove itself any more, as it would have otherwise.
func TestExtendOfABoundSessionWhoseKeyIsGone(t *testing.T) {
	t.Parallel()
	m, h, b := bound(t)
	m.Advance(time.Minute)
	for _, key := range m.Redis.Keys() {
		if strings.HasPrefix(key, "session:bind:") {
			m.Redis.Del(key)
		}
	}
	if code, text := see(b, h, "/extend"); code != http.StatusOK || !strings.HasPrefix(text, "alice") {
		t.Errorf("got %d %q, want 200", code, text)
	}
	m.Advance(12 * time.Minute)
	if _, text := see(b, h, "/ends"); strings.HasPrefix(text, "alice") {
		t.Errorf("got %q from a browser that could not prove itself", text)
	}
}

func TestExtendOfALockedSessionIsRefused(t *testing.T) {
	t.Parallel()
	_, h, b := bound(t)
	thief := httptest.NewRequest(http.MethodGet, "/extend", nil)
	thief.Header.Set("Cookie", "__Host-session="+sessionOf(b))
	for path, want := range map[string]int{"/extend": 403, "/limit?to=1h": 403, "/poll": 200, "/poll/left": 200} {
		r := thief.Clone(t.Context())
		var query string
		r.URL.Path, query, _ = strings.Cut(path, "?")
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || strings.Contains(w.Body.String(), "alice") {
			t.Errorf("%s: got %d %q, want %d", path, w.Code, w.Body, want)
		}
		if path == "/poll/left" && strings.TrimSpace(w.Body.String()) != `{"loggedIn":false,"idle":0,"absolute":0}` {
			t.Errorf("got %q, want nothing told of a locked session", w.Body)
		}
	}
}

func TestPassiveRequestsOfABoundSession(t *testing.T) {
	t.Parallel()
	m, h, b := bound(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	for range 5 {
		m.Advance(11 * time.Minute)
		if code, text := see(b, h, "/poll/set?v=1"); code != http.StatusOK || !strings.HasPrefix(text, "alice") {
			t.Errorf("got %d %q", code, text)
		}
	}
	if sessions, _ := keysOf(m); len(sessions) != 1 || sessions[0] > 5*time.Minute+time.Second {
		t.Errorf("got sessions for %v, want one for 5 minutes", sessions)
	}
	m.Advance(6 * time.Minute)
	if _, text := see(b, h, "/ends"); strings.HasPrefix(text, "alice") {
		t.Errorf("got %q after an hour without a user", text)
	}
}

// TestPassiveRequestsOfABoundSessionThatRotates has the browser prove itself for a page that polls, and its id turn with that.
func TestPassiveRequestsOfABoundSessionThatRotates(t *testing.T) {
	t.Parallel()
	m, h, b := bound(t, func(c *redsession.Config) { c.IdleTimeout, c.RotateEvery = time.Hour, 20*time.Minute })
	began := sessionOf(b)
	for minutes := 11; minutes < 60; minutes += 11 {
		m.Advance(11 * time.Minute)
		if code, text := see(b, h, "/poll"); code != http.StatusOK || !strings.HasPrefix(text, "alice") {
			t.Errorf("got %d %q", code, text)
		}
		left := time.Duration(60-minutes) * time.Minute
		if sessions, _ := keysOf(m); len(sessions) != 1 || sessions[0] > left || sessions[0] < left-time.Minute {
			t.Errorf("got sessions for %v after %d minutes, want one for %s", sessions, minutes, left)
		}
	}
	if sessionOf(b) == began || m.Stats().Rotated == 0 {
		t.Error("got the id as it was, want another")
	}
	m.Advance(6 * time.Minute)
	if _, text := see(b, h, "/ends"); strings.HasPrefix(text, "alice") {
		t.Errorf("got %q after an hour without a user", text)
	}
}

// TestReplayOfABoundSession is a thief with an old cookie: without the device's it is of no use, so it must not log the
// owner out either.
func TestReplayOfABoundSession(t *testing.T) {
	t.Parallel()
	m, h, b := bound(t, func(c *redsession.Config) { c.OnReplay = redsession.EndSession })
	old := "__Host-session=" + sessionOf(b)
	see(b, h, "/rotate")
	m.Advance(11 * time.Minute)
	for range 3 { // the id turns with the proof, and is seen
		see(b, h, "/ends")
	}
	if m.Stats().Rotated != 1 {
		t.Fatalf("got %d rotations, want 1", m.Stats().Rotated)
	}
	m.Advance(2 * time.Minute)
	r := httptest.NewRequest(http.MethodGet, "/ends", nil)
	r.Header.Set("Cookie", old)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if strings.HasPrefix(w.Body.String(), "alice") || m.Stats().Replayed != 1 {
		t.Errorf("the thief: got %q and %d replays, want nobody and 1", w.Body, m.Stats().Replayed)
	}
	if _, text := see(b, h, "/ends"); !strings.HasPrefix(text, "alice") {
		t.Errorf("the owner: got %q, want alice", text)
	}
}
