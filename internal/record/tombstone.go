package record

import (
	"strconv"
	"strings"
	"time"
)

// tombMark follows the revision of a tombstone. The script that ends a session
// looks for it, and for the successor's id behind it, at this fixed place.
const tombMark = `,"z":"`

// HeadLen is how many bytes of a record or tombstone Peek wants.
const HeadLen int64 = int64(len(head) + revLen + 1 + len(tombMark) + idLen + 1)

const idLen = 32

// Peek tells from the first HeadLen bytes of a value, unverified, whether it is
// a record, and of a tombstone where it leads, "" for nowhere.
func Peek(raw string) (isRecord bool, next string) {
	at := len(head) + revLen + 1
	if len(raw) < at+len(tombMark) || raw[:len(head)] != head {
		return false, ""
	}
	if raw[at:at+len(tombMark)] != tombMark {
		return true, ""
	}
	if rest := raw[at+len(tombMark):]; len(rest) > idLen && rest[idLen] == '"' {
		return false, rest[:idLen]
	}
	return false, ""
}

// Tombstone stands where a session was, so that requests that are still on
// their way with its SID can be told apart from those with an unknown one.
type Tombstone struct {
	Rev      string
	Deadline int64  // Unix seconds; the key itself may live longer, as a hit prolongs it
	Seen     int64  // when the client first showed the id that stood here; 0 if it was not a rotated one
	Next     string // public id of the successor; "" when the session was ended
	Imported bool   // an imported session was here, which may be found again where it came from
	box      string // the successor's SID, encrypted for the bearer of the old one
	keys     *Keys
}

// NewTombstone ends a session: nothing leads on from it.
func NewTombstone(now time.Time, life time.Duration) *Tombstone {
	return &Tombstone{Deadline: now.Add(life).Unix()}
}

// Lead returns the tombstone of a timed rotation of what lay under key and was
// seen then: it leads from the old SID to the next one, whose public id is id.
// Only who has the old SID and a server's secret can read the next SID.
func Lead(ring Ring, key string, seen int64, old, next []byte, id string, deadline int64) (*Tombstone, error) {
	box, err := seal(ring[0].bearerKey(old), key, next)
	return &Tombstone{Deadline: deadline, Seen: seen, Next: id, box: box}, err
}

// Follow returns the successor's SID to the bearer of the old one.
func (t *Tombstone) Follow(key string, old []byte) ([]byte, error) {
	return open(t.keys.bearerKey(old), key, t.box)
}

// bearerKey is what it takes a secret and a SID to derive.
func (k *Keys) bearerKey(sid []byte) []byte { return k.bearer.sum(nil, string(sid)) }

// IsTombstone tells a tombstone from a record, without checking either.
func IsTombstone(raw string) bool {
	at := len(head) + revLen + 1
	return len(raw) >= minLen && raw[at:at+len(tombMark)] == tombMark
}

// Expired tells whether the tombstone has served its time.
func (t *Tombstone) Expired(now time.Time) bool { return now.Unix() >= t.Deadline }

// Encode gives t a new revision, seals it for key and returns what Redis stores.
// Without keys it stays unsealed: who has some refuses it, which ends the session
// as well.
func (t *Tombstone) Encode(ring Ring, key string) string {
	t.Rev = newRev()
	b := []byte(head + t.Rev + `"` + tombMark + t.Next + `","x":`)
	b = strconv.AppendInt(b, t.Deadline, 10)
	if t.Seen != 0 {
		b = append(b, `,"e":`...)
		b = strconv.AppendInt(b, t.Seen, 10)
	}
	if t.Imported {
		b = append(b, `,"m":1`...)
	}
	if t.box != "" {
		b = append(b, `,"y":"`+t.box+`"`...)
	}
	b = append(b, ',')
	token := strings.Repeat("-", tokenLen)
	if len(ring) > 0 {
		token = ring[0].token(key, string(b))
	}
	return string(b) + tail + token + `"}`
}

// DecodeTombstone reads a tombstone without checking its seal.
func DecodeTombstone(raw string) (*Tombstone, error) {
	body, _, ok := split(raw)
	if !ok || !IsTombstone(raw) {
		return nil, ErrMalformed
	}
	return decodeTombstone(raw, body)
}

func decodeTombstone(raw, body string) (*Tombstone, error) {
	s := scanner{src: body, pos: len(head) + revLen + 1 + len(`,"z":`)}
	t := &Tombstone{Rev: Rev(raw), Next: s.word()}
	for s.accept(',') && s.pos < len(s.src) {
		name := s.quoted()
		s.expect(':')
		switch name {
		case `"x"`:
			t.Deadline = s.integer()
		case `"e"`:
			t.Seen = s.integer()
		case `"m"`:
			t.Imported = s.integer() == 1
		case `"y"`:
			t.box = s.word()
		default:
			s.fail()
		}
	}
	if s.bad || s.pos != len(s.src) {
		return nil, ErrMalformed
	}
	return t, nil
}
