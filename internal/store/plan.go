package store

import (
	"errors"
	"strconv"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

// Plan is what a commit does to Redis, in three parts, because a pipeline cannot
// branch and a refusal in the middle must leave nothing broken. Prepare adds what
// nobody can reach yet, Decide is the one step that makes the change true, and Tidy
// takes out what is of no use any more. Decide runs only when all of Prepare is known
// to be done, Tidy only after Decide.
type Plan struct {
	Prepare []Step
	Decide  Step // nil where nothing has to be decided
	Tidy    []Step
	// InOrder has the first step of Prepare done before the others also where they are round
	// trips apart.
	InOrder bool
	// AwaitTidy has Run wait for Tidy also where the parts are round trips apart.
	AwaitTidy bool
	// Until is when it is too late for Decide; zero for never. Run looks at the clock right
	// before it sends that.
	Until time.Time
}

// ErrLate is that Plan.Until was over before Decide was sent. Prepare may have been done.
var ErrLate = errors.New("too late to decide")

func (p *Plan) late() bool { return !p.Until.IsZero() && !time.Now().Before(p.Until) }

// Step is one thing that a Plan does to one key. Run leaves in it what came of it.
type Step interface {
	key(keyspace.Space) string
	args(to []any) []any // to and what the script wants
	take(reply any)
}

// Insert stores a new record, if nothing lies under its key but what an earlier try of
// the same commit put there.
type Insert struct {
	ID, Raw string
	TTL     time.Duration
	Earlier string // revision that an earlier try stored, "" for none
}

func (i *Insert) key(s keyspace.Space) string { return s.Session(i.ID) }
func (i *Insert) args(to []any) []any {
	return append(to, "insert", record.Rev(i.Raw), i.Earlier, i.Raw, seconds(i.TTL))
}
func (i *Insert) take(any) {}

// Replace puts a record or tombstone in the place of one whose revision is Rev.
type Replace struct {
	ID, Rev, Raw string
	TTL          time.Duration
	KeepTTL      bool // what lies there lives on for as long as it would have, and TTL at most
}

func (r *Replace) key(s keyspace.Space) string { return s.Session(r.ID) }
func (r *Replace) args(to []any) []any {
	op := "replace"
	if r.KeepTTL {
		op = "rewrite"
	}
	return append(to, op, r.Rev, r.Raw, seconds(r.TTL))
}
func (r *Replace) take(any) {}

// Burial is a tombstone and how long it stays; the zero value leaves nothing.
type Burial struct {
	Raw  string
	Life time.Duration
}

// End takes a session away, whatever its revision. In its place it puts With, or, as an
// imported session might be found again where it came from, Grave. Tombstones stay as
// they are, but for one that leads on if Force is set: what it leads to must have ended
// before. What this package did not write stays too.
type End struct {
	ID          string
	With, Grave Burial
	Force       bool
	Bury        bool // put With where nothing lies
	HeadOnly    bool // Found has no more than record.HeadLen bytes

	Found record.Value // what lay there
}

func (e *End) key(s keyspace.Space) string { return s.Session(e.ID) }
func (e *End) args(to []any) []any {
	most := -1
	if e.HeadOnly {
		most = record.HeadLen
	}
	return append(to, "end", e.With.Raw, seconds(e.With.Life), e.Grave.Raw, seconds(e.Grave.Life), flag(e.Force), flag(e.Bury), most)
}
func (e *End) take(reply any) { e.Found = value(reply) }

// Index names a sorted set of ids: of a user's sessions, or of those with a tag.
type Index struct {
	User string
	Tag  string // its keyed hash; "" for a user's index
}

// OfUser names the index of user's sessions.
func OfUser(user string) Index { return Index{User: user} }

// OfTag names the index of the sessions with the tag of this keyed hash.
func OfTag(hash string) Index { return Index{Tag: hash} }

func (i Index) key(s keyspace.Space) string {
	if i.Tag != "" {
		return s.Tag(i.Tag)
	}
	return s.User(i.User)
}

// Enter puts a login into an index, unless all in that was revoked after the password was
// checked, or it is full. Something else than an index under that key is taken away.
type Enter struct {
	Index
	ID      string
	Score   int64         // of the login, Unix microseconds
	Life    time.Duration // the index is kept for so long at least
	Limit   int           // 0 for none
	Old     string        // id that this login replaces, which does not count towards Limit
	Checked int64         // when the password was checked, Unix microseconds
	Latest  int64         // a revocation that claims to be later counts as none, Unix microseconds
	Refuse  bool          // enter nothing if Limit others are there already, Old and Spared not counted
	Spared  []string      // ids that count for nothing

	Full    bool      // refused, as so many are there
	Revoked bool      // refused, as all in the index was revoked since
	Length  int64     // of the index now
	Aside   bool      // something else lay there
	Over    int64     // how many entries are beyond Limit, Old not counted
	Oldest  []Indexed // if there are any, the first Page of the index, as Store.Index returns it
}

func (e *Enter) args(to []any) []any {
	if !e.Refuse {
		return append(to, "enter", e.ID, e.Score, seconds(e.Life), e.Limit, e.Old, e.Checked, e.Latest)
	}
	to = append(to, "admit", 7+len(e.Spared), e.ID, e.Score, seconds(e.Life), e.Limit, e.Old, e.Checked, e.Latest)
	for _, id := range e.Spared {
		to = append(to, id)
	}
	return to
}

func (e *Enter) take(reply any) {
	e.Length, e.Aside, e.Over, e.Oldest = 0, false, 0, nil
	list, _ := reply.([]any)
	if len(list) < 4 {
		return
	}
	number := func(i int) int64 { n, _ := list[i].(int64); return n }
	e.Length, e.Aside, e.Over = number(0), number(1) == 1, max(0, number(2))
	page, _ := list[3].([]any)
	for i := 0; i+1 < len(page) && len(e.Oldest) < Page; i += 2 {
		id, _ := page[i].(string)
		text, _ := page[i+1].(string)
		if score, err := strconv.ParseFloat(text, 64); err == nil && id != markMember {
			e.Oldest = append(e.Oldest, Indexed{id, int64(score)})
		}
	}
}

// Move puts the id of a rotated session into an index in the place of the old one ("" for
// none). Doing it twice does no harm.
type Move struct {
	Index
	ID, Old string
	Score   int64
	Life    time.Duration
}

func (m *Move) args(to []any) []any { return append(to, "move", m.ID, m.Score, seconds(m.Life), m.Old) }
func (m *Move) take(any)            {}

// Leave takes ids out of an index.
type Leave struct {
	Index
	IDs []string
}

func (l *Leave) args(to []any) []any {
	to = append(to, "leave", len(l.IDs))
	for _, id := range l.IDs {
		to = append(to, id)
	}
	return to
}
func (l *Leave) take(any) {}

// Mark notes in an index that all in it was revoked: a login whose password was checked
// before At is refused for as long as Life.
type Mark struct {
	Index
	At     int64 // Unix microseconds
	Latest int64 // a mark that claims to be later than this gives way, Unix microseconds
	Life   time.Duration
}

// markMember is the member of an index that holds the time of the mark as its score.
const markMember = "*"

func (m *Mark) args(to []any) []any { return append(to, "mark", m.At, seconds(m.Life), m.Latest) }
func (m *Mark) take(any)            {}

// Import stores the record of another package's session where nothing lies or where its
// own first try left it, with Force over another record too, and never over a tombstone or
// what this package did not write.
type Import struct {
	ID, Raw string
	TTL     time.Duration
	Force   bool

	Status ImportStatus
}

// ImportStatus is what an Import found.
type ImportStatus int64

// What an Import may find.
const (
	ImportStored   ImportStatus = iota + 1
	ImportExisting              // something lies there, and stays
	ImportEnded                 // a tombstone lies there, and stays
)

func (i *Import) key(s keyspace.Space) string { return s.Session(i.ID) }
func (i *Import) args(to []any) []any {
	return append(to, "import", i.Raw, seconds(i.TTL), record.Rev(i.Raw), flag(i.Force))
}

func (i *Import) take(reply any) {
	status, _ := reply.(int64)
	i.Status = ImportStatus(status)
}

// Introduce stores the key of a device, if nothing lies there yet.
type Introduce struct {
	Identifier, Raw string
	TTL             time.Duration
}

func (i *Introduce) key(s keyspace.Space) string { return s.Binding(i.Identifier) }
func (i *Introduce) args(to []any) []any {
	return append(to, "insert", record.Rev(i.Raw), "", i.Raw, seconds(i.TTL))
}
func (i *Introduce) take(any) {}

// Keep makes the key of a device live for TTL at least, and is refused if it is gone.
type Keep struct {
	Identifier string
	TTL        time.Duration
}

func (k *Keep) key(s keyspace.Space) string { return s.Binding(k.Identifier) }
func (k *Keep) args(to []any) []any         { return append(to, "keep", seconds(k.TTL)) }
func (k *Keep) take(any)                    {}

// Dismiss takes the key of a device away.
type Dismiss struct{ Identifier string }

func (d *Dismiss) key(s keyspace.Space) string { return s.Binding(d.Identifier) }
func (d *Dismiss) args(to []any) []any         { return append(to, "dismiss") }
func (d *Dismiss) take(any)                    {}

// parts returns the steps of p that there are, part by part: what comes first, the rest of
// Prepare, Decide, and Tidy.
func (p *Plan) parts() [][]Step {
	var decide []Step
	if p.Decide != nil {
		decide = []Step{p.Decide}
	}
	if p.InOrder && len(p.Prepare) > 1 {
		return [][]Step{p.Prepare[:1], p.Prepare[1:], decide, p.Tidy}
	}
	return [][]Step{nil, p.Prepare, decide, p.Tidy}
}

// value is what a script says of a key: a string, false for nothing, 1 for something
// that is no string.
func value(reply any) record.Value {
	switch v := reply.(type) {
	case string:
		return record.Present(v)
	case int64:
		return record.Foreign()
	}
	return record.Value{}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}
