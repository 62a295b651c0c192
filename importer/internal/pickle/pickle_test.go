package pickle_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redsession/redsession/importer/internal/pickle"
	"github.com/redsession/redsession/importer/internal/plain"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// asJSON decodes a pickle and returns it as JSON, with sorted keys.
func asJSON(t *testing.T, data []byte) string {
	t.Helper()
	v, err := pickle.Decode(data)
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	m, _, err := plain.Map(v)
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The files in testdata were written by CPython's pickle.dumps.
func TestEveryProtocolGivesTheSame(t *testing.T) {
	odoo := `{"_trace":[{"browser":"chrome","first_activity":1763755943,"ip_address":"203.0.113.7","last_activity":1763755943,"platform":"linux"}],` +
		`"context":{"lang":"en_US","tz":"Europe/Brussels","uid":2},"create_time":1763755943.123456,"db":"prod","debug":"","login":"ada",` +
		`"session_token":"` + strings.Repeat("3f", 32) + `","uid":2}`
	mixed := `{"again":[[{"a":[]}]],"f":false,` +
		`"i":[0,1,255,256,65536,-1,2147483648,-2147483649,9223372036854775807,9223372036854775808,-9223372036854775808,-9223372036854775809,1000000000000000000000000000000],` +
		`"long":"` + strings.Repeat("x", 300) + `","n":null,"nested":[[{"a":[]}]],"s":["","é","日本","a'b\"\\\n\t` + "\x7f" + `\u2028"],"t":true,` +
		`"tu":[[],[1],[1,2],[1,2,3],[1,2,3,4]],"x":[1.5,-0.25]}`
	for protocol := range 6 {
		for name, want := range map[string]string{"odoo": odoo, "mixed": mixed} {
			if got := asJSON(t, file(t, fmt.Sprintf("%s%d.pickle", name, protocol))); got != want {
				t.Errorf("%s, protocol %d:\n got %s\nwant %s", name, protocol, got, want)
			}
		}
	}
}

func TestBytesAndSets(t *testing.T) {
	if got, want := asJSON(t, file(t, "bytes4.pickle")), `{"b":"AP8=","ba":0,"fs":1,"set":[7]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatCouldRunCodeIsRefused(t *testing.T) {
	owned := filepath.Join(os.TempDir(), "owned") // what the evil pickles would make
	for _, row := range []struct{ name, opcode string }{
		{"evil0.pickle", "GLOBAL"},
		{"evil1.pickle", "GLOBAL"},
		{"evil2.pickle", "GLOBAL"},
		{"evil3.pickle", "GLOBAL"},
		{"evil4.pickle", "STACK_GLOBAL"},
		{"evil5.pickle", "STACK_GLOBAL"},
	} {
		_, err := pickle.Decode(file(t, row.name))
		var call *pickle.CallError
		if !errors.As(err, &call) || call.Opcode != row.opcode {
			t.Errorf("%s: got %v, want a CallError of %s", row.name, err, row.opcode)
		}
	}
	if _, err := os.Stat(owned); err == nil {
		t.Errorf("got the file that the pickle makes, want none")
	}
	for _, op := range []byte("cRbioPQ\x81\x82\x83\x84\x92\x93\x97\x98") {
		var call *pickle.CallError
		if _, err := pickle.Decode([]byte{0x80, 4, op, '.'}); !errors.As(err, &call) {
			t.Errorf("opcode %#x: got %v, want a CallError", op, err)
		}
	}
}

// The files were written by CPython 3.11 from one dict. Key types that JSON does not have, and numbers that are not finite,
// are left out.
func TestTypesOfPythonsOwnAreReadAsData(t *testing.T) {
	want := `{"again":[{"a":2,"b":1},{"a":2,"b":1}],"array":"Af4=","bytes":"AP8=","count":{"a":2,"b":1},"date":"2024-05-06","dd":{"x":[1]},"dec":"12.50","decnan":"NaN",` +
		`"delta":86402.5,"deque":[1,2],"empty_set":[],"fold":"2024-10-27T02:30:00Z","frozen":["x"],"keys":{"2024-05-06":"date","ok":1},"list":[1,null,2],"naive":"2024-05-06T07:08:09.123456Z","name":"ada",` +
		`"nested":{"k":{"v":"2024-05-06"}},"nobytes":"","none":{"q":1},"od":{"a":2,"b":1},"plus":"2024-05-06T07:08:09+02:00","set":[7],"time":"07:08:09","user_id":42,"utc":"2024-05-06T07:08:09Z","zone":"2024-05-06T07:08:09+02:00"}`
	for protocol := range 6 {
		if got := asJSON(t, file(t, fmt.Sprintf("types%d.pickle", protocol))); got != want {
			t.Errorf("protocol %d:\n got %s\nwant %s", protocol, got, want)
		}
	}
	if got, want := asJSON(t, file(t, "datetime.pickle")), `{"d":"2026-01-02T00:00:00Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKnownTypesWithOtherArgumentsAreRefused(t *testing.T) {
	for _, row := range []struct{ name, data string }{
		{"a set of a text", "c__builtin__\nset\nU\x03abc\x85R."},
		{"a date of a text that is too long", "cdatetime\ndate\nU\x05abcde\x85R."},
		{"getattr of what is no time zone", "c__builtin__\ngetattr\nc__builtin__\nset\nU\x01a\x86R."},
		{"getattr of another attribute of a time zone", "c__builtin__\ngetattr\nczoneinfo\nZoneInfo\nU\x08__init__\x86R."},
		{"a time zone that is a path", "czoneinfo\nZoneInfo._unpickle\nU\x0b/etc/passwd\x88\x86R."},
		{"the class itself as a value", "c__builtin__\nset\n."},
		{"eval as a factory", "ccollections\ndefaultdict\nc__builtin__\neval\n\x85R."},
		{"a call of what a call returned", "c__builtin__\nset\n)R)R."},
		{"a factory that is called", "c__builtin__\nint\nU\x011\x85R."},
		{"a state for a known type", "ccollections\nOrderedDict\n)R}b."},
	} {
		t.Run(row.name, func(t *testing.T) {
			var call *pickle.CallError
			if v, err := pickle.Decode([]byte(row.data)); !errors.As(err, &call) {
				t.Errorf("got %v and error %v, want a CallError", v, err)
			}
		})
	}
}

func TestWhatIsNestedTooDeepIsLeftOut(t *testing.T) {
	deep := strings.Repeat("]", 200) + strings.Repeat("a", 199)
	for _, row := range []struct{ name, data, want string }{
		{"a dict that contains itself", "}\x94(U\x01kh\x00U\x01bK\x01u.", `{"b":1}`},
		{"a list that contains itself", "}(U\x01k]\x94h\x00aU\x01bK\x01u.", `{"b":1}`},
		{"two hundred lists in each other", "}(U\x01k" + deep + "U\x01bK\x01u.", `{"b":1}`},
		{"a tuple as key", "}(K\x01\x85K\x01U\x01bK\x01u.", `{"b":1}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := asJSON(t, []byte(row.data)); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestHostilePickles(t *testing.T) {
	// Ten lists, each ten times in the next one, nine times over.
	bomb := []byte("\x80\x04]\x940")
	for i := range 9 {
		bomb = append(bomb, ']', '(')
		for range 10 {
			bomb = append(bomb, 'h', byte(i))
		}
		bomb = append(bomb, 'e', 0x94, '0')
	}
	bomb = append(bomb, '}', '(', 'U', 1, 'k', 'h', 9, 'u', '.')
	huge := binary.LittleEndian.AppendUint64([]byte{0x80, 4, 0x8d}, 1<<62)
	for _, row := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, pickle.ErrCorrupt},
		{"cut off", []byte("\x80\x04}\x94("), pickle.ErrCorrupt},
		{"a text longer than the file", append(huge, "abc."...), pickle.ErrCorrupt},
		{"a frame longer than the file", []byte("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}."), pickle.ErrCorrupt},
		{"a protocol of the future", []byte("\x80\x06}."), pickle.ErrCorrupt},
		{"pop of nothing", []byte("0."), pickle.ErrCorrupt},
		{"append to a number", []byte("K\x01K\x02a."), pickle.ErrCorrupt},
		{"a mark as value", []byte("(."), pickle.ErrCorrupt},
		{"a memo that was never put", []byte("h\x05."), pickle.ErrCorrupt},
		{"texts encoded again and again", append(append([]byte("X\x00\x00\x01\x00"), bytes.Repeat([]byte("x"), 1<<16)...), append([]byte("\x940"), bytes.Repeat([]byte("c_codecs\nencode\nh\x00\x85R0"), 100)...)...), pickle.ErrTooMany},
		{"a bomb of shared lists", bomb, pickle.ErrTooMany},
		{"a stack of a hundred thousand", bytes.Repeat([]byte("N"), 100_000), pickle.ErrTooMany},
		{"a memo of a hundred thousand", append([]byte("N"), bytes.Repeat([]byte{0x94}, 100_000)...), pickle.ErrTooMany},
		{"a number of a million bytes", append([]byte{0x8b, 0x40, 0x42, 0x0f, 0}, make([]byte, 1_000_000)...), pickle.ErrNumber},
		{"a number of a million digits", []byte("L" + strings.Repeat("9", 1_000_000) + "L\n."), pickle.ErrNumber},
	} {
		if _, err := pickle.Decode(row.data); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}

// FuzzDecode holds that no pickle panics, or becomes more than the limits allow.
func FuzzDecode(f *testing.F) {
	names, err := filepath.Glob("testdata/*.pickle")
	if err != nil || len(names) == 0 {
		f.Fatalf("got %d seeds and error %v", len(names), err)
	}
	for _, name := range names {
		f.Add(file(f, filepath.Base(name)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := pickle.Decode(data)
		if err != nil {
			return
		}
		m, _, err := plain.Map(v)
		if err != nil {
			return
		}
		if _, err := json.Marshal(m); err != nil {
			t.Errorf("got %v, want values that encode as JSON", err)
		}
	})
}
