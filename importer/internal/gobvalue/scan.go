package gobvalue

import (
	"slices"

	"github.com/redsession/redsession/importer/internal/plain"
)

// maxNesting bounds what lies in each other, on the wire: a list in a map has a
// level for each of the two and one for the interface between them.
const maxNesting = 4 * plain.MaxDepth

// maxFields is more than any struct has.
const maxFields = 1 << 16

// What a definition describes, in the order of the fields of gob's wireType. The
// last three are values that encode themselves.
const (
	arrayKind = iota
	sliceKind
	structKind
	mapKind
	gobKind
	binaryKind
	textKind
)

// The ids of the types that need no definition, in gob's order.
const (
	boolType = iota + 1
	intType
	uintType
	floatType
	bytesType
	stringType
	complexType
	interfaceType
	firstDefined = 64
)

// definition is a type that the gob describes.
type definition struct {
	kind  int
	types []int64 // of the elements, of key and value, or of the fields
	names []string
}

// scanner walks over a gob as its encoder wrote it. encoding/gob makes a map, and
// up to 10 MiB of a list, of whatever size a gob claims before it looks for the
// first element: 23 bytes took it 1.3 GB, and a few more end the program, which no
// recover prevents. Here each element has to be there, and there may be as many as
// a session may have values.
type scanner struct {
	stream   []byte // messages not begun yet
	buf      []byte // what is left of the present one
	types    map[int64]definition
	elements int
}

// check returns an error for what no encoder wrote, or what is too much. A gob of a
// struct must have these fields alone.
func check(data []byte, fields ...string) error {
	s := scanner{stream: data, types: map[int64]definition{}}
	id, err := s.typeID()
	if err != nil {
		return err
	}
	for _, name := range s.types[id].names {
		if !slices.Contains(fields, name) {
			return ErrCorrupt
		}
	}
	if err := s.whole(id, 0); err != nil {
		return err
	}
	if len(s.buf)+len(s.stream) > 0 {
		return ErrCorrupt
	}
	return nil
}

// typeID reads the id of the next value's type, and the definitions before it, each
// of which ends a message.
func (s *scanner) typeID() (int64, error) {
	for {
		if len(s.buf) == 0 {
			if err := s.message(); err != nil {
				return 0, err
			}
		}
		id, err := s.int()
		if err != nil || id >= 0 {
			return id, err
		}
		if err := s.define(-id); err != nil || len(s.buf) > 0 {
			return 0, ErrCorrupt
		}
	}
}

func (s *scanner) message() error {
	s.buf = s.stream
	n, err := s.uint()
	if err != nil || n == 0 || n > uint64(len(s.buf)) {
		return ErrCorrupt
	}
	s.buf, s.stream = s.buf[:n], s.buf[n:]
	return nil
}

// define reads what gob calls a wireType.
func (s *scanner) define(id int64) error {
	d := definition{kind: -1}
	err := s.fields(func(kind int) error {
		if d.kind >= 0 || kind > textKind {
			return ErrCorrupt // gob itself would choose by the type that it decodes into
		}
		d.kind = kind
		return s.fields(func(n int) error { return s.part(&d, n) })
	})
	want := map[int]int{arrayKind: 2, sliceKind: 1, structKind: len(d.types), mapKind: 2}[d.kind]
	if _, again := s.types[id]; err != nil || again || id < firstDefined || d.kind < 0 || len(d.types) != want {
		return ErrCorrupt
	}
	s.types[id] = d
	return nil
}

// part reads field n of a definition: name and id, the fields of a struct, or the
// id of a type (of an array also its length).
func (s *scanner) part(d *definition, n int) error {
	switch {
	case n == 0:
		return s.named(func(string, int64) {})
	case n > 2 || d.kind >= gobKind || d.kind == structKind && n > 1:
		return ErrCorrupt
	case d.kind != structKind:
		id, err := s.int()
		d.types = append(d.types, id)
		return err
	}
	count, err := s.count()
	for ; count > 0 && err == nil; count-- {
		err = s.named(func(name string, id int64) { d.names, d.types = append(d.names, name), append(d.types, id) })
	}
	return err
}

