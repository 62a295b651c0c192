package stage

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/redsession/redsession"
)

// OldStore is where another package keeps its sessions, behind a cookie named oldsid. The zero value is empty; it is safe
// for concurrent use.
type OldStore struct {
	mu       sync.Mutex // guards sessions
	sessions map[string]redsession.LegacyRecord
}

// Put stores a session, in place of one with the same id.
func (o *OldStore) Put(lr redsession.LegacyRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sessions == nil {
		o.sessions = make(map[string]redsession.LegacyRecord)
	}
	o.sessions[lr.ID] = lr
}

// Load is a Legacy.Load.
func (o *OldStore) Load(_ context.Context, id string) (*redsession.LegacyRecord, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if lr, ok := o.sessions[id]; ok {
		return &lr, nil
	}
	return nil, nil
}

// Remove is a Legacy.Delete.
func (o *OldStore) Remove(_ context.Context, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, id)
	return nil
}

// Has tells whether there is a session with this id.
func (o *OldStore) Has(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.sessions[id]
	return ok
}

// Legacy has the sessions taken over for good.
func (o *OldStore) Legacy() redsession.Legacy {
	return redsession.Legacy{Source: "old", Cookie: "oldsid", Load: o.Load, Delete: o.Remove}
}

// SideBySide is Legacy for as long as servers of the old kind are running.
func (o *OldStore) SideBySide() redsession.Legacy {
	l := o.Legacy()
	l.SideBySide = true
	return l
}

// OldSession is a session of user's for an OldStore: an hour old, with a cart, and 48 hours left.
func OldSession(e *Env, id, user string) redsession.LegacyRecord {
	return redsession.LegacyRecord{
		Source: "old", ID: id, UserID: user, Values: map[string]any{"cart": []string{"tea"}},
		CreatedAt: e.Clock.Now().Add(-time.Hour), ExpiresAt: e.Clock.Now().Add(48 * time.Hour),
	}
}

// Adopting has a Config take over what these say.
func Adopting(list ...redsession.Legacy) func(*redsession.Config) {
	return func(c *redsession.Config) { c.Adopt = list }
}

// WithOldCookie returns another browser with this old cookie and none of ours.
func (st *Scripted) WithOldCookie(old string) *Scripted {
	b := st.Fork("")
	b.RenewOldCookie(old)
	return b
}

// RenewOldCookie is what a server of the old kind does to the cookie at a login.
func (st *Scripted) RenewOldCookie(old string) {
	u, _ := url.Parse(st.Base)
	st.HTTP.Jar.SetCookies(u, []*http.Cookie{{Name: "oldsid", Value: old, Path: "/"}})
}
