// Package pickle reads plain data (dicts, lists, texts, numbers) out of Python
// pickles of the protocols 0 to 5. A pickle is a program for a stack machine, and
// some of its instructions call whatever Python function they name. Nothing is ever
// called: for a few classes of Python's own, whose arguments are plain data, the
// arguments are read (objects.go), and all others are refused.
package pickle

import "errors"

// Errors of Decode, besides *CallError. None shows what was in the pickle.
var (
	ErrCorrupt = errors.New("the pickle is broken or cut off")
	ErrTooMany = errors.New("the pickle has too many values")
	ErrNumber  = errors.New("the pickle has a number of more than 1024 bytes")
)

// CallError tells of an instruction that could call a function, or that asks
// for an object from outside. It was not carried out.
type CallError struct{ Opcode string }

func (e *CallError) Error() string {
	return "the pickle builds an object (opcode " + e.Opcode + "), which could run code"
}

// Most values on the stack and in the memo, and most that the result may have.
const (
	maxStack  = 1 << 16
	maxMemo   = 1 << 16
	maxResult = 100_000
	maxWork   = 4 << 20 // of building objects
	maxNumber = 1024    // bytes of one whole number; decoding larger ones takes quadratic time
)

// list is a Python list, tuple or set. Instructions share and change it.
type list struct{ items []any }

// dict is a Python dict: keys and values in turn.
type dict struct{ pairs []any }

// mark is on the stack where a list of arguments begins.
type mark struct{}

// Decode returns what data holds: nil, bool, int64, *big.Int, float64, string,
// []byte, []any (lists, tuples, sets), map[any]any and time.Time, which plain.Noted may
// surround. A date and a time of day are text as in ISO 8601, a timedelta is its
// seconds, a Decimal its text. Memory is bounded by the length of data, whatever
// lengths it claims.
func Decode(data []byte) (any, error) {
	m := machine{reader: reader{data: data}, memo: map[uint64]any{}}
	v, err := m.run()
	if err != nil {
		return nil, err
	}
	left := maxResult
	return export(v, 0, &left)
}

type machine struct {
	reader
	stack []any
	memo  map[uint64]any
	work  int
}

// run carries out instructions until STOP.
func (m *machine) run() (any, error) {
	for {
		op, ok := m.byte()
		if !ok {
			return nil, ErrCorrupt
		}
		if op == '.' { // STOP
			if len(m.stack) != 1 || m.stack[0] == (mark{}) {
				return nil, ErrCorrupt
			}
			return m.stack[0], nil
		}
		if err := m.step(op); err != nil {
			return nil, err
		}
		if len(m.stack) > maxStack || len(m.memo) > maxMemo {
			return nil, ErrTooMany
		}
	}
}

// refused are the instructions that import, call, build or fetch objects: GLOBAL,
// STACK_GLOBAL and REDUCE where they are about one that is not known.
var refused = map[byte]string{
	'c': "GLOBAL", 0x93: "STACK_GLOBAL", 'R': "REDUCE", 'b': "BUILD", 'i': "INST", 'o': "OBJ",
	0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4",
	'P': "PERSID", 'Q': "BINPERSID", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}

func (m *machine) step(op byte) error {
	if v, known, err := m.constant(op); known {
		m.push(v)
		return err
	}
	switch op {
	case 0x80: // PROTO
		if version, ok := m.byte(); !ok || version > 5 {
			return ErrCorrupt
		}
	case 0x95: // FRAME: a length that nothing here needs
		if n, ok := m.uint(8); !ok || n > uint64(m.left()) {
			return ErrCorrupt
		}
	case 'p', 'q', 'r', 0x94: // PUT BINPUT LONG_BINPUT MEMOIZE
		return m.put(op)
	case 'g', 'h', 'j': // GET BINGET LONG_BINGET
		return m.get(op)
	case '0', '1', '2': // POP POP_MARK DUP
		return m.shuffle(op)
	case 'a', 's': // APPEND SETITEM
		return m.add(op)
	case 'e', 'u', 0x90: // APPENDS SETITEMS ADDITEMS
		return m.addAll(op)
	case 'l', 't', 'd', 0x91: // LIST TUPLE DICT FROZENSET
		return m.collect(op)
	case 0x85, 0x86, 0x87: // TUPLE1 TUPLE2 TUPLE3
		return m.tuple(int(op) - 0x84)
	case 'c', 0x93: // GLOBAL STACK_GLOBAL
		return m.global(op)
	case 'R': // REDUCE
		return m.reduce()
	default:
		if name, bad := refused[op]; bad {
			return &CallError{Opcode: name}
		}
		return ErrCorrupt
	}
	return nil
}

