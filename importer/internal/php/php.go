// Package php reads the session files of PHP's three handlers: php, php_serialize
// and php_binary. Objects of PHP's own classes that are plain data are read as that
// (object.go). All others are refused; they would need the classes of the application
// that wrote them.
package php

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"github.com/redsession/redsession/importer/internal/plain"
)

// Format is one of PHP's session.serialize_handler.
type Format int

// The formats. Auto finds out.
const (
	Auto Format = iota
	Session
	Serialize
	Binary
)

// Errors of Decode. None shows what was in the session.
var (
	ErrCorrupt = errors.New("the PHP session is broken or cut off")
	ErrObject  = errors.New("the PHP session has an object")
)

// maxDepth bounds the recursion. What is nested deeper than plain.MaxDepth is left out
// later, when it is known where it ends.
const maxDepth = 1024

// Decode returns the variables of a session: nil, bool, int64, float64, string
// (PHP's bytes), time.Time, []any (arrays with the keys 0, 1, 2, …), map[string]any,
// and plain.Lost for a value that contains itself.
// Memory is bounded by the length of data, whatever lengths it claims, but for
// references: a value that is referred to occurs again, by the same pointer.
func Decode(data []byte, f Format) (map[string]any, error) {
	switch f {
	case Session:
		return session(data)
	case Serialize:
		return serialized(data)
	case Binary:
		return binary(data)
	}
	first := ErrCorrupt
	for _, decode := range []func([]byte) (map[string]any, error){serialized, session, binary} {
		vars, err := decode(data)
		if err == nil {
			return vars, nil
		}
		if !errors.Is(err, ErrCorrupt) && errors.Is(first, ErrCorrupt) {
			first = err // in the right format as far as it went
		}
	}
	return nil, first
}

// serialized reads one array, a:2:{…}.
func serialized(data []byte) (map[string]any, error) {
	if !bytes.HasPrefix(data, []byte("a:")) {
		return nil, ErrCorrupt
	}
	p := parser{data: data}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.pos != len(data) {
		return nil, ErrCorrupt
	}
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case []any:
		return byIndex(v), nil
	}
	return nil, ErrCorrupt
}

// session reads name|value name|value …
func session(data []byte) (map[string]any, error) {
	p := parser{data: data}
	vars := map[string]any{}
	for p.pos < len(data) {
		end := bytes.IndexByte(data[p.pos:], '|')
		if end < 0 {
			return nil, ErrCorrupt
		}
		name := string(data[p.pos : p.pos+end])
		p.pos += end + 1
		if name != "" && name[0] == '!' { // registered, but never set
			continue
		}
		var err error
		if vars[name], err = p.value(0); err != nil {
			return nil, err
		}
	}
	return vars, nil
}

// binary reads names with their length in one byte before them.
func binary(data []byte) (map[string]any, error) {
	p := parser{data: data}
	vars := map[string]any{}
	for p.pos < len(data) {
		length := int(data[p.pos])
		undefined := length&0x80 != 0
		length &= 0x7f
		if p.pos++; length > len(data)-p.pos {
			return nil, ErrCorrupt
		}
		name := string(data[p.pos : p.pos+length])
		if p.pos += length; undefined {
			continue
		}
		var err error
		if vars[name], err = p.value(0); err != nil {
			return nil, err
		}
	}
	return vars, nil
}

// open stands in a slot whose value is not complete yet.
type open struct{}

// parser reads what PHP's serialize() writes.
type parser struct {
	data  []byte
	pos   int
	slots []any // every value in the order in which it began, for references
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, plain.ErrTooDeep
	}
	if len(p.data)-p.pos < 2 {
		return nil, ErrCorrupt
	}
	kind := p.data[p.pos]
	if kind == 'N' && p.data[p.pos+1] == ';' {
		p.pos += 2
		p.slots = append(p.slots, nil)
		return nil, nil
	}
	if p.data[p.pos+1] != ':' {
		return nil, ErrCorrupt
	}
	p.pos += 2
	switch kind {
	case 'C', 'E':
		return nil, ErrObject
	case 'R', 'r':
		return p.reference(kind == 'r')
	}
	slot := len(p.slots)
	p.slots = append(p.slots, open{})
	v, err := p.plain(kind, depth)
	if err == nil {
		p.slots[slot] = v
	}
	return v, err
}

