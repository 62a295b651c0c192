package redsession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/importstate"
	"github.com/redsession/redsession/internal/record"
)

// maxLegacyID bounds an old id. The longest in use has 103 characters.
const maxLegacyID = 1024

// takeOverRoom is how many bytes a record may grow by when its owner comes back:
// the remote address, the user agent, where it came from.
const takeOverRoom = 640

// legacyID is the public id of the session that another package calls id.
func legacyID(id string) string { return hashed([]byte(id)) }

// Import stores sessions of another package, each for as long as it has left, and
// returns what became of each, in the order of records. A session that is there
// already stays as it is, unless force is set; one that ended here stays ended in
// any case. Sessions of a user appear in that user's list. The only error is
// ErrUnavailable: what the outcomes do not tell of was not looked at, and all of it
// may be imported again.
//
// With Config.Adopt the old cookie then leads to the session.
func (m *Manager) Import(ctx context.Context, records []LegacyRecord, force bool) ([]ImportOutcome, error) {
	outcomes := make([]ImportOutcome, 0, len(records))
	for page := range slices.Chunk(records, page) {
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
	if err := m.store.storeImported(ctx, sent, force); err != nil {
		return nil, err
	}
	listed, err := m.toList(ctx, sent)
	if err != nil {
		return nil, err
	}
	if err := m.store.listImported(ctx, listed); err != nil {
		return nil, err
	}
	for i, o := range outcomes {
		if o.Status == ImportStored {
			m.emit(ctx, Event{Kind: EventImported, ID: o.ID, UserID: records[i].UserID})
		}
	}
	return outcomes, nil
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
	found, err := m.store.entries(ctx, ids)
	for i, e := range found {
		if rec, err := m.open(e); err == nil && rec != nil && rec.User == there[i].rec.User {
			listed = append(listed, there[i])
		}
	}
	return listed, err
}

// imported is a record on its way in.
type imported struct {
	id, raw string
	rec     *record.Record
	ttl     time.Duration
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
	ttl := min(ends.Sub(now), mostTime)
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
	raw, err := rec.Encode(m.ring, m.store.key(id), m.cfg.Encrypt)
	if err != nil {
		return refuse(err)
	}
	if len(raw)+takeOverRoom > m.cfg.MaxBytes {
		return refuse(fmt.Errorf("%w: %d bytes, Config.MaxBytes allows %d", ErrTooLarge, len(raw), m.cfg.MaxBytes))
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
		raw, err := json.Marshal(v)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the value of %q does not encode (%T)", name, err) // whose text may quote it
		case name == flashKey && !isTexts(v):
			return nil, fmt.Errorf("the name %q is reserved for flashes, which are a []string", name)
		case !utf8.ValidString(name):
			return nil, errKeyNotUTF8
		}
		fields = append(fields, record.Field{Name: name, Raw: string(raw)})
	}
	slices.SortFunc(fields, func(a, b record.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields, nil
}

func isTexts(v any) bool {
	_, ok := v.([]string)
	return ok
}

// ImportState is for package importer alone: where the state of imports is kept.
func (a *Admin) ImportState(importstate.Key) (client redis.UniversalClient, prefix string) {
	return a.store.client, a.store.prefix
}
