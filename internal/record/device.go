package record

import "strconv"

// Device is the key of a device, as it lies under a key bind:… . Its seal is checked as a
// record's is, so that a planted one proves nothing.
type Device struct {
	Binding  string // id of the binding
	Key      string // algorithm and public key, as package dbsc writes them
	Deadline int64  // of the session, Unix seconds
}

// deviceKind is the ninth character of v: neither a record nor a tombstone.
const deviceKind = 'b'

// Encode seals d for key and returns what Redis stores.
func (d Device) Encode(ring Ring, key string) string {
	b := []byte(head + newRev() + string(rune(deviceKind)) + `"`)
	b = appendQuoted(append(b, `,"b":`...), d.Binding)
	b = strconv.AppendInt(append(b, `,"x":`...), d.Deadline, 10)
	b = appendQuoted(append(b, `,"k":`...), d.Key)
	b = append(b, ',')
	return string(b) + tail + ring[0].token(key, string(b)) + `"}`
}

// OpenDevice checks the seal of what Redis holds under key and decodes it. The error is
// ErrMalformed or ErrSeal.
func OpenDevice(ring Ring, key, raw string) (d Device, err error) {
	body, token, ok := split(raw)
	if !ok || raw[kindAt] != deviceKind {
		return d, ErrMalformed
	}
	if ring.verify(key, body, token) == nil {
		return d, ErrSeal
	}
	s := scanner{src: body, pos: kindAt + len(`k"`)}
	for s.accept(',') && s.pos < len(s.src) {
		switch s.letter() {
		case 'b':
			d.Binding = s.text()
		case 'x':
			d.Deadline = s.integer()
		case 'k':
			d.Key = s.text()
		default:
			s.fail()
		}
	}
	if s.bad || s.pos != len(s.src) {
		return Device{}, ErrMalformed
	}
	return d, nil
}
