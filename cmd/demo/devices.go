package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

// device is one login of the user.
type device struct {
	redsession.Info
	Current bool   // this browser's
	Seen    string // how long ago
}

func (d *demo) devicesOf(ctx context.Context, s *redsession.Session) ([]device, error) {
	infos, err := d.sessions.Sessions(ctx, s.UserID())
	if err != nil {
		return nil, err
	}
	devices := make([]device, len(infos))
	for i, info := range infos {
		devices[i] = device{info, info.ID == s.ID(), "now"}
		if ago := d.now().Sub(info.LastSeen); !devices[i].Current && ago >= time.Second {
			devices[i].Seen = span(ago) + " ago"
		}
	}
	return devices, nil
}

func (d *demo) devices(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	devices, err := d.devicesOf(r.Context(), s)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.show(w, s, http.StatusOK, "devices", view{Title: "Your devices", Path: "/devices", Body: devices})
}

func (d *demo) revokeDevice(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	id := r.PostFormValue("id")
	if id == s.ID() {
		d.logout(w, r)
		return
	}
	ended, err := d.sessions.RevokeOf(r.Context(), s.UserID(), id)
	switch {
	case err != nil:
		d.fail(w, r, err)
		return
	case ended:
		s.Flash("That device is logged out.")
	default:
		s.Flash("That device had logged out already.")
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}

func (d *demo) revokeOthers(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	n, err := d.sessions.RevokeOthers(r.Context(), s)
	switch {
	case err != nil:
		d.fail(w, r, err)
		return
	case n == 0:
		s.Flash("There was no other device.")
	case n == 1:
		s.Flash("One other device is logged out.")
	default:
		s.Flash(fmt.Sprintf("%d other devices are logged out.", n))
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}
