package redsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/importstate"
	"github.com/redsession/redsession/internal/jsonvalue"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
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
	// Decode is for packages that keep sessions inside the cookie, in the place of
	// Verify, Load and Delete: it returns the session that the cookie's value holds, or
	// an error if the old package would not accept it. CreatedAt is when the value was
	// written, and ExpiresAt at most MaxAge later. ID tells one value from another, and
	// is made from the value if it is empty.
	//
	// No value of such a cookie can be deleted, so that one written before the user's
	// last logout or revocation is refused, until MaxAge is over: on every device of the
	// user. Each logout costs one round trip more for it. Decode runs for every request
	// that comes with the old cookie and no session of ours, and for all with SideBySide:
	// then a session of ours goes on while the values name the same user, and what old
	// servers write into them afterwards is not seen.
	Decode func(value string) (*LegacyRecord, error)
	// MaxAge is how long the old package accepts a value after it was written. It is
	// needed with Decode, and for nothing else.
	MaxAge time.Duration
}

// LegacyRecord is one session of another package.
type LegacyRecord struct {
	Source    string // what Legacy.Source says
	ID        string // what the old cookie stands for
	UserID    string // "" if nobody has logged in
	Values    map[string]any
	CreatedAt time.Time // zero if unknown: then it is taken for older than any RevokeUser of its user
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
	ImportEnded                 // it ended here already, or its user was revoked since its login
	ImportExpired               // it was past its end
	ImportRefused               // it cannot be a session, or not be kept as it is: Err says why
)

// ImportOutcome is what became of one record.
type ImportOutcome struct {
	ID     string // public id of the session
	Status ImportStatus
	Err    error
}

// maxLegacyID bounds an old id. The longest in use has 103 characters.
const maxLegacyID = 1024

// legacyID is the public id of the session that another package calls id.
func legacyID(id string) string { return keyspace.HashID([]byte(id)) }

// Import stores sessions of another package, each for as long as it has left, and
// returns what became of each, in the order of records. A session that is there
// already stays as it is, unless force is set; one that ended here stays ended in
// any case. Sessions of a user appear in that user's list. The only error is
// ErrUnavailable: what the outcomes do not tell of was not looked at, and all of it
// may be imported again.
//
// With Config.Adopt the old cookie then leads to the session.
func (m *Manager) Import(ctx context.Context, records []LegacyRecord, force bool) ([]ImportOutcome, error) {
	return m.importAll(m.patient(ctx), records, force)
}

func (m *Manager) importAll(ctx context.Context, records []LegacyRecord, force bool) ([]ImportOutcome, error) {
	outcomes := make([]ImportOutcome, 0, len(records))
	for page := range slices.Chunk(records, importPageLen) {
		some, err := m.importPage(ctx, page, force)
		outcomes = append(outcomes, some...)
		if err != nil {
			return outcomes, fmt.Errorf("redsession: importing: %w: %w", ErrUnavailable, err)
		}
	}
	return outcomes, nil
}

// importPage imports what one pipeline carries, and then enters it in the users'
// indexes: an entry without a record is taken for dead.
func (m *Manager) importPage(ctx context.Context, records []LegacyRecord, force bool) ([]ImportOutcome, error) {
	outcomes := make([]ImportOutcome, len(records))
	var sent []*imported
	for i := range records {
		var im *imported
		if im, outcomes[i] = m.prepare(&records[i]); im != nil {
			im.outcome = &outcomes[i]
			sent = append(sent, im)
		}
	}
	steps := make([]store.Step, len(sent))
	for i, im := range sent {
		im.step = store.Import{ID: im.id, Raw: im.raw, TTL: im.ttl, Force: force}
		steps[i] = &im.step
	}
	if err := m.store.Each(ctx, steps); err != nil {
		return nil, err
	}
	for _, im := range sent {
		im.outcome.Status = importStatus[im.step.Status]
	}
	listed, err := m.toList(ctx, sent)
	if err != nil {
		return nil, err
	}
	if err := m.enter(ctx, listed); err != nil {
		return nil, err
	}
	for i, o := range outcomes {
		if o.Status == ImportStored {
			m.emit(ctx, Event{Kind: EventImported, ID: o.ID, UserID: records[i].UserID})
		}
	}
	return outcomes, nil
}

// enter enters imported sessions in their users' indexes. Those whose user was revoked
// since the old login end.
func (m *Manager) enter(ctx context.Context, listed []*imported) error {
	enters, steps := make([]store.Enter, len(listed)), make([]store.Step, len(listed))
	for i, im := range listed {
		enters[i] = store.Enter{
			Index: store.OfUser(im.rec.User), ID: im.id, Score: im.rec.Auth, Checked: im.rec.Auth, Latest: m.latestMark(),
			Life: time.Duration(max(im.rec.Deadline-im.rec.Written, 1)) * time.Second,
		}
		steps[i] = &enters[i]
	}
	if err := m.store.Each(ctx, steps); err != nil {
		return err
	}
	for i, im := range listed {
		if !enters[i].Revoked {
			continue
		}
		if _, err := m.endOf(ctx, im.id, im.rec, true); err != nil {
			return err
		}
		im.outcome.Status = ImportEnded
	}
	return nil
}

