package pickle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// global is one of Python's own classes or functions whose arguments are the whole of
// what it makes. It is never called: build reads the arguments.
type global string

// globals are those that are known, by module and name. Protocols up to 2 have some
// names of Python 2.
var globals = map[string]global{
	"builtins set": "set", "__builtin__ set": "set",
	"builtins frozenset": "set", "__builtin__ frozenset": "set",
	"builtins bytes": "bytes", "__builtin__ bytes": "bytes",
	"builtins bytearray": "bytes", "__builtin__ bytearray": "bytes",
	"builtins getattr": "getattr", "__builtin__ getattr": "getattr",
	"_codecs encode":          "encode",
	"collections OrderedDict": "OrderedDict", "collections Counter": "OrderedDict",
	"collections defaultdict": "defaultdict",
	"collections deque":       "set",
	"datetime datetime":       "datetime", "datetime date": "date", "datetime time": "time",
	"datetime timedelta": "timedelta", "datetime timezone": "timezone",
	"decimal Decimal": "Decimal", "_decimal Decimal": "Decimal", "_pydecimal Decimal": "Decimal",
	"pytz _UTC": "UTC", "pytz _p": "zone",
	"zoneinfo ZoneInfo": "ZoneInfo", "zoneinfo ZoneInfo._unpickle": "zone",
}

// factories are what a defaultdict may make its values with.
var factories = []string{"bool", "dict", "float", "frozenset", "int", "list", "long", "set", "str", "tuple", "unicode"}

// factory is one that has no other use.
const factory = global("factory")

// global finds what GLOBAL and STACK_GLOBAL name.
func (m *machine) global(op byte) error {
	refuse := &CallError{Opcode: refused[op]}
	var module, name any
	ok := true
	if op == 'c' {
		var lines [2]string
		lines[0], ok = m.line()
		if ok {
			lines[1], ok = m.line()
		}
		module, name = lines[0], lines[1]
	} else {
		name, _ = m.pop()
		module, _ = m.pop()
	}
	first, isText := module.(string)
	second, bothText := name.(string)
	if !ok || !isText || !bothText {
		return refuse
	}
	known, ok := globals[first+" "+second]
	switch {
	case ok:
	case (first == "builtins" || first == "__builtin__") && slices.Contains(factories, second):
		known = factory
	default:
		return refuse
	}
	m.push(known)
	return nil
}

// reduce puts what a global makes of its arguments in the place of both.
func (m *machine) reduce() error {
	refuse := &CallError{Opcode: refused['R']}
	args, _ := m.pop()
	callee, _ := m.pop()
	tuple, isList := args.(*list)
	g, known := callee.(global)
	if !isList || !known {
		return refuse
	}
	if m.work += size(tuple.items); m.work > maxWork {
		return ErrTooMany
	}
	v, ok := build(g, tuple.items)
	if !ok {
		return refuse
	}
	m.push(v)
	return nil
}

// size is how much work build has with args, which are copied wherever they are shared.
func size(args []any) int {
	n := len(args)
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			n += len(arg)
		case *list:
			n += len(arg.items)
		case *dict:
			n += len(arg.pairs)
		}
	}
	return n
}

// build returns what g makes of args, and false for any that CPython does not write.
func build(g global, args []any) (v any, ok bool) {
	switch g {
	case "set":
		return collection(args)
	case "OrderedDict":
		return ordered(args)
	case "defaultdict":
		if len(args) > 1 {
			return nil, false
		}
		return &dict{}, len(args) == 0 || isFactory(args[0])
	case "bytes", "encode":
		return latin1(args)
	case "Decimal":
		if len(args) != 1 {
			return nil, false
		}
		text, isText := args[0].(string)
		return text, isText
	case "getattr":
		return global("zone"), len(args) == 2 && args[0] == global("ZoneInfo") && args[1] == "_unpickle"
	}
	return buildTime(g, args)
}

func isFactory(v any) bool {
	g, ok := v.(global)
	return v == nil || ok && (g == factory || g == "set" || g == "OrderedDict" || g == "Decimal")
}

// collection reads set([…]) and deque([…], most).
func collection(args []any) (any, bool) {
	switch {
	case len(args) == 0:
		return &list{}, true
	case len(args) > 2:
		return nil, false
	}
	items, ok := args[0].(*list)
	if !ok {
		return nil, false
	}
	return &list{items: slices.Clone(items.items)}, true
}

