package jsonvalue

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// site is where encoding/json finds a value: it calls methods with a pointer receiver on what
// has an address alone, which values of maps and of interfaces have not.
type site struct {
	reflect.Type
	addressed bool
}

// shape is what has to be known of a type to tell whether its values come back.
type shape struct {
	lost      Error // why none does
	look      bool  // some might not: values have to be looked at
	byAddress bool  // there is a method with a pointer receiver
}

const maxEmbedded = 16 // structs within each other

var shapes sync.Map // of *shape by site: a program has few types of values

func shapeOf(at site) *shape {
	if sh, ok := shapes.Load(at); ok {
		return sh.(*shape)
	}
	sh := new(shape)
	switch {
	case at.Kind() == reflect.Interface && at.NumMethod() > 0:
		sh.lost = lostInterface(at.Type)
	case marshals(at):
	case opaque(at.Type):
		sh.lost = lostFields(at.Type)
	}
	sh.add(at, map[site]bool{})
	shapes.Store(at, sh)
	return sh
}

func lostInterface(t reflect.Type) Error {
	return Error(fmt.Sprintf("a value of the interface %s would not decode: use a type that is no interface", t))
}

func lostFields(t reflect.Type) Error {
	return Error(fmt.Sprintf("%s has no exported field and no MarshalJSON, and would be kept as {}", t))
}

// add notes what values of at and in it need.
func (sh *shape) add(at site, seen map[site]bool) {
	if seen[at] {
		return
	}
	seen[at] = true
	if marshals(at) {
		sh.byAddress = sh.byAddress || !marshals(site{at.Type, false})
		return
	}
	switch at.Kind() {
	case reflect.Interface:
		sh.look = true
	case reflect.Pointer, reflect.Slice:
		sh.add(site{at.Elem(), true}, seen)
	case reflect.Array:
		sh.add(site{at.Elem(), at.addressed}, seen)
	case reflect.Map:
		sh.add(site{at.Elem(), false}, seen)
	case reflect.Struct:
		sh.look = sh.look || opaque(at.Type)
		for i := range at.NumField() {
			if f := at.Field(i); kept(f) {
				sh.add(site{f.Type, at.addressed}, seen)
			}
		}
	}
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// marshals tells whether the type says itself how it is encoded.
func marshals(at site) bool {
	t := at.Type
	if t.Kind() == reflect.Interface { // what lies in it decides
		return false
	}
	if t.Implements(jsonMarshaler) || t.Implements(textMarshaler) {
		return true
	}
	p := reflect.PointerTo(t)
	return at.addressed && (p.Implements(jsonMarshaler) || p.Implements(textMarshaler))
}

// opaque tells whether t is a struct of whose fields encoding/json sees none.
func opaque(t reflect.Type) bool { return opaqueWithin(t, 0) }

func opaqueWithin(t reflect.Type, depth int) bool {
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !f.Anonymous || keptWithin(f, depth) {
			return false
		}
	}
	return true
}

// kept tells whether encoding/json keeps the field, or the fields of one that is embedded.
func kept(f reflect.StructField) bool { return keptWithin(f, 0) }

func keptWithin(f reflect.StructField, depth int) bool {
	if f.Tag.Get("json") == "-" {
		return false
	}
	if !f.Anonymous {
		return f.IsExported()
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return f.IsExported()
	}
	if f.IsExported() && marshals(site{t, true}) {
		return true
	}
	return depth < maxEmbedded && !opaqueWithin(t, depth+1) // a struct may embed a pointer to itself
}

// lostIn is lost, with a short way for what JSON itself is made of.
func lostIn(v any) Error {
	switch v := v.(type) {
	case nil, string, bool, float64, int, int64, json.Number, []string:
		return ""
	case map[string]any:
		for _, one := range v {
			if why := lostIn(one); why != "" {
				return why
			}
		}
		return ""
	case []any:
		for _, one := range v {
			if why := lostIn(one); why != "" {
				return why
			}
		}
		return ""
	}
	return lost(reflect.ValueOf(v))
}

// lost tells why v would not come back: it holds a struct without exported fields, unless that
// is zero, or something behind an interface that is not empty.
func lost(v reflect.Value) Error {
	if !v.IsValid() {
		return ""
	}
	at := site{v.Type(), v.CanAddr()}
	if marshals(at) || !shapeOf(at).look {
		return ""
	}
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() && v.NumMethod() > 0 {
			return lostInterface(v.Type())
		}
		return lost(v.Elem())
	case reflect.Pointer:
		return lost(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if why := lost(v.Index(i)); why != "" {
				return why
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if why := lost(it.Value()); why != "" {
				return why
			}
		}
	case reflect.Struct:
		if opaque(v.Type()) && !v.IsZero() {
			return lostFields(v.Type())
		}
		for i := range v.NumField() {
			if !kept(v.Type().Field(i)) {
				continue
			}
			if why := lost(v.Field(i)); why != "" {
				return why
			}
		}
	}
	return ""
}
