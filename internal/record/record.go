// Package record is what lies in Redis: the session record and the tombstone,
// how they are encoded, sealed, opened, and how changes are merged into them.
//
// A record is one JSON object whose first member is the revision and whose
// last is the token, both of fixed width, so that a script can compare the one
// and the server can check the other without decoding JSON:
//
//	{"v":"8 chars",…,"d":{"key":value,…},"t":"22 chars"}
package record

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	revLen  = 8
	head    = `{"v":"`
	tail    = `"t":"`
	sealLen = len(tail) + tokenLen + len(`"}`)
	minLen  = len(head) + revLen + len(`",`) + sealLen
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
	Remember   int64 // seconds asked for with RememberFor
	Stamp      string
	RemoteAddr string
	UserAgent  string
	Source     string // where the session was imported from
	raw        string // the data as it lies in Redis, until Fields is asked for
	fields     []Field
}

// Fields returns the session's values. The caller must not change the slice.
func (r *Record) Fields() []Field {
	if r.raw != "" {
		r.fields, _ = parseFields(r.raw) // our encoder wrote it, the seal says
		r.raw = ""
	}
	return r.fields
}

// SetFields replaces the session's values.
func (r *Record) SetFields(f []Field) { r.raw, r.fields = "", f }

// SameLogin tells whether o is the session that r is, perhaps written to since.
func (r *Record) SameLogin(o *Record) bool {
	return r.User == o.User && r.Auth == o.Auth && r.Pending == o.Pending && r.Created == o.Created
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
	b := make([]byte, 0, 256+len(r.raw)+fieldsLen(r.fields))
	b = append(b, head...)
	b = append(b, r.Rev...)
	b = append(b, '"')
	for _, f := range r.members() {
		switch {
		case f.text != nil && *f.text != "":
			if !utf8.ValidString(*f.text) {
				return "", errors.New("not valid UTF-8: " + f.what)
			}
			b = append(b, `,"`+f.name+`":`...)
			b = appendQuoted(b, *f.text)
		case f.num != nil && *f.num != 0:
			b = append(b, `,"`+f.name+`":`...)
			b = strconv.AppendInt(b, *f.num, 10)
		case f.flag != nil && *f.flag:
			b = append(b, `,"`+f.name+`":1`...)
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

func (r *Record) appendData(b []byte) []byte {
	if r.raw != "" {
		return append(b, r.raw...)
	}
	return appendFields(b, r.fields)
}

// member is one optional part of a record, in the order of writing.
type member struct {
	name, what string
	num        *int64
	text       *string
	flag       *bool
}

func (r *Record) members() [15]member {
	return [...]member{
		{name: "c", num: &r.Created},
		{name: "a", num: &r.Auth},
		{name: "x", num: &r.Deadline},
		{name: "i", num: &r.Idle},
		{name: "w", num: &r.Written},
		{name: "n", num: &r.Issued},
		{name: "e", num: &r.Seen},
		{name: "o", text: &r.Origin, what: "origin"},
		{name: "u", text: &r.User, what: "user id"},
		{name: "p", flag: &r.Pending},
		{name: "k", num: &r.Remember},
		{name: "s", text: &r.Stamp, what: "user stamp"},
		{name: "r", text: &r.RemoteAddr, what: "remote address"},
		{name: "g", text: &r.UserAgent, what: "user agent"},
		{name: "m", text: &r.Source, what: "source"},
	}
}

// Decode reads a record without checking its seal, for an administrator who
// has no secrets. Encrypted data are left out.
func Decode(raw string) (*Record, error) { return decode(raw, "", nil) }

// decode reads raw; with keys it also decrypts the data for key.
func decode(raw, key string, keys *Keys) (*Record, error) {
	body, token, ok := split(raw)
	if !ok || IsTombstone(raw) {
		return nil, ErrMalformed
	}
	r := &Record{Rev: Rev(raw), Token: token}
	s := scanner{src: body, pos: len(head) + revLen + 1}
	members := r.members()
	next := 0
	for s.accept(',') {
		q := s.quoted()
		s.expect(':')
		if s.bad {
			break
		}
		name := q[1 : len(q)-1]
		if name == "d" {
			return r.readData(&s, key, keys)
		}
		for next < len(members) && members[next].name != name {
			next++
		}
		if next == len(members) {
			break // unknown, or not in the order in which members are written
		}
		switch f := members[next]; {
		case f.num != nil:
			*f.num = s.integer()
		case f.text != nil:
			*f.text = s.text()
		default:
			*f.flag = s.integer() == 1
		}
	}
	return nil, ErrMalformed
}

func (r *Record) readData(s *scanner, key string, keys *Keys) (*Record, error) {
	if keys == nil {
		data := s.value()
		if s.expect(','); s.bad || s.pos != len(s.src) {
			return nil, ErrMalformed
		}
		if data[0] == '"' {
			return r, nil
		}
		var ok bool
		if r.fields, ok = parseFields(data); !ok {
			return nil, ErrMalformed
		}
		return r, nil
	}
	// The seal says that our encoder wrote this, so the data need not be read
	// before somebody asks for them.
	if s.pos >= len(s.src)-1 {
		return nil, ErrMalformed
	}
	data := s.src[s.pos : len(s.src)-1]
	if data[0] != '"' {
		r.raw = data
		return r, nil
	}
	var err error
	r.raw, err = keys.decryptData(key, data[1:len(data)-1])
	return r, err
}

// split cuts raw into the bytes that are sealed and the token.
func split(raw string) (body, token string, ok bool) {
	if len(raw) < minLen || raw[:len(head)] != head || raw[len(head)+revLen] != '"' {
		return "", "", false
	}
	body, seal := raw[:len(raw)-sealLen], raw[len(raw)-sealLen:]
	if seal[:len(tail)] != tail || seal[len(seal)-2:] != `"}` {
		return "", "", false
	}
	return body, seal[len(tail) : len(tail)+tokenLen], true
}

// Rev returns the revision of a record or tombstone, and "" of anything else.
func Rev(raw string) string {
	if len(raw) < minLen || raw[:len(head)] != head {
		return ""
	}
	return raw[len(head) : len(head)+revLen]
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
	if IsTombstone(raw) {
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
