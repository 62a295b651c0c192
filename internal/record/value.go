package record

import "strings"

// Kind says what lies under a session's key. It is the ninth character of the member
// v, at a fixed offset, so that a script can tell without decoding.
type Kind byte

// The kinds of records and tombstones.
const (
	// Session is the record of a session.
	Session Kind = 'r'
	// Imported is the record of a session that an import brought and whose owner has not
	// come back yet. It may be found again where it came from.
	Imported Kind = 'i'
	// Ended is the tombstone of a session that was ended: nothing leads on from it.
	Ended Kind = 'e'
	// LoggedIn is the tombstone that a login or promotion leaves. It names its successor,
	// and leads nobody there.
	LoggedIn Kind = 'l'
	// Rotated is the tombstone of a timed rotation: it leads to its successor.
	Rotated Kind = 'o'
	// Adopted is the tombstone of an imported session that was taken over: it leads to
	// its successor, for as long as the old session may be found where it came from.
	Adopted Kind = 'a'
)

// Live tells the record of a session from a tombstone, and from what is neither.
func (k Kind) Live() bool { return k == Session || k == Imported }

// Leads tells whether requests follow a tombstone of this kind.
func (k Kind) Leads() bool { return k == Rotated || k == Adopted }

// Tombstone tells whether k is a kind of tombstone.
func (k Kind) Tombstone() bool { return k == Ended || k == LoggedIn || k.Leads() }

// Head is what the first HeadLen bytes of a value tell, unverified. The zero value
// stands for nothing, and for what this package did not write.
type Head struct {
	Kind Kind
	// Next is the public id of a tombstone's successor, "" if it names none.
	Next string
}

// Leads returns the public id that requests and endings go on to, "" for none.
func (h Head) Leads() string {
	if h.Kind.Leads() {
		return h.Next
	}
	return ""
}

const (
	kindAt = len(head) + revLen
	nextAt = kindAt + len(`k"`) + len(nextMark)

	nextMark = `,"z":"`
	idLen    = 32
)

// HeadLen is how many bytes of a value PeekHead wants.
const HeadLen = nextAt + idLen + len(`"`)

// PeekHead reads the head of a value.
func PeekHead(raw string) Head {
	if len(raw) <= kindAt+1 || raw[:len(head)] != head || raw[kindAt+1] != '"' {
		return Head{}
	}
	h := Head{Kind: Kind(raw[kindAt])}
	switch {
	case h.Kind.Live():
	case !h.Kind.Tombstone():
		return Head{}
	case len(raw) >= HeadLen && raw[kindAt+2:nextAt] == nextMark && strings.IndexByte(raw[nextAt:HeadLen], '"') == idLen:
		h.Next = raw[nextAt : nextAt+idLen]
	}
	return h
}

// Value is what lies under a session's key, not opened yet. The zero value is nothing.
type Value struct {
	raw   string
	state presence
}

type presence uint8

const (
	absent presence = iota
	present
	foreign
)

// Present is a string that Redis holds.
func Present(raw string) Value { return Value{raw, present} }

// Foreign is a list, a hash or the like under a session's key: nothing that this
// package wrote.
func Foreign() Value { return Value{state: foreign} }

// Absent tells whether nothing lies there.
func (v Value) Absent() bool { return v.state == absent }

// Raw returns the bytes, "" unless Redis holds a string.
func (v Value) Raw() string { return v.raw }

// Head tells what v says of itself, unverified.
func (v Value) Head() Head { return PeekHead(v.raw) }

// Ours tells whether v looks like something that this package wrote.
func (v Value) Ours() bool { return v.Head().Kind != 0 }

// Open checks and decodes v as the function Open does. Without keys nothing is
// checked, for an administrator who has no secrets. Nothing is no record, no
// tombstone and no error.
func (v Value) Open(ring Ring, key string) (*Record, *Tombstone, error) {
	switch {
	case v.state == absent:
		return nil, nil, nil
	case len(ring) > 0:
		return Open(ring, key, v.raw)
	case v.Head().Kind.Tombstone():
		t, err := DecodeTombstone(v.raw)
		return nil, t, err
	}
	r, err := Decode(v.raw)
	if err != nil {
		return nil, nil, err
	}
	return r, nil, nil
}

// split cuts raw into the bytes that are sealed and the token.
func split(raw string) (body, token string, ok bool) {
	if len(raw) < minLen || raw[:len(head)] != head || raw[kindAt+1] != '"' {
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
