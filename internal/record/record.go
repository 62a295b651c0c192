// Package record is what lies in Redis: the session record and the tombstone,
// how they are encoded, sealed, opened, and how changes are merged into them.
//
// A record is one JSON object whose first member is the revision and the kind, and
// whose last is the token, all of fixed width, so that a script can compare the
// former and the server can check the latter without decoding JSON:
//
//	{"v":"8 chars and the kind",…,"d":{"key":value,…},"t":"22 chars"}
package record

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	revLen  = 8
	head    = `{"v":"`
	tail    = `"t":"`
	sealLen = len(tail) + tokenLen + len(`"}`)
	minLen  = len(head) + revLen + len(`k",`) + sealLen
)

var (
	// ErrMalformed is what no version of this package wrote.
	ErrMalformed = errors.New("malformed record")
	// ErrSeal is a record that none of the secrets sealed under this key name:
	// planted, altered, copied from another key, or sealed by a secret that
	// this server does not have.
	ErrSeal = errors.New("record does not verify")
)

// Record is one session as Redis keeps it. Times are Unix seconds unless the
// field says otherwise, and 0 means that there is none.
type Record struct {
	Rev        string
	Token      string
	Created    int64
	Auth       int64 // login, Unix microseconds
	Deadline   int64 // absolute; activity never moves it
	Idle       int64 // seconds
	Written    int64 // last write, kept only where the TTL cannot tell it
	Issued     int64 // when a timed rotation issued the id
	Seen       int64 // when the rotated id was first seen from the client
	Origin     string
	User       string
	Pending    bool  // password accepted, second factor missing
	AtLimit    bool  // no factor is missing but a place among the user's logins
	Remember   int64 // seconds asked for with RememberFor
	Ceiling    int64 // what Deadline is never moved past, asked for with LimitTo
	Stamp      string
	RemoteAddr string
	UserAgent  string
	Source     string  // where the session was imported from
	Binding    string  // id of the binding to a device that the login offered, "" for none
	Thumbprint string  // of the device's key, once the binding has begun
	TurnDue    bool    // Rotate was called on a bound session, whose id turns when the device proves itself
	Label      string  // a name for lists
	Tags       Tags    // lookup keys
	Proved     string  // what the login proved, as loginfact.Proof says it
	Actor      string  // who acts as User, "" for User
	ActorStamp string  // like Stamp, of Actor
	Leases     string  // on what is done once per session: see internal/lease
	data       *values // nil if there are none
}

// values are read when somebody asks for them. Copies of a record share them.
type values struct {
	raw    string // as it lies in Redis; empty for values that do not yet
	once   sync.Once
	fields []Field
}

// Fields returns the session's values. The caller must not change the slice. It
// may be called concurrently.
func (r *Record) Fields() []Field {
	d := r.data
	if d == nil {
		return nil
	}
	d.once.Do(func() {
		if d.raw != "" {
			d.fields, _ = parseFields(d.raw) // our encoder wrote it, the seal says
		}
	})
	return d.fields
}

// SetFields replaces the session's values, but not those of copies.
func (r *Record) SetFields(f []Field) {
	r.data = nil
	if len(f) > 0 {
		r.data = &values{fields: f}
	}
}

// SameLogin tells whether o is the session that r is, perhaps written to since.
func (r *Record) SameLogin(o *Record) bool {
	return r.User == o.User && r.Auth == o.Auth && r.Pending == o.Pending && r.Created == o.Created
}

// Bound tells whether the session belongs to a device.
func (r *Record) Bound() bool { return r.Thumbprint != "" }

// Device is the identifier of the device that the session belongs to, "" for none.
func (r *Record) Device() string {
	if !r.Bound() {
		return ""
	}
	return r.Binding + "." + r.Thumbprint
}

// LoggedIn tells whether a user has logged in, all factors included.
func (r *Record) LoggedIn() bool { return r.User != "" && !r.Pending }

// TTL is how long the record may live from now on without a hit: the idle
// timeout, or what is left until the deadline. 0 or less means that it is over.
func (r *Record) TTL(now time.Time) time.Duration {
	return TTL(now, r.Idle, r.Deadline)
}

// TTL is the shorter of idle seconds and what is left until deadline.
func TTL(now time.Time, idle, deadline int64) time.Duration {
	return time.Duration(min(idle, deadline-now.Unix())) * time.Second
}