// constant returns what an instruction that only pushes a value pushes.
func (m *machine) constant(op byte) (v any, known bool, err error) {
	switch op {
	case '(':
		return mark{}, true, nil
	case 'N':
		return nil, true, nil
	case 0x88, 0x89: // NEWTRUE NEWFALSE
		return op == 0x88, true, nil
	case ']', ')', 0x8f: // EMPTY_LIST EMPTY_TUPLE EMPTY_SET
		return &list{}, true, nil
	case '}':
		return &dict{}, true, nil
	}
	if v, known, err = m.number(op); known {
		return v, true, err
	}
	return m.text(op)
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// pop takes one value, which must not be a mark.
func (m *machine) pop() (any, bool) {
	if len(m.stack) == 0 {
		return nil, false
	}
	v := m.stack[len(m.stack)-1]
	if v == (mark{}) {
		return nil, false
	}
	m.stack = m.stack[:len(m.stack)-1]
	return v, true
}

// cut takes what lies above the topmost mark, and the mark.
func (m *machine) cut() ([]any, bool) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if m.stack[i] == (mark{}) {
			items := append([]any(nil), m.stack[i+1:]...) // the stack is written to again
			m.stack = m.stack[:i]
			return items, true
		}
	}
	return nil, false
}

func (m *machine) put(op byte) error {
	index, ok := uint64(len(m.memo)), true
	switch op {
	case 'p':
		index, ok = m.decimal()
	case 'q':
		index, ok = m.uint(1)
	case 'r':
		index, ok = m.uint(4)
	}
	if !ok || len(m.stack) == 0 || m.stack[len(m.stack)-1] == (mark{}) {
		return ErrCorrupt
	}
	m.memo[index] = m.stack[len(m.stack)-1]
	return nil
}

func (m *machine) get(op byte) error {
	var index uint64
	var ok bool
	switch op {
	case 'g':
		index, ok = m.decimal()
	case 'h':
		index, ok = m.uint(1)
	default:
		index, ok = m.uint(4)
	}
	v, known := m.memo[index]
	if !ok || !known {
		return ErrCorrupt
	}
	m.push(v)
	return nil
}

func (m *machine) shuffle(op byte) error {
	switch op {
	case '1':
		if _, ok := m.cut(); !ok {
			return ErrCorrupt
		}
		return nil
	case '2':
		if len(m.stack) == 0 || m.stack[len(m.stack)-1] == (mark{}) {
			return ErrCorrupt
		}
		m.push(m.stack[len(m.stack)-1])
		return nil
	}
	if len(m.stack) == 0 {
		return ErrCorrupt
	}
	m.stack = m.stack[:len(m.stack)-1] // POP takes a mark too
	return nil
}

func (m *machine) add(op byte) error {
	v, ok := m.pop()
	if !ok {
		return ErrCorrupt
	}
	items := []any{v}
	if op == 's' {
		key, ok := m.pop()
		if !ok {
			return ErrCorrupt
		}
		items = []any{key, v}
	}
	return m.fill(op == 's', items)
}

func (m *machine) addAll(op byte) error {
	items, ok := m.cut()
	if !ok {
		return ErrCorrupt
	}
	return m.fill(op == 'u', items)
}

// fill adds items to the list or dict on top of the stack.
func (m *machine) fill(pairs bool, items []any) error {
	if len(m.stack) == 0 {
		return ErrCorrupt
	}
	switch v := m.stack[len(m.stack)-1].(type) {
	case *list:
		if pairs {
			return ErrCorrupt
		}
		v.items = append(v.items, items...)
	case *dict:
		if !pairs || len(items)%2 != 0 {
			return ErrCorrupt
		}
		v.pairs = append(v.pairs, items...)
	default:
		return ErrCorrupt
	}
	return nil
}

func (m *machine) collect(op byte) error {
	items, ok := m.cut()
	switch {
	case !ok, op == 'd' && len(items)%2 != 0:
		return ErrCorrupt
	case op == 'd':
		m.push(&dict{pairs: items})
	default:
		m.push(&list{items: items})
	}
	return nil
}

func (m *machine) tuple(n int) error {
	items := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		var ok bool
		if items[i], ok = m.pop(); !ok {
			return ErrCorrupt
		}
	}
	m.push(&list{items: items})
	return nil
}
