// Package flash is how flashes lie in a session: a list of messages, and of values that have a name.
package flash

import (
	"encoding/json"

	"github.com/redsession/redsession/internal/jsonvalue"
)

// Kind tells what an entry is.
type Kind int

// An entry of an unknown kind was written by a later version of the program.
const (
	Message Kind = iota
	Value
	Unknown
)

// Entry is one flash. In JSON a message is [id, text] and a value [id, name, value]; an imported
// message is a text alone. Anything else is unknown, and kept as it is.
type Entry struct {
	Kind Kind
	ID   string // tells it from an equal one
	Name string // of a value
	Text string // the message, or JSON
}

// MarshalJSON is what lies in a session.
func (e Entry) MarshalJSON() ([]byte, error) {
	list := []any{e.ID, e.Text}
	switch e.Kind {
	case Value:
		list = []any{e.ID, e.Name, json.RawMessage(e.Text)}
	case Unknown:
		return []byte(e.Text), nil
	}
	text, err := jsonvalue.Encode(list)
	return []byte(text), err
}

// UnmarshalJSON takes every form.
func (e *Entry) UnmarshalJSON(raw []byte) error {
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list) // of what is no list it makes none
	*e = Entry{Kind: Unknown, Text: string(raw)}
	var text, name string
	switch {
	case len(list) == 0 && json.Unmarshal(raw, &text) == nil:
		*e = Entry{Text: text}
	case len(list) == 2 && json.Unmarshal(list[0], &e.ID) == nil && json.Unmarshal(list[1], &text) == nil:
		*e = Entry{ID: e.ID, Text: text}
	case len(list) == 3 && json.Unmarshal(list[0], &e.ID) == nil && json.Unmarshal(list[1], &name) == nil:
		*e = Entry{Kind: Value, ID: e.ID, Name: name, Text: string(list[2])}
	default:
		e.ID = ""
	}
	return nil
}

// Read returns what raw holds. What is no list is none: it must not keep a session from going on.
func Read(raw string) []Entry {
	list, err := jsonvalue.Decode[[]Entry](raw)
	if err != nil {
		return nil
	}
	return list
}
