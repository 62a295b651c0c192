package flash_test

import (
	"reflect"
	"testing"

	"github.com/redsession/redsession/internal/flash"
	"github.com/redsession/redsession/internal/jsonvalue"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, raw string
		want      []flash.Entry
		again     string // as written back, if not as it was
	}{
		{"nothing", `[]`, []flash.Entry{}, ""},
		{"a message", `[["a","<b>"]]`, []flash.Entry{{ID: "a", Text: "<b>"}}, ""},
		{"an imported message", `["hello"]`, []flash.Entry{{Text: "hello"}}, `[["","hello"]]`},
		{"a value", `[["a","n",{"x":1}]]`, []flash.Entry{{Kind: flash.Value, ID: "a", Name: "n", Text: `{"x":1}`}}, ""},
		{"a value without a name", `[["a","",null]]`, []flash.Entry{{Kind: flash.Value, ID: "a", Text: `null`}}, ""},
		{"forms of later versions", `[["a"],["a","b",1,2],{"a":1},7,["a",1],[1,"n",2],[]]`, []flash.Entry{
			unknown(`["a"]`), unknown(`["a","b",1,2]`), unknown(`{"a":1}`), unknown(`7`), unknown(`["a",1]`), unknown(`[1,"n",2]`), unknown(`[]`),
		}, ""},
		{"no list", `{"a":1}`, nil, "null"},
		{"no JSON", `[`, nil, "null"},
	} {
		got := flash.Read(row.raw)
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
		if row.again == "" {
			row.again = row.raw
		}
		if again, err := jsonvalue.Encode(got); again != row.again || err != nil {
			t.Errorf("%s: got %s, %v back, want %s", row.name, again, err, row.again)
		}
	}
}

func unknown(raw string) flash.Entry { return flash.Entry{Kind: flash.Unknown, Text: raw} }