// Encode gives r a new revision, seals it for key and returns what Redis
// stores. With encrypt the data are encrypted for that key as well.
func (r *Record) Encode(ring Ring, key string, encrypt bool) (string, error) {
	r.Rev = newRev()
	b := make([]byte, 0, 256+r.DataLen())
	b = append(b, head...)
	b = append(b, r.Rev...)
	b = append(b, byte(r.kind()), '"')
	for i := range len(order) {
		name := order[i]
		if on := r.flag(name); on != nil {
			if *on {
				b = append(b, ',', '"', name, '"', ':', '1')
			}
		} else if num := r.number(name); num != nil {
			if *num != 0 {
				b = strconv.AppendInt(append(b, ',', '"', name, '"', ':'), *num, 10)
			}
		} else if text := *r.text(name); text != "" {
			if !utf8.ValidString(text) {
				return "", errors.New("not valid UTF-8: the record's " + what[name])
			}
			b = appendQuoted(append(b, ',', '"', name, '"', ':'), text)
		}
	}
	b = append(b, `,"d":`...)
	if !encrypt {
		b = r.appendData(b)
	} else {
		box, err := ring[0].encryptData(key, r.appendData(nil))
		if err != nil {
			return "", err
		}
		b = appendQuoted(b, box)
	}
	b = append(b, ',')
	r.Token = ring[0].token(key, string(b))
	b = append(b, tail...)
	b = append(b, r.Token...)
	b = append(b, `"}`...)
	return string(b), nil
}

// kind is Imported until the owner of an imported session has come back: from then on
// Source also says which old session it was made from.
func (r *Record) kind() Kind {
	if r.Source != "" && !strings.Contains(r.Source, ":") {
		return Imported
	}
	return Session
}

// DataLen is how many bytes the JSON of the session's values takes.
func (r *Record) DataLen() int {
	switch d := r.data; {
	case d == nil:
		return len(emptyData)
	case d.raw != "":
		return len(d.raw)
	default:
		return fieldsLen(d.fields)
	}
}

const emptyData = "{}"

func (r *Record) appendData(b []byte) []byte {
	switch d := r.data; {
	case d == nil:
		return append(b, emptyData...)
	case d.raw != "":
		return append(b, d.raw...)
	default:
		return appendFields(b, d.fields)
	}
}

// Decode reads a record without checking its seal, for an administrator who
// has no secrets. Encrypted data are left out.
func Decode(raw string) (*Record, error) { return decode(raw, "", nil) }

// decode reads raw; with keys it also decrypts the data for key.
func decode(raw, key string, keys *Keys) (*Record, error) {
	body, token, ok := split(raw)
	if !ok || !Kind(raw[kindAt]).Live() {
		return nil, ErrMalformed
	}
	r := &Record{Rev: Rev(raw), Token: token}
	s := scanner{src: body, pos: kindAt + len(`k"`)}
	last := -1
	for s.accept(',') {
		name := s.letter()
		if name == 'd' {
			return r.readData(&s, key, keys)
		}
		at := strings.IndexByte(order, name)
		if at <= last {
			break // unknown, or not in the order in which members are written
		}
		last = at
		if on := r.flag(name); on != nil {
			*on = s.integer() == 1
		} else if num := r.number(name); num != nil {
			*num = s.integer()
		} else if text := s.text(); len(raw) > large {
			*r.text(name) = strings.Clone(text)
		} else {
			*r.text(name) = text
		}
	}
	return nil, ErrMalformed
}

// large is the size of a record whose texts are copied: a user id that somebody keeps must
// not keep all the values of its session.
const large = 1 << 10

func (r *Record) readData(s *scanner, key string, keys *Keys) (*Record, error) {
	if keys == nil {
		data := s.value()
		if s.expect(','); s.bad || s.pos != len(s.src) {
			return nil, ErrMalformed
		}
		if data[0] == '"' {
			return r, nil
		}
		fields, ok := parseFields(data)
		if !ok {
			return nil, ErrMalformed
		}
		r.SetFields(fields)
		return r, nil
	}
	// The seal says that our encoder wrote this, so the data need not be read
	// before somebody asks for them.
	if s.pos >= len(s.src)-1 {
		return nil, ErrMalformed
	}
	raw := s.src[s.pos : len(s.src)-1]
	if raw[0] == '"' {
		var err error
		if raw, err = keys.decryptData(key, raw[1:len(raw)-1]); err != nil {
			return nil, err
		}
	}
	if raw != emptyData {
		r.data = &values{raw: raw}
	}
	return r, nil
}

// Open checks the seal of what Redis holds under key and decodes it. Exactly
// one of the results is not nil; the error is ErrMalformed, ErrSeal, or that
// the data do not decrypt.
func Open(ring Ring, key, raw string) (*Record, *Tombstone, error) {
	body, token, ok := split(raw)
	if !ok {
		return nil, nil, ErrMalformed
	}
	keys := ring.verify(key, body, token)
	if keys == nil {
		return nil, nil, ErrSeal
	}
	if Kind(raw[kindAt]).Tombstone() {
		t, err := decodeTombstone(raw, body)
		if err == nil {
			t.keys = keys
		}
		return nil, t, err
	}
	r, err := decode(raw, key, keys)
	if err != nil {
		return nil, nil, err
	}
	return r, nil, nil
}

func newRev() string {
	var b [revLen * 3 / 4]byte
	rand.Read(b[:]) // never fails: crypto/rand crashes the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