func (p *parser) plain(kind byte, depth int) (any, error) {
	switch kind {
	case 'a':
		return p.array(depth)
	case 'O':
		return p.object(depth)
	case 's':
		s, err := p.bytes()
		if err != nil || !p.accept(';') {
			return nil, ErrCorrupt
		}
		return s, nil
	case 'b', 'i', 'd':
		text, ok := p.until(';')
		if !ok {
			return nil, ErrCorrupt
		}
		return scalar(kind, text)
	}
	return nil, ErrCorrupt
}

func scalar(kind byte, text string) (any, error) {
	switch kind {
	case 'b':
		if text != "0" && text != "1" {
			return nil, ErrCorrupt
		}
		return text == "1", nil
	case 'i':
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, ErrCorrupt
		}
		return n, nil
	}
	switch text {
	case "NAN":
		return math.NaN(), nil
	case "INF":
		return math.Inf(1), nil
	case "-INF":
		return math.Inf(-1), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, ErrCorrupt
	}
	return f, nil
}

// reference returns the value that began as the n-th. Only r takes a place in
// that order itself (as serialize() counts).
func (p *parser) reference(counted bool) (any, error) {
	text, ok := p.until(';')
	n, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || n < 1 || n > int64(len(p.slots)) {
		return nil, ErrCorrupt
	}
	v := p.slots[n-1]
	if v == (open{}) {
		v = plain.Lost{Err: plain.ErrSelf}
	}
	if counted {
		p.slots = append(p.slots, v)
	}
	return v, nil
}

// array reads 2:{key value key value}.
func (p *parser) array(depth int) (any, error) {
	n, ok := p.length()
	if !ok || !p.accept('{') || n > (len(p.data)-p.pos)/4 { // i:0;N; has 6 bytes
		return nil, ErrCorrupt
	}
	var list []any
	var m map[string]any // nil while the keys are 0, 1, 2, …
	for i := range n {
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		if m == nil && key != int64(i) {
			m = byIndex(list)
		}
		v, err := p.value(depth + 1)
		switch {
		case err != nil:
			return nil, err
		case m == nil:
			list = append(list, v)
			continue
		}
		if number, ok := key.(int64); ok {
			key = strconv.FormatInt(number, 10)
		}
		m[key.(string)] = v
	}
	if !p.accept('}') {
		return nil, ErrCorrupt
	}
	if m != nil {
		return m, nil
	}
	if list == nil {
		list = []any{}
	}
	return list, nil
}

// byIndex returns a list as the map that it is in PHP.
func byIndex(list []any) map[string]any {
	m := make(map[string]any, len(list)+1)
	for i, v := range list {
		m[strconv.Itoa(i)] = v
	}
	return m
}

// key returns an int64 or a string.
func (p *parser) key() (any, error) {
	if len(p.data)-p.pos < 2 || p.data[p.pos+1] != ':' {
		return nil, ErrCorrupt
	}
	kind := p.data[p.pos]
	if kind != 'i' && kind != 's' {
		return nil, ErrCorrupt
	}
	p.pos += 2
	return p.plain(kind, 0)
}

// bytes reads 3:"ada", whose length counts bytes.
func (p *parser) bytes() (string, error) {
	n, ok := p.length()
	if !ok || !p.accept('"') || n > len(p.data)-p.pos {
		return "", ErrCorrupt
	}
	s := string(p.data[p.pos : p.pos+n])
	if p.pos += n; !p.accept('"') {
		return "", ErrCorrupt
	}
	return s, nil
}

// length reads a number and the colon behind it.
func (p *parser) length() (int, bool) {
	text, ok := p.until(':')
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), ok && err == nil
}

// until returns what comes before the next c, which is stepped over. What it
// returns is a number, and no number has 64 digits.
func (p *parser) until(c byte) (string, bool) {
	rest := p.data[p.pos:min(len(p.data), p.pos+64)]
	n := bytes.IndexByte(rest, c)
	if n < 0 {
		return "", false
	}
	p.pos += n + 1
	return string(rest[:n]), true
}

func (p *parser) accept(c byte) bool {
	if p.pos >= len(p.data) || p.data[p.pos] != c {
		return false
	}
	p.pos++
	return true
}
