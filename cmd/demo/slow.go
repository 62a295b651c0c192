package main

import (
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

const (
	slowPath = "/account/slow"
	slowTime = 10 * time.Second
	slowDone = redsession.Key[int]("slow_requests")
)

// slow changes the session at the end of a long request. Whoever logs out
// meanwhile sees that it does not bring the session back.
func (d *demo) slow(w http.ResponseWriter, r *http.Request) {
	d.slowRunning.Add(1)
	defer d.slowRunning.Add(-1)
	s := redsession.FromContext(r.Context())
	timer := time.NewTimer(slowTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Context().Done(): // ended: nobody need wait to see what becomes of the change
	}
	slowDone.Update(s, func(n int) int { return n + 1 })
	if err := s.Save(r.Context()); err != nil {
		d.fail(w, r, err)
		return
	}
	d.answer(w, r, http.StatusOK, "The slow request is done", "Your session lived all the while, so the change was kept.")
}
