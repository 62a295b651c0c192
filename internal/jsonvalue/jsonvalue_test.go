package jsonvalue_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/redsession/redsession/internal/jsonvalue"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	type inner struct{ Text string }
	for _, row := range []struct {
		name string
		v    any
		want string
		err  bool
	}{
		{"an int", 7, `7`, false},
		{"a bool", true, `true`, false},
		{"nothing is escaped for HTML", "<a&b>", `"<a&b>"`, false},
		{"a replacement character that is meant stays", "\ufffd", `"` + "\ufffd" + `"`, false},
		{"JSON that means the escape stays", json.RawMessage(`"\ufffd"`), `"\ufffd"`, false},
		{"a string that is not UTF-8 is refused", "a\xff", "", true},
		{"in a struct", inner{"\xff"}, "", true},
		{"behind a pointer", &inner{"\xff"}, "", true},
		{"in a list", []any{1, "\xff"}, "", true},
		{"in a key of a map", map[string]int{"\xff": 1}, "", true},
		{"in a value of a map", map[string]any{"k": []string{"\xff"}}, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := jsonvalue.Encode(row.v)
			if got != row.want || errors.Is(err, jsonvalue.ErrNotUTF8) != row.err {
				t.Errorf("got %s and %v, want %s and an error: %v", got, err, row.want, row.err)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	if v, err := jsonvalue.Decode[string](`"a\"b"`); v != `a"b` || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if v, err := jsonvalue.Decode[int](`12`); v != 12 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if _, err := jsonvalue.Decode[int](`"x"`); err == nil {
		t.Error("got no error for a string as an int")
	}
	if v, err := jsonvalue.Decode[map[string]int](`{"a":1}`); v["a"] != 1 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}
