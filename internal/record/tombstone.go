package record

import (
	"strconv"
	"strings"
	"time"
)

// Tombstone stands where a session was, so that requests that are still on
// their way with its SID can be told apart from those with an unknown one.
type Tombstone struct {
	Rev      string
	Kind     Kind
	Deadline int64  // Unix seconds; the key itself may live longer, as a hit prolongs it
	EndedAt  int64  // when the session ended, Unix seconds; 0 where a successor goes on
	Seen     int64  // when the client first showed the id that stood here; 0 if it was not a rotated one
	Next     string // public id of the successor; "" when the session was ended
	Origin   string // public id that a rotated session had at first; "" for the one that lay here
	box      string // the successor's SID, encrypted for the bearer of the old one
	keys     *Keys
}

// NewTombstone ends a session: nothing leads on from it.
func NewTombstone(now time.Time, life time.Duration) *Tombstone {
	return &Tombstone{Kind: Ended, EndedAt: now.Unix(), Deadline: now.Add(life).Unix()}
}

// NewLoginTombstone ends a session in whose place a login or promotion has put the
// one with the public id next. Nobody is led there.
func NewLoginTombstone(now time.Time, life time.Duration, next string) *Tombstone {
	return &Tombstone{Kind: LoggedIn, EndedAt: now.Unix(), Deadline: now.Add(life).Unix(), Next: next}
}

// Rotation is what a tombstone that leads on is made of.
type Rotation struct {
	Key       string // under which the tombstone will lie
	Old, Next []byte // the secrets: the old SID (or the old id of an imported session) and the successor's SID
	NextID    string // the successor's public id
	Origin    string // public id that the session had at first; "" for the one of Key
	Seen      int64  // when the client first showed Old; 0 if it was not a rotated one
	Deadline  int64  // until when it leads on
	Adopted   bool   // an imported session was taken over
}

// NewRotationTombstone leads from the old SID to the successor's. Only who has the
// old SID and a server's secret can read the successor's.
func NewRotationTombstone(ring Ring, r Rotation) (*Tombstone, error) {
	box, err := seal(ring[0].bearerKey(r.Old), r.Key, r.Next)
	kind := Rotated
	if r.Adopted {
		kind = Adopted
	}
	return &Tombstone{Kind: kind, Deadline: r.Deadline, Seen: r.Seen, Next: r.NextID, Origin: r.Origin, box: box}, err
}

// Follow returns the successor's SID to the bearer of the old one.
func (t *Tombstone) Follow(key string, old []byte) ([]byte, error) {
	return open(t.keys.bearerKey(old), key, t.box)
}

// bearerKey is what it takes a secret and a SID to derive.
func (k *Keys) bearerKey(sid []byte) []byte { return k.bearer.sum(nil, string(sid)) }

// Expired tells whether the tombstone has served its time.
func (t *Tombstone) Expired(now time.Time) bool { return now.Unix() >= t.Deadline }

// Encode gives t a new revision, seals it for key and returns what Redis stores.
// Without keys it stays unsealed: who has some refuses it, which ends the session
// as well.
func (t *Tombstone) Encode(ring Ring, key string) string {
	t.Rev = newRev()
	b := []byte(head + t.Rev + string(rune(t.Kind)) + `"` + nextMark + t.Next + `","x":`)
	b = strconv.AppendInt(b, t.Deadline, 10)
	if t.EndedAt != 0 {
		b = append(b, `,"n":`...)
		b = strconv.AppendInt(b, t.EndedAt, 10)
	}
	if t.Seen != 0 {
		b = append(b, `,"e":`...)
		b = strconv.AppendInt(b, t.Seen, 10)
	}
	if t.Origin != "" {
		b = append(b, `,"o":"`+t.Origin+`"`...)
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
	if !ok || !Kind(raw[kindAt]).Tombstone() {
		return nil, ErrMalformed
	}
	return decodeTombstone(raw, body)
}

func decodeTombstone(raw, body string) (*Tombstone, error) {
	if len(body) < nextAt || body[kindAt+2:nextAt] != nextMark {
		return nil, ErrMalformed
	}
	s := scanner{src: body, pos: nextAt - 1}
	t := &Tombstone{Rev: Rev(raw), Kind: Kind(raw[kindAt]), Next: s.word()}
	for s.accept(',') && s.pos < len(s.src) {
		name := s.quoted()
		s.expect(':')
		switch name {
		case `"x"`:
			t.Deadline = s.integer()
		case `"e"`:
			t.Seen = s.integer()
		case `"n"`:
			t.EndedAt = s.integer()
		case `"o"`:
			t.Origin = s.word()
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
