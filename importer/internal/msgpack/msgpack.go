// Package msgpack reads one value in MessagePack (msgpack.org), as Python's msgpack and
// msgspec write sessions.
package msgpack

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/redsession/redsession/importer/internal/plain"
)

// ErrCorrupt is the error of Decode. It shows nothing of what was in the data.
var ErrCorrupt = errors.New("the MessagePack is broken or cut off")

const (
	maxDepth  = 1024
	maxResult = 100_000
)

// Decode returns what data holds: nil, bool, int64, uint64, float64, string, []byte,
// time.Time (extension -1), []any and map[any]any; plain.Lost for other extensions, and
// in keys what is neither text nor a number. Memory is bounded by the length of data,
// whatever lengths it claims.
func Decode(data []byte) (any, error) {
	r := reader{data: data}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if len(r.data) != 0 {
		return nil, ErrCorrupt
	}
	return v, nil
}

type reader struct {
	data  []byte
	count int
}

func (r *reader) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)) {
		return nil, ErrCorrupt
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b, nil
}

// uint reads a big-endian number of size bytes, at most 8.
func (r *reader) uint(size int) (uint64, error) {
	b, err := r.bytes(uint64(size))
	var whole [8]byte
	copy(whole[8-len(b):], b)
	return binary.BigEndian.Uint64(whole[:]), err
}

func (r *reader) value(depth int) (any, error) {
	if r.count++; r.count > maxResult {
		return nil, plain.ErrTooMany
	}
	if depth > maxDepth {
		return nil, plain.ErrTooDeep
	}
	first, err := r.bytes(1)
	if err != nil {
		return nil, err
	}
	switch b := first[0]; {
	case b < 0x80:
		return int64(b), nil
	case b >= 0xe0:
		return int64(int8(b)), nil
	case b < 0x90:
		return r.dict(uint64(b&0x0f), depth)
	case b < 0xa0:
		return r.list(uint64(b&0x0f), depth)
	case b < 0xc0:
		return r.text(uint64(b&0x1f), false)
	case b >= 0xd4 && b <= 0xd8: // fixext of 1, 2, 4, 8 and 16 bytes
		return r.extension(1 << (b - 0xd4))
	case b >= 0xca && b <= 0xd3:
		return r.number(b)
	default:
		return r.sized(b, depth)
	}
}

func (r *reader) number(b byte) (any, error) {
	size := map[byte]int{0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8}[b]
	n, err := r.uint(size)
	switch {
	case err != nil:
		return nil, err
	case b == 0xca:
		return float64(math.Float32frombits(uint32(n))), nil
	case b == 0xcb:
		return math.Float64frombits(n), nil
	case b >= 0xd0: // signed
		shift := 64 - 8*size
		return int64(n<<shift) >> shift, nil
	case n > math.MaxInt64:
		return n, nil
	}
	return int64(n), nil
}

// sized reads what has no length in its first byte.
func (r *reader) sized(b byte, depth int) (any, error) {
	switch b {
	case 0xc0:
		return nil, nil
	case 0xc2, 0xc3:
		return b == 0xc3, nil
	}
	size, known := map[byte]int{
		0xc4: 1, 0xc5: 2, 0xc6: 4, 0xc7: 1, 0xc8: 2, 0xc9: 4, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4,
	}[b]
	n, err := r.uint(size)
	switch {
	case err != nil || !known:
		return nil, ErrCorrupt
	case b <= 0xc6:
		return r.text(n, true)
	case b <= 0xc9:
		return r.extension(n)
	case b <= 0xdb:
		return r.text(n, false)
	case b <= 0xdd:
		return r.list(n, depth)
	}
	return r.dict(n, depth)
}

func (r *reader) text(n uint64, binary bool) (any, error) {
	b, err := r.bytes(n)
	if err != nil || binary {
		return b, err
	}
	return string(b), nil
}

func (r *reader) list(n uint64, depth int) (any, error) {
	if n > uint64(len(r.data)) {
		return nil, ErrCorrupt
	}
	list := make([]any, 0, min(n, 1024))
	for range n {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// lostKey stands for a key that is neither text nor a whole number.
type lostKey struct{ at int }

func (r *reader) dict(n uint64, depth int) (any, error) {
	if n > uint64(len(r.data))/2 {
		return nil, ErrCorrupt
	}
	m := make(map[any]any, min(n, 1024))
	for range n {
		key, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case string, int64, uint64, bool:
		default:
			key = lostKey{r.count}
		}
		if m[key], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// extension reads a timestamp, of 4, 8 or 12 bytes, or passes over what is none.
func (r *reader) extension(n uint64) (any, error) {
	kind, err := r.bytes(1)
	if err != nil {
		return nil, err
	}
	b, err := r.bytes(n)
	switch {
	case err != nil:
		return nil, err
	case kind[0] != 0xff:
	case n == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(b)), 0).UTC(), nil
	case n == 8:
		both := binary.BigEndian.Uint64(b)
		return time.Unix(int64(both&(1<<34-1)), int64(both>>34)).UTC(), nil
	case n == 12:
		return time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))).UTC(), nil
	}
	return plain.Lost{Err: plain.ErrNoEncoding}, nil
}
