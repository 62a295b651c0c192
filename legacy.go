package redsession

import (
	"context"
	"time"
)

// Legacy is another package's sessions, to be taken over live: the first request
// that carries the old cookie, and no valid one of ours, goes on with the session
// of that cookie under an id of ours.
type Legacy struct {
	// Source names the kind of sessions, for example "scs". Only sessions imported
	// with the same LegacyRecord.Source are taken over.
	Source string
	// Cookie is the name of the old cookie. Domain and Path are what it was set
	// with, if not the defaults: a browser forgets a cookie only by the same.
	Cookie, Domain, Path string
	// Verify returns the old id that the cookie's value stands for, or an error if
	// the old package would not have accepted it. Nil takes the value as it is.
	Verify func(value string) (legacyID string, err error)
	// Load reads the session from where the old package keeps it, and returns nil
	// if there is none. With a nil Load only imported sessions are taken over.
	Load func(ctx context.Context, legacyID string) (*LegacyRecord, error)
	// Delete removes the session from where the old package keeps it. Nil leaves it
	// there; a logged-out session is not taken over again all the same.
	Delete func(ctx context.Context, legacyID string) error
	// SideBySide leaves the old cookie and the old session in place until logout,
	// while servers of the old kind are still running.
	SideBySide bool
}

// LegacyRecord is one session of another package.
type LegacyRecord struct {
	Source    string // what Legacy.Source says
	ID        string // what the old cookie stands for
	UserID    string // "" if nobody has logged in
	Values    map[string]any
	CreatedAt time.Time // zero if unknown
	ExpiresAt time.Time // when it ends unless its owner comes back; zero for Config.IdleTimeout from now
	// Persistent says that the old cookie survives the browser. Ours then does too.
	Persistent bool
}

// ImportStatus is what became of one record.
type ImportStatus int

// What may become of a record.
const (
	ImportStored   ImportStatus = iota + 1
	ImportExisting              // a session is there already, and stays as it is
	ImportEnded                 // it ended here already, and stays ended
	ImportExpired               // it was past its end
	ImportRefused               // it cannot be a session: Err says why
)

// ImportOutcome is what became of one record.
type ImportOutcome struct {
	ID     string // public id of the session
	Status ImportStatus
	Err    error
}
