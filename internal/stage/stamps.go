package stage

import (
	"context"
	"sync"

	"github.com/redsession/redsession"
)

// Stamps is a Config.UserStamp that tests change. It is safe for concurrent use.
type Stamps struct {
	mu    sync.Mutex // guards what follows
	stamp string
	err   error
}

// NewStamps returns Stamps that give every user this stamp.
func NewStamps(stamp string) *Stamps { return &Stamps{stamp: stamp} }

// Set has every user have this stamp from now on, or the look-up fail with err.
func (st *Stamps) Set(stamp string, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stamp, st.err = stamp, err
}

// Configure has a Manager use st.
func (st *Stamps) Configure(c *redsession.Config) { c.UserStamp = st.Of }

// Of is the stamp of a user.
func (st *Stamps) Of(context.Context, string) (string, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stamp, st.err
}
