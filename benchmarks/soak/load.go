package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// Sessions live so short that the load sees them rotate, expire and reach their limits again and again.
const (
	absolute   = 45 * time.Second
	maxPerUser = 3
	devices    = 4 // of each user: one more than may be logged in

	// The race detector and the machine's other work are no outage.
	patience = time.Minute
)

const (
	counter  = redsession.Key[int]("counter")
	lastPage = redsession.Key[string]("last_page")
)

// site is two servers that share a Redis, and the users' devices.
type site struct {
	managers []*redsession.Manager
	redis    []*redis.Client
	servers  []*httptest.Server
	client   *http.Transport
	devices  []*device
	tally    *tally
}

// device is a browser of a user's.
type device struct {
	user    string
	browser *http.Client
}

func open(url string, users int, t *tally) (*site, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	options.ContextTimeoutEnabled = true
	options.ReadTimeout, options.WriteTimeout, options.PoolTimeout, options.DialTimeout = patience, patience, patience, patience
	s := &site{client: &http.Transport{MaxIdleConnsPerHost: 256}, tally: t}
	for range 2 {
		c := redis.NewClient(options)
		m, err := redsession.New(redsession.Config{
			Client: c, Secrets: [][]byte{[]byte(strings.Repeat("no secret, this is load. ", 2))}, Cookie: redsession.Cookie{InsecurePlainHTTP: true},
			IdleTimeout: 20 * time.Second, AnonymousTimeout: 10 * time.Second, AbsoluteTimeout: absolute,
			RotateEvery: 3 * time.Second, RotateGrace: 2 * time.Second, MaxPerUser: maxPerUser,
			RedisTimeout: patience,
			Logger:       slog.New(slog.DiscardHandler),
			OnEvent:      func(_ context.Context, e redsession.Event) { t.event(string(e.Kind)); judge(t, e) },
		})
		if err != nil {
			return nil, err
		}
		s.managers, s.redis = append(s.managers, m), append(s.redis, c)
		s.servers = append(s.servers, httptest.NewServer(m.Handler(pages(m, t))))
	}
	for i := range users * devices {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return nil, err
		}
		s.devices = append(s.devices, &device{
			user: fmt.Sprintf("user%d", i/devices), browser: &http.Client{Jar: jar, Transport: s.client, Timeout: 2 * patience},
		})
	}
	return s, nil
}

// judge notes events that no end of a session explains.
func judge(t *tally, e redsession.Event) {
	switch e.Kind {
	case redsession.EventFailed:
		if !errors.Is(e.Err, redsession.ErrGone) {
			t.wrong("failed: %v", e.Err)
		}
	case redsession.EventRefused, redsession.EventOutageBegan:
		t.wrong("%s: %s %v", e.Kind, e.Reason, e.Err)
	}
}

func (s *site) close() error {
	var errs []error
	s.client.CloseIdleConnections()
	for i, m := range s.managers {
		s.servers[i].Close()
		errs = append(errs, m.Close(), s.redis[i].Close())
	}
	return errors.Join(errs...)
}

// pages is what the servers do.
func pages(m *redsession.Manager, t *tally) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, h page) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s := redsession.FromContext(r.Context())
			if err := h(r, s); err != nil && !errors.Is(err, redsession.ErrGone) {
				t.wrong("%s: %v", path, err)
			}
			fmt.Fprint(w, s.UserID())
		})
	}
	changes(handle)
	administration(handle, m, t)
	mux.HandleFunc("/stream", stream)
	return mux
}

// page is a handler that is answered with the session's user.
type page func(r *http.Request, s *redsession.Session) error

// changes are what users do to their own session.
func changes(handle func(string, page)) {
	handle("/read", func(_ *http.Request, s *redsession.Session) error { counter.Get(s); return nil })
	handle("/write", func(r *http.Request, s *redsession.Session) error {
		counter.Update(s, func(n int) int { return n + 1 })
		lastPage.Set(s, r.URL.RawQuery)
		return nil
	})
	handle("/clear", func(_ *http.Request, s *redsession.Session) error { s.Clear(); s.Flash("cleared"); return nil })
	handle("/flashes", func(_ *http.Request, s *redsession.Session) error { s.Flashes(); return nil })
	handle("/login", func(r *http.Request, s *redsession.Session) error { s.Login(r.FormValue("user")); return nil })
	handle("/logout", func(_ *http.Request, s *redsession.Session) error { s.Logout(); return nil })
	handle("/rotate", func(_ *http.Request, s *redsession.Session) error { s.Rotate(); return nil })
}

