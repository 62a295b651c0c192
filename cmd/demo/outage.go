package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

const (
	switchPath = "/operations/redis"
	noticeTime = 3 * time.Second
)

// outage is what the events of the sessions tell of Redis being away.
type outage struct {
	mu      sync.Mutex // guards what follows
	away    bool
	since   time.Time
	changed chan struct{}
}

func newOutage() *outage { return &outage{changed: make(chan struct{})} }

// watch is Config.OnEvent.
func (o *outage) watch(_ context.Context, e redsession.Event) {
	if e.Kind != redsession.EventOutageBegan && e.Kind != redsession.EventOutageEnded {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away = e.Kind == redsession.EventOutageBegan; o.away {
		o.since = time.Now()
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// state tells whether Redis is away, for how long, and what is closed when that
// changes.
func (o *outage) state() (down bool, length time.Duration, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.away {
		return false, 0, o.changed
	}
	return true, time.Since(o.since), o.changed
}

func (o *outage) down() bool {
	down, _, _ := o.state()
	return down
}

// outageState answers the script of the pages. It knows no session, so asking
// prolongs none.
func (d *demo) outageState(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]bool{"down": d.outage.down()}) // the client may have gone
}

// switchRedis takes the embedded Redis away or brings it back, and answers once
// the sessions have noticed.
func (d *demo) switchRedis(w http.ResponseWriter, r *http.Request) {
	away := r.PostFormValue("redis") == "away"
	if d.redis.inside == nil {
		d.show(w, nil, http.StatusNotFound, "message", view{Title: "No switch here", Body: "Only the Redis inside this program can be taken away."})
		return
	}
	slog.Info("switching the embedded Redis", "away", away)
	d.redis.inside.SetAway(away)
	ctx, cancel := context.WithTimeout(r.Context(), noticeTime)
	defer cancel()
	if away {
		go func() { _, _ = d.sessions.Sessions(ctx, "") }() // fails: that is what it is for
	}
	d.notice(ctx, away)
	http.Redirect(w, r, "/operations", http.StatusSeeOther)
}

// notice waits until the sessions have noticed that Redis is away, or back.
func (d *demo) notice(ctx context.Context, away bool) {
	for {
		down, _, changed := d.outage.state()
		if down == away {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
