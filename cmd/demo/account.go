package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

// value is one value of the session, as Redis holds it.
type value struct{ Key, JSON string }

type accountView struct {
	Visits    int
	ID        string
	Changes   []idChange
	SlowTime  time.Duration
	NoDevice  bool // Redis is away, which alone knows it
	Created   time.Time
	Auth      time.Time
	Expires   time.Time
	Remaining time.Duration
	Device    redsession.Info
	Values    []value
}

func (d *demo) account(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	settleChanges(s)
	n, err := d.countVisit(r.Context(), s)
	if err != nil && !s.Degraded() { // from memory it is shown all the same, and not counted
		d.fail(w, r, err)
		return
	}
	v := accountView{
		Visits: n, ID: s.ID(), Created: s.CreatedAt(), Auth: s.AuthTime(), SlowTime: slowTime,
		Expires: s.ExpiresAt(), Remaining: s.ExpiresAt().Sub(d.now()),
	}
	v.Changes, _ = changes.Get(s)
	var devices []device
	if !s.Degraded() { // who is served from memory need not wait for the rest
		if devices, err = d.devicesOf(r.Context(), s); err != nil && !errors.Is(err, redsession.ErrUnavailable) {
			d.fail(w, r, err)
			return
		}
	}
	v.NoDevice = devices == nil
	for _, device := range devices {
		if device.Current {
			v.Device = device.Info
		}
	}
	for _, key := range s.Keys() {
		raw, _ := redsession.Key[json.RawMessage](key).Get(s)
		v.Values = append(v.Values, value{key, string(raw)})
	}
	d.show(w, s, http.StatusOK, "account", view{Title: "Your account", Path: "/account", Body: v})
}

func (d *demo) secret(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	left := recentLogin - d.now().Sub(s.AuthTime())
	d.show(w, s, http.StatusOK, "secret", view{Title: "A page that matters", Path: "/secret", Body: left})
}
