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
		{"datetime.pickle", "STACK_GLOBAL"},
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
		{"a list that contains itself", []byte("]\x94h\x00a."), plain.ErrTooDeep},
		{"a dict that contains itself", []byte("}\x94U\x01kh\x00s."), plain.ErrTooDeep},
		{"a bomb of shared lists", bomb, pickle.ErrTooMany},
		{"two hundred lists in each other", bytes.Join([][]byte{bytes.Repeat([]byte("]"), 200), bytes.Repeat([]byte("a"), 199), []byte(".")}, nil), plain.ErrTooDeep},
		{"a stack of a hundred thousand", bytes.Repeat([]byte("N"), 100_000), pickle.ErrTooMany},
		{"a memo of a hundred thousand", append([]byte("N"), bytes.Repeat([]byte{0x94}, 100_000)...), pickle.ErrTooMany},
		{"a number of a million bytes", append([]byte{0x8b, 0x40, 0x42, 0x0f, 0}, make([]byte, 1_000_000)...), pickle.ErrNumber},
		{"a number of a million digits", []byte("L" + strings.Repeat("9", 1_000_000) + "L\n."), pickle.ErrNumber},
		{"a tuple as key", []byte("})K\x01s."), pickle.ErrKey},
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