// administration is what ends, lists and makes sessions from outside.
func administration(handle func(string, page), m *redsession.Manager, t *tally) {
	handle("/revoke", func(r *http.Request, s *redsession.Session) error {
		if s.ID() == "" {
			return nil
		}
		return m.Revoke(r.Context(), s.ID())
	})
	handle("/others", func(r *http.Request, s *redsession.Session) error {
		if !s.LoggedIn() {
			return nil
		}
		_, err := m.RevokeOthers(r.Context(), s)
		return err
	})
	handle("/everywhere", func(r *http.Request, _ *redsession.Session) error {
		_, err := m.RevokeUser(r.Context(), r.FormValue("user"))
		return err
	})
	handle("/list", func(r *http.Request, _ *redsession.Session) error {
		list, err := m.Sessions(r.Context(), r.FormValue("user"))
		for _, i := range list {
			if i.UserID != r.FormValue("user") {
				t.wrong("a list of one user's sessions has another's")
			}
		}
		return err
	})
	handle("/count", func(r *http.Request, _ *redsession.Session) error { _, err := m.Count(r.Context()); return err })
	handle("/import", importOne(m))
}

// importOne imports a session of another package, which nobody then comes back to.
func importOne(m *redsession.Manager) page {
	return func(r *http.Request, _ *redsession.Session) error {
		outcomes, err := m.Import(r.Context(), []redsession.LegacyRecord{{
			Source: "soak", ID: fmt.Sprintf("old%d", rand.Uint64()), UserID: r.FormValue("user"), Values: map[string]any{"counter": 1},
			ExpiresAt: time.Now().Add(absolute / 3),
		}}, false)
		if err == nil && outcomes[0].Status != redsession.ImportStored {
			return fmt.Errorf("import: got status %d: %w", outcomes[0].Status, outcomes[0].Err)
		}
		return err
	}
}

// stream stays open for as long as the client or the session does.
func stream(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	user, ctx := s.UserID(), s.Context()
	io.WriteString(w, user)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

// weights say how often each page is asked for.
var weights = []struct {
	path   string
	weight int
}{
	{"/read", 450},
	{"/write", 250},
	{"/login", 90},
	{"/logout", 40},
	{"/rotate", 40},
	{"/flashes", 30},
	{"/clear", 25},
	{"/list", 25},
	{"/revoke", 15},
	{"/others", 10},
	{"/everywhere", 5},
	{"/import", 10},
	{"/stream", 8},
	{"/count", 2},
}

func draw() string {
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	at := rand.IntN(total)
	for _, w := range weights {
		if at -= w.weight; at < 0 {
			return w.path
		}
	}
	return weights[0].path
}

// drive sends requests, so many at a time, for so long.
func (s *site) drive(ctx context.Context, clients int, long time.Duration) {
	ctx, stop := context.WithTimeout(ctx, long)
	defer stop()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				n := len(s.devices)
				if rand.IntN(4) == 0 { // a few devices are so busy that their own requests race
					n = min(n, devices*3)
				}
				s.visit(s.devices[rand.IntN(n)])
			}
		})
	}
	all.Wait()
}

// visit asks one of the servers for a page.
func (s *site) visit(d *device) {
	path := draw()
	url := fmt.Sprintf("%s%s?user=%s", s.servers[rand.IntN(len(s.servers))].URL, path, d.user)
	begin := time.Now()
	res, err := d.browser.Get(url)
	if err != nil {
		s.tally.wrong("%s: %v", path, err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	gone := res.StatusCode == http.StatusConflict
	s.tally.count(path, time.Since(begin), gone)
	switch {
	case err != nil:
		s.tally.wrong("%s: reading: %v", path, err)
	case gone:
	case res.StatusCode != http.StatusOK:
		s.tally.wrong("%s: status %d", path, res.StatusCode)
	case string(body) != "" && string(body) != d.user:
		s.tally.wrong("%s: a device of %s is served as %s", path, d.user, body)
	}
	if n := len(res.Header.Values("Set-Cookie")); n > 1 {
		s.tally.wrong("%s: %d cookies in one response", path, n)
	}
}