// named reads a struct of a name and a type's id.
func (s *scanner) named(found func(name string, id int64)) error {
	var name string
	var id int64
	err := s.fields(func(n int) (err error) {
		switch n {
		case 0:
			var text []byte
			text, err = s.text()
			name = string(text)
		case 1:
			id, err = s.int()
		default:
			err = ErrCorrupt
		}
		return err
	})
	found(name, id)
	return err
}

// whole reads a value that stands by itself: at the top, or in an interface.
func (s *scanner) whole(id int64, depth int) error {
	if d, ok := s.types[id]; !ok || d.kind != structKind {
		if zero, err := s.uint(); err != nil || zero != 0 {
			return ErrCorrupt
		}
	}
	return s.value(id, depth)
}

func (s *scanner) value(id int64, depth int) error {
	if depth > maxNesting {
		return plain.ErrTooDeep
	}
	switch id {
	case boolType, intType, uintType, floatType:
		_, err := s.uint()
		return err
	case bytesType, stringType:
		_, err := s.text()
		return err
	case complexType:
		if _, err := s.uint(); err != nil {
			return err
		}
		_, err := s.uint()
		return err
	case interfaceType:
		return s.dynamic(depth)
	}
	d, ok := s.types[id]
	if !ok {
		return ErrCorrupt
	}
	switch d.kind {
	case arrayKind, sliceKind:
		return s.sequence(depth, d.types[0])
	case mapKind:
		return s.sequence(depth, d.types...)
	case structKind:
		return s.fields(func(n int) error {
			if n >= len(d.types) {
				return ErrCorrupt
			}
			return s.value(d.types[n], depth+1)
		})
	}
	_, err := s.text()
	return err
}

// sequence reads a number of elements, each of which has values of these types.
func (s *scanner) sequence(depth int, types ...int64) error {
	count, err := s.count()
	if err != nil {
		return err
	}
	for ; count > 0; count-- {
		if s.elements++; s.elements > plain.MaxNodes {
			return plain.ErrTooMany
		}
		for _, id := range types {
			if err := s.value(id, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// dynamic reads the value of an interface, after the name of its type. It is a row
// of messages within the one around it.
func (s *scanner) dynamic(depth int) error {
	name, err := s.text()
	if err != nil || len(name) == 0 {
		return err
	}
	id, err := s.typeID()
	if err != nil {
		return err
	}
	outer := s.stream
	s.stream = s.buf
	if err := s.message(); err != nil {
		return err
	}
	if err := s.whole(id, depth+1); err != nil {
		return err
	}
	if len(s.buf) > 0 {
		return ErrCorrupt
	}
	s.buf, s.stream = s.stream, outer
	return nil
}

// fields calls read with the number of each field of a struct.
func (s *scanner) fields(read func(n int) error) error {
	for n := -1; ; {
		delta, err := s.uint()
		if err != nil || delta == 0 {
			return err
		}
		if delta > maxFields {
			return ErrCorrupt
		}
		n += int(delta)
		if err := read(n); err != nil {
			return err
		}
	}
}

// count reads a number of elements, each of which takes a byte at least.
func (s *scanner) count() (int, error) {
	n, err := s.uint()
	if err != nil || n > uint64(len(s.buf)) {
		return 0, ErrCorrupt
	}
	return int(n), nil
}

func (s *scanner) text() ([]byte, error) {
	n, err := s.count()
	if err != nil {
		return nil, err
	}
	text := s.buf[:n]
	s.buf = s.buf[n:]
	return text, nil
}

func (s *scanner) int() (int64, error) {
	n, err := s.uint()
	i := int64(n >> 1)
	if n&1 != 0 {
		i = ^i
	}
	return i, err
}

// uint reads a number: itself up to 127, or its length, negated, and its bytes.
func (s *scanner) uint() (uint64, error) {
	if len(s.buf) == 0 {
		return 0, ErrCorrupt
	}
	n := uint64(s.buf[0])
	s.buf = s.buf[1:]
	if n <= 0x7f {
		return n, nil
	}
	size := 0x100 - int(n)
	if size > 8 || size > len(s.buf) {
		return 0, ErrCorrupt
	}
	n = 0
	for _, b := range s.buf[:size] {
		n = n<<8 | uint64(b)
	}
	s.buf = s.buf[size:]
	return n, nil
}
