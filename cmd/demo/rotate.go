package main

import (
	"net/http"
	"slices"

	"github.com/redsession/redsession"
)

// maxChanges is how many changes of the id are shown.
const maxChanges = 4

// changes is the latest changes of the session's id, oldest first.
const changes = redsession.Key[[]idChange]("id_changes")

// idChange is one change of the public id. Before is empty if there was no
// session to store, After until the request that follows.
type idChange struct {
	Why    string `json:"why"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// noteChange keeps that the request is about to change the session's id, which
// was before.
func noteChange(s *redsession.Session, before, why string) {
	changes.Update(s, func(old []idChange) []idChange {
		list := append(settled(old, before), idChange{Why: why, Before: before})
		return list[max(0, len(list)-maxChanges):]
	})
}

// settleChanges keeps what the latest change has led to, and a change that no
// handler has asked for. It can wait until Redis is back.
func settleChanges(s *redsession.Session) {
	id := s.ID()
	list, _ := changes.Get(s)
	if n := len(list); s.Degraded() || n == 0 || list[n-1].After == id {
		return
	}
	changes.Update(s, func(old []idChange) []idChange {
		list := settled(old, id)
		return list[max(0, len(list)-maxChanges):]
	})
}

// settled returns list up to the session's having the given id.
func settled(list []idChange, id string) []idChange {
	list = slices.Clone(list)
	switch n := len(list); {
	case n == 0:
	case list[n-1].After == "":
		list[n-1].After = id
	case list[n-1].After != id:
		list = append(list, idChange{Why: "timed rotation", Before: list[n-1].After, After: id})
	}
	return list
}

// rotate gives the session a new id now, as a timed rotation does every few
// hours.
func (d *demo) rotate(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	noteChange(s, s.ID(), "your wish")
	s.Rotate()
	s.Flash("Your session has a new id. For a minute the old one leads on to it, for requests that are on their way.")
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}