// ordered reads OrderedDict([[key, value], …]), as Python 2 writes it, and Counter({…}).
func ordered(args []any) (any, bool) {
	if len(args) == 0 {
		return &dict{}, true
	}
	if of, ok := args[0].(*dict); ok && len(args) == 1 {
		return &dict{pairs: slices.Clone(of.pairs)}, true
	}
	items, ok := args[0].(*list)
	if !ok || len(args) > 1 {
		return nil, false
	}
	d := &dict{}
	for _, item := range items.items {
		pair, ok := item.(*list)
		if !ok || len(pair.items) != 2 {
			return nil, false
		}
		d.pairs = append(d.pairs, pair.items...)
	}
	return d, true
}

// latin1 reads bytes() and _codecs.encode("…", "latin1"), which is how protocols up to
// 2 write bytes, and bytearray("…", "latin-1").
func latin1(args []any) (any, bool) {
	switch {
	case len(args) == 0:
		return []byte{}, true
	case len(args) > 2:
		return nil, false
	case len(args) == 2 && args[1] != "latin1" && args[1] != "latin-1":
		return nil, false
	}
	if b, isBytes := args[0].([]byte); isBytes {
		return b, true
	}
	text, isText := args[0].(string)
	b := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, isText
}

// moment is a datetime: naive has no time zone.
type moment struct {
	time.Time
	naive bool
}

// day is a date, and clock a time of day, as ISO 8601 writes them.
type (
	day   string
	clock string
)

// delta is a timedelta.
type delta struct{ days, seconds, micros int64 }

// inSeconds is what total_seconds() returns.
func (d delta) inSeconds() float64 {
	return float64(d.days*86400+d.seconds) + float64(d.micros)/1e6
}

func buildTime(g global, args []any) (any, bool) {
	switch g {
	case "UTC":
		return time.UTC, len(args) == 0
	case "zone":
		return zone(args)
	case "timezone":
		return offset(args)
	case "timedelta":
		var n [3]int64
		for i, arg := range args {
			whole, ok := arg.(int64)
			if i == len(n) || !ok || whole < -1e9 || whole > 1e9 { // the most days that Python takes
				return nil, false
			}
			n[i] = whole
		}
		return delta{n[0], n[1], n[2]}, true
	}
	if len(args) == 0 {
		return nil, false
	}
	switch b := bytesOf(args[0]); {
	case g == "date" && len(b) == 4 && len(args) == 1:
		return day(fmt.Sprintf("%04d-%02d-%02d", int(b[0])<<8|int(b[1]), b[2], b[3])), true
	case g == "time" && len(b) == 6:
		hour := b[0] & 0x7f // whose highest bit is the fold
		return clock(strings.TrimSuffix(fmt.Sprintf("%02d:%02d:%02d.%06d", hour, b[1], b[2], micros(b[3:])), ".000000")), true
	case g == "datetime" && len(b) == 10:
		return datetime(b, args[1:])
	}
	return nil, false
}

// bytesOf returns bytes, and what Python 2 calls a str.
func bytesOf(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

func micros(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func datetime(b []byte, args []any) (any, bool) {
	m := moment{naive: len(args) == 0}
	where := time.UTC
	if len(args) == 1 {
		var ok bool
		if where, ok = args[0].(*time.Location); !ok {
			return nil, false
		}
	}
	month := time.Month(b[2] & 0x7f)
	m.Time = time.Date(int(b[0])<<8|int(b[1]), month, int(b[3]), int(b[4]), int(b[5]), int(b[6]), micros(b[7:])*1000, where)
	return m, len(args) <= 1
}

// zone reads the name of a time zone, which pytz follows by the offset, in seconds, that
// it means, and its abbreviation.
func zone(args []any) (any, bool) {
	if len(args) == 0 {
		return nil, false
	}
	name, isText := args[0].(string)
	if len(args) == 4 { // what pytz counted with, which knows no later rules
		seconds, ok := args[1].(int64)
		if !ok || !isText || seconds < -86400 || seconds > 86400 {
			return nil, false
		}
		return time.FixedZone(name, int(seconds)), true
	}
	where, err := time.LoadLocation(name)
	if !isText || name == "" || name == "Local" || err != nil {
		return nil, false
	}
	return where, true
}

// offset reads timezone(timedelta(…)), which may have a name.
func offset(args []any) (any, bool) {
	if len(args) == 0 || len(args) > 2 {
		return nil, false
	}
	d, ok := args[0].(delta)
	seconds := d.days*86400 + d.seconds
	if !ok || seconds < -86400 || seconds > 86400 {
		return nil, false
	}
	if seconds == 0 {
		return time.UTC, true
	}
	return time.FixedZone("", int(seconds)), true
}
