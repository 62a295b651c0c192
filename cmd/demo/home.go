package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/redsession/redsession"
)

const visits = redsession.Key[int]("visits")

type homeView struct {
	Visits int
	ID     string
	Ended  bool // the cookie's session has ended a moment ago
	Down   bool // Redis does not answer
	Where  string
}

func (d *demo) home(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	v := homeView{Where: d.redis.name}
	var err error
	v.Visits, err = d.countVisit(r.Context(), s)
	// This page can do without the count, and says so: an id that a login or a
	// logout has just replaced takes no changes, nor does a Redis that is away.
	v.Ended, v.Down = errors.Is(err, redsession.ErrGone), errors.Is(err, redsession.ErrUnavailable)
	if err != nil && !v.Ended && !v.Down {
		d.fail(w, r, err)
		return
	}
	v.ID = s.ID()
	d.show(w, s, http.StatusOK, "home", view{Title: "Sessions in Redis", Path: "/", Body: v})
}

// countVisit counts a page view. It commits at once, so that the caller can
// decide what a failure means. While Redis is away it does not even try: nobody
// should wait for a counter.
func (d *demo) countVisit(ctx context.Context, s *redsession.Session) (int, error) {
	if d.outage.down() || s.Degraded() {
		n, _ := visits.Get(s)
		return n, redsession.ErrUnavailable
	}
	visits.Update(s, func(n int) int { return n + 1 })
	err := s.Save(ctx)
	n, _ := visits.Get(s)
	return n, err
}