// toList returns those of sent that belong into their users' indexes. What was
// there already may meanwhile be another user's.
func (m *Manager) toList(ctx context.Context, sent []*imported) ([]*imported, error) {
	var listed, there []*imported
	var ids []string
	for _, im := range sent {
		switch {
		case im.rec.User == "":
		case im.outcome.Status == ImportStored:
			listed = append(listed, im)
		case im.outcome.Status == ImportExisting:
			there, ids = append(there, im), append(ids, im.id)
		}
	}
	for len(ids) > 0 {
		n := min(len(ids), store.Page)
		found, err := m.store.Entries(ctx, ids[:n])
		if err != nil {
			return nil, err
		}
		for i, e := range found {
			if rec, err := m.open(e.ID, e.Value); err == nil && rec != nil && rec.User == there[i].rec.User {
				listed = append(listed, there[i])
			}
		}
		ids, there = ids[n:], there[n:]
	}
	return listed, nil
}

// importStatus says what an import found in terms of the public API.
var importStatus = map[store.ImportStatus]ImportStatus{
	store.ImportStored: ImportStored, store.ImportExisting: ImportExisting, store.ImportEnded: ImportEnded,
}

// importPageLen is how many sessions one pipeline imports.
const importPageLen = 500

// imported is a record on its way in.
type imported struct {
	id, raw string
	rec     *record.Record
	ttl     time.Duration
	step    store.Import
	outcome *ImportOutcome
}

// prepare seals what lr says. Without a result the outcome says why.
func (m *Manager) prepare(lr *LegacyRecord) (*imported, ImportOutcome) {
	refuse := func(err error) (*imported, ImportOutcome) {
		return nil, ImportOutcome{ID: legacyID(lr.ID), Status: ImportRefused, Err: fmt.Errorf("redsession: importing: %w", err)}
	}
	if lr.ID == "" || len(lr.ID) > maxLegacyID {
		return refuse(fmt.Errorf("the old id has %d bytes, want 1 to %d", len(lr.ID), maxLegacyID))
	}
	if !isToken(lr.Source) {
		return refuse(errors.New("LegacyRecord.Source is no name: want letters, digits, - and _"))
	}
	now := m.cfg.Now()
	ends := lr.ExpiresAt
	if ends.IsZero() {
		ends = now.Add(m.cfg.IdleTimeout)
	}
	ttl := m.cfg.Assurance.left(lr, now, min(ends.Sub(now), mostTime))
	if ttl < time.Second {
		return nil, ImportOutcome{ID: legacyID(lr.ID), Status: ImportExpired}
	}
	rec := m.legacyHead(lr, now, ttl)
	fields, err := legacyFields(lr.Values)
	if err != nil {
		return refuse(err)
	}
	rec.SetFields(fields)
	id := legacyID(lr.ID)
	raw, err := rec.Encode(m.ring, m.keys.Session(id), m.cfg.Encrypt)
	if err != nil {
		return refuse(err)
	}
	if size := rec.DataLen(); size > m.cfg.MaxBytes {
		return refuse(fmt.Errorf("%w: its values take %d bytes, Config.MaxBytes allows %d", ErrTooLarge, size, m.cfg.MaxBytes))
	}
	return &imported{id: id, raw: raw, rec: rec, ttl: ttl}, ImportOutcome{ID: id}
}

// legacyHead gives an old session the lifetimes of a new one, but for what it had
// left: that it never loses, and until its owner comes back it gets no more.
func (m *Manager) legacyHead(lr *LegacyRecord, now time.Time, ttl time.Duration) *record.Record {
	created, known := lr.CreatedAt, lr.CreatedAt.Unix() > 0
	if !known || created.After(now) {
		created = now
	}
	rec := &record.Record{
		Created: created.Unix(), Idle: seconds(m.cfg.AnonymousTimeout), Written: now.Unix(),
		Deadline: max(created.Add(m.cfg.AbsoluteTimeout).Unix(), now.Add(ttl).Unix()),
		User:     lr.UserID, Source: lr.Source,
	}
	if lr.UserID != "" {
		rec.Idle = seconds(m.cfg.IdleTimeout)
		if known { // an unknown login is no recent one
			rec.Auth = created.UnixMicro()
		}
	}
	if lr.Persistent {
		rec.Remember = rec.Deadline - now.Unix()
	}
	return rec
}

func legacyFields(values map[string]any) ([]record.Field, error) {
	fields := make([]record.Field, 0, len(values))
	for name, v := range values {
		raw, err := jsonvalue.Encode(v)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the value of %q does not encode (%T)", name, err) // whose text may quote it
		case name == flashKey && !isTexts(v):
			return nil, fmt.Errorf("the name %q is reserved for flashes, which are a []string", name)
		case !utf8.ValidString(name):
			return nil, errKeyNotUTF8
		}
		fields = append(fields, record.Field{Name: name, Raw: raw})
	}
	slices.SortFunc(fields, func(a, b record.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields, nil
}

func isTexts(v any) bool {
	_, ok := v.([]string)
	return ok
}

func init() {
	importstate.Of = func(manager any) (client redis.UniversalClient, prefix string) {
		m := manager.(*Manager)
		return m.client, m.cfg.Prefix
	}
}
