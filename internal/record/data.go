package record

import (
	"slices"
)

// Field is one value of a session: its key and its JSON.
type Field struct{ Name, Raw string }

// Find returns the JSON of the value called name.
func Find(fields []Field, name string) (raw string, ok bool) {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Raw, true
		}
	}
	return "", false
}

// OpKind says what an Op does to its key.
type OpKind int

const (
	Set    OpKind = iota // Raw replaces the value
	Delete               // the value goes
	Update               // Func computes the new value from the old one
	Clear                // every value goes, but for those that Keep spares
)

// Op is one recorded change. Changes are recorded, rather than the values that
// they lead to, so that they can be applied again on top of what another
// request wrote meanwhile.
type Op struct {
	Kind OpKind
	Name string
	Raw  string
	// Func gets the old JSON ("" if there is none) and returns the new one ("" to
	// delete it). It may be called more than once.
	Func func(old string) (string, error)
	// Keep names the key that Clear spares.
	Keep string
}

// Apply returns fields with ops applied in their order. It does not change
// fields.
func Apply(fields []Field, ops []Op) ([]Field, error) {
	if len(ops) == 0 {
		return fields, nil
	}
	fields = slices.Clone(fields)
	for _, op := range ops {
		raw := op.Raw
		switch op.Kind {
		case Clear:
			fields = slices.DeleteFunc(fields, func(f Field) bool { return f.Name != op.Keep || op.Keep == "" })
			continue
		case Update:
			old, _ := Find(fields, op.Name)
			var err error
			if raw, err = op.Func(old); err != nil {
				return nil, err
			}
		}
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == op.Name })
		switch {
		case raw == "" && i >= 0:
			fields = slices.Delete(fields, i, i+1)
		case raw != "" && i >= 0:
			fields[i].Raw = raw
		case raw != "":
			fields = append(fields, Field{op.Name, raw})
		}
	}
	return fields, nil
}

func parseFields(raw string) ([]Field, bool) {
	s := scanner{src: raw}
	s.expect('{')
	var fields []Field
	for !s.bad && s.peek() != '}' {
		if len(fields) > 0 {
			s.expect(',')
		} else {
			fields = make([]Field, 0, 10)
		}
		f := Field{Name: s.text()}
		s.expect(':')
		f.Raw = s.value()
		fields = append(fields, f)
	}
	s.expect('}')
	return fields, !s.bad && s.pos == len(raw)
}

func appendFields(b []byte, fields []Field) []byte {
	b = append(b, '{')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, f.Name)
		b = append(b, ':')
		b = append(b, f.Raw...)
	}
	return append(b, '}')
}

// fieldsLen is how long appendFields makes them.
func fieldsLen(fields []Field) int {
	n := len(`{}`) + max(0, len(fields)-1) // commas
	var quoted [64]byte
	for _, f := range fields {
		n += len(appendQuoted(quoted[:0], f.Name)) + len(`:`) + len(f.Raw)
	}
	return n
}
