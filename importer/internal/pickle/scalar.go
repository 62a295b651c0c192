package pickle

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reader takes the arguments of instructions. Its methods report false at the
// end of the data.
type reader struct {
	data []byte
	pos  int
}

func (r *reader) left() int { return len(r.data) - r.pos }

func (r *reader) byte() (byte, bool) {
	if r.left() == 0 {
		return 0, false
	}
	r.pos++
	return r.data[r.pos-1], true
}

// bytes returns the next n bytes, a part of the data.
func (r *reader) bytes(n uint64) ([]byte, bool) {
	if n > uint64(r.left()) {
		return nil, false
	}
	r.pos += int(n)
	return r.data[r.pos-int(n) : r.pos], true
}

// uint reads a little-endian number of size bytes, at most 8.
func (r *reader) uint(size uint64) (uint64, bool) {
	b, ok := r.bytes(size)
	var whole [8]byte
	copy(whole[:], b)
	return binary.LittleEndian.Uint64(whole[:]), ok
}

// line returns what comes before the next newline.
func (r *reader) line() (string, bool) {
	n := bytes.IndexByte(r.data[r.pos:], '\n')
	if n < 0 {
		return "", false
	}
	r.pos += n + 1
	return strings.TrimSuffix(string(r.data[r.pos-n-1:r.pos-1]), "\r"), true
}

func (r *reader) decimal() (uint64, bool) {
	text, ok := r.line()
	n, err := strconv.ParseUint(text, 10, 32)
	return n, ok && err == nil
}

// prefixed returns bytes whose length stands before them in size bytes.
func (r *reader) prefixed(size uint64) ([]byte, bool) {
	n, ok := r.uint(size)
	if !ok {
		return nil, false
	}
	return r.bytes(n)
}

func (r *reader) number(op byte) (v any, known bool, err error) {
	var n uint64
	ok := true
	switch op {
	case 'K': // BININT1
		n, ok = r.uint(1)
		v = int64(n)
	case 'M': // BININT2
		n, ok = r.uint(2)
		v = int64(n)
	case 'J': // BININT
		n, ok = r.uint(4)
		v = int64(int32(uint32(n)))
	case 'G': // BINFLOAT, the one number that is big-endian
		var b []byte
		if b, ok = r.bytes(8); ok {
			v = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case 0x8a, 0x8b: // LONG1 LONG4
		v, err := r.long(map[byte]uint64{0x8a: 1, 0x8b: 4}[op])
		return v, true, err
	case 'I', 'L', 'F': // INT LONG FLOAT
		v, err := r.numeral(op)
		return v, true, err
	default:
		return nil, false, nil
	}
	if !ok {
		return nil, true, ErrCorrupt
	}
	return v, true, nil
}

// long reads a little-endian number in two's complement, of any length.
func (r *reader) long(size uint64) (any, error) {
	b, ok := r.prefixed(size)
	switch {
	case !ok:
		return nil, ErrCorrupt
	case len(b) > maxNumber:
		return nil, ErrNumber
	case len(b) == 0:
		return int64(0), nil
	}
	big1 := slices.Clone(b)
	slices.Reverse(big1)
	n := new(big.Int).SetBytes(big1)
	if big1[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return narrow(n), nil
}

// numeral reads a number that is written out, as protocol 0 does.
func (r *reader) numeral(op byte) (any, error) {
	text, ok := r.line()
	switch {
	case !ok:
		return nil, ErrCorrupt
	case len(text) > 2*maxNumber:
		return nil, ErrNumber
	case op == 'I' && (text == "00" || text == "01"):
		return text == "01", nil
	case op == 'F':
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, ErrCorrupt
		}
		return f, nil
	}
	n, ok := new(big.Int).SetString(strings.TrimSuffix(text, "L"), 10)
	if !ok {
		return nil, ErrCorrupt
	}
	return narrow(n), nil
}

func narrow(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func (r *reader) text(op byte) (v any, known bool, err error) {
	var b []byte
	var ok, binary bool
	switch op {
	case 0x8c: // SHORT_BINUNICODE
		b, ok = r.prefixed(1)
	case 'X': // BINUNICODE
		b, ok = r.prefixed(4)
	case 0x8d: // BINUNICODE8
		b, ok = r.prefixed(8)
	case 'U': // SHORT_BINSTRING, the str of Python 2
		b, ok = r.prefixed(1)
		binary = !utf8.Valid(b)
	case 'T': // BINSTRING
		b, ok = r.prefixed(4)
		binary = !utf8.Valid(b)
	case 'C', 'B', 0x8e, 0x96: // SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8
		b, ok = r.prefixed(map[byte]uint64{'C': 1, 'B': 4, 0x8e: 8, 0x96: 8}[op])
		binary = true
	case 'S', 'V': // STRING UNICODE
		v, err := r.escaped(op)
		return v, true, err
	default:
		return nil, false, nil
	}
	switch {
	case !ok:
		return nil, true, ErrCorrupt
	case binary:
		return slices.Clone(b), true, nil
	}
	return string(b), true, nil
}

// escaped reads a string that is written out, as protocol 0 does: in quotes with
// Python's escapes, or bare with \uXXXX.
func (r *reader) escaped(op byte) (any, error) {
	text, ok := r.line()
	if !ok {
		return nil, ErrCorrupt
	}
	if op == 'S' {
		if len(text) < 2 || text[0] != text[len(text)-1] || text[0] != '\'' && text[0] != '"' {
			return nil, ErrCorrupt
		}
		text = text[1 : len(text)-1]
	}
	raw, ok := unescape(text, op == 'V')
	switch {
	case !ok:
		return nil, ErrCorrupt
	case op == 'S' && !utf8.ValidString(raw):
		return []byte(raw), nil
	}
	return raw, nil
}

// unescape undoes Python's escapes. In raw-unicode-escape only \u and \U are
// escapes, and every other byte is the character of that number.
func unescape(text string, unicode bool) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] == '\\' && i+1 < len(text) && (!unicode || text[i+1] == 'u' || text[i+1] == 'U') {
			size, ok := escape(&b, text[i+1:], unicode)
			if !ok {
				return "", false
			}
			i += 1 + size
			continue
		}
		if unicode {
			b.WriteRune(rune(text[i]))
		} else {
			b.WriteByte(text[i])
		}
		i++
	}
	return b.String(), true
}

// escape writes what the escape stands for that text begins with, without its
// backslash, and returns its size.
func escape(b *strings.Builder, text string, unicode bool) (size int, ok bool) {
	digits := map[byte]int{'u': 4, 'U': 8}[text[0]]
	if !unicode {
		if at := strings.IndexByte(`\'"abfnrtv`, text[0]); at >= 0 {
			b.WriteByte("\\'\"\a\b\f\n\r\t\v"[at])
			return 1, true
		}
		digits = map[byte]int{'x': 2}[text[0]]
	}
	if digits == 0 || 1+digits > len(text) {
		return 0, false
	}
	n, err := strconv.ParseUint(text[1:1+digits], 16, 32)
	if unicode {
		b.WriteRune(rune(n))
	} else {
		b.WriteByte(byte(n))
	}
	return 1 + digits, err == nil
}
