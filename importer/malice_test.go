package importer_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession/importer/internal/gobvalue"
	"github.com/redsession/redsession/importer/internal/php"
	"github.com/redsession/redsession/importer/internal/pickle"
	"github.com/redsession/redsession/importer/internal/plain"
)

// whole is the largest session that a source reads.
const whole = 1 << 20

// mostAllocated is what reading a session of that size may take, what is free again
// included.
const mostAllocated = 160 << 20

// filled repeats part up to a whole session, between head and tail.
func filled(head, part, tail string) []byte {
	return []byte(head + strings.Repeat(part, (whole-len(head)-len(tail))/len(part)) + tail)
}

// bytes4 is a length in four bytes, as pickles have it.
func bytes4(n int) string { return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) }

var malicious = []struct {
	name   string
	decode func([]byte) (any, error)
	data   []byte
}{
	{"pickle: empty lists, in lists", unpickle, filled("](", "]", "e.")},
	{"pickle: empty lists, thrown away", unpickle, filled("}", "("+strings.Repeat("]", 60000)+"1", ".")},
	{"pickle: empty lists, kept", unpickle, filled("]", "("+strings.Repeat("]", 60000)+"e", ".")},
	{"pickle: dicts in tuples", unpickle, filled("}", "}\x85\x85\x850", ".")},
	{"pickle: a large text, shared", unpickle, filled("]X"+bytes4(whole/2)+strings.Repeat("x", whole/2)+"q\x000(", strings.Repeat("h\x00", 30000)+"e(", "e.")},
	{"pickle: a large number, shared by a list", unpickle, sharedNumber("}U\x01a](", "es.", 45_000)},
	{"pickle: a large number, shared by keys", unpickle, sharedNumber("}(", "u.", 60_000)},
	{"pickle: text of Latin-1", unpickle, []byte("}U\x01aV" + strings.Repeat("\xe9", whole-10) + "\ns.")},
	{"pickle: floats", unpickle, filled("](", "G\x00\x00\x00\x00\x00\x00\x00\x01", "e.")},
	{"php: empty arrays", unserialize, filled("", "a|a:0:{}", "")},
	{"php: an array of empty arrays", unserialize, phpArray("a:0:{}")},
	{"php: variables", unserialize, phpVariables()},
	{"php: a large text, shared", unserialize, append([]byte(`a|s:500000:"`+strings.Repeat("x", 500_000)+`";b|`), phpArray("R:1;")[2:whole/3]...)},
	{"php: tags of HTML", unserialize, fmt.Appendf(nil, `a|s:%d:"%s";`, whole-20, strings.Repeat("<", whole-20))},
	{"JSON: empty lists", plain.JSON, filled(`{"a":[[]`, `,[]`, "]}")},
	{"JSON: empty objects", plain.JSON, filled(`{"a":[{}`, `,{}`, "]}")},
	{"JSON: numbers", plain.JSON, filled(`{"a":[1`, `,1`, "]}")},
	{"JSON: objects in objects", plain.JSON, []byte(strings.Repeat(`{"":`, 9000) + "1" + strings.Repeat("}", 9000))},
	{"JSON: escapes", plain.JSON, filled(`{"a":"`, `\u0000`, `"}`)},
	{"gob: nothing, many times", ungob, encoded(map[any]any{"a": make([]any, whole-100)})},
	{"gob: short texts", ungob, encoded(map[any]any{"a": slicesOf("", whole/20)})},
	{"gob: a map that claims 2^62 elements", ungob, claims("\xf8\x40\x00\x00\x00\x00\x00\x00\x00")},
	{"gob: a map that claims 2^28 elements", ungob, claims("\xfc\x10\x00\x00\x00")},
	{"gob: lists in each other that claim to be long", ungob, longLists()},
}

func unpickle(data []byte) (any, error)    { return pickle.Decode(data) }
func unserialize(data []byte) (any, error) { return php.Decode(data, php.Auto) }
func ungob(data []byte) (any, error)       { return gobvalue.Gorilla(data) }

// TestAMegabyteOfMaliceTakesBoundedMemory reads what somebody who can write where the
// old package keeps its sessions could put there to end the program that reads it.
func TestAMegabyteOfMaliceTakesBoundedMemory(t *testing.T) {
	for _, row := range malicious {
		if len(row.data) > whole {
			t.Errorf("%s: got %d bytes, want no more than a source reads", row.name, len(row.data))
		}
		took := allocated(func() {
			v, err := row.decode(row.data)
			if err != nil {
				return
			}
			if m, _, err := plain.Map(v); err == nil {
				_, _ = json.Marshal(m)
			}
		})
		t.Logf("%-50s %8d bytes, %4d MiB", row.name, len(row.data), took>>20)
		if took > mostAllocated {
			t.Errorf("%s: %d bytes took %d MiB, want at most %d", row.name, len(row.data), took>>20, mostAllocated>>20)
		}
	}
}

// allocated returns how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// sharedNumber refers so often to one number of 1024 bytes.
func sharedNumber(head, tail string, times int) []byte {
	number := "\x8b" + bytes4(1024) + strings.Repeat("\x7f", 1024) + "q\x000"
	return []byte(number + head + strings.Repeat("h\x00", times) + tail)
}

// phpArray is a variable with as many of value as fit.
func phpArray(value string) []byte {
	n := whole / (len("i:000000;") + len(value) + 1)
	b := fmt.Appendf(nil, "a|a:%d:{", n)
	for i := range n {
		b = fmt.Appendf(b, "i:%d;%s", i, value)
	}
	return append(b, '}')
}

func phpVariables() []byte {
	var b []byte
	for i := 0; len(b) < whole-20; i++ {
		b = fmt.Appendf(b, "%x|N;", i)
	}
	return b
}

func slicesOf(v any, n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func encoded(v any) []byte {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// claims is the gob of an empty map[any]any with another count.
func claims(count string) []byte {
	empty := encoded(map[any]any{})
	at := bytes.LastIndex(empty, []byte("\x04\xff")) // length and type of the value
	b := append(bytes.Clone(empty[:at]), byte(3+len(count)))
	b = append(b, empty[at+1:at+4]...)
	return append(b, count...)
}

// longLists are lists each of which is the first element of the one around it and
// claims many more.
func longLists() []byte {
	const name = "\x0e[]interface {}"
	gob := encoded(map[any]any{"a": []any{[]any{}}})
	at := bytes.LastIndex(gob, []byte(name)) // of the inner list, in the last message
	id := string(gob[at+len(name) : at+len(name)+2])
	value := ""
	for range 500 {
		body := "\x00\xfd\x0f\x00\x00" + value
		value = name + id + gobLength(len(body)) + body
	}
	first := bytes.Index(gob, []byte(name))
	definition := gob[first+len(name):]
	definition = definition[:len("\xff\x83\x02\x01\x02\xff\x84\x00\x01\x10\x00\x00")]
	body := id + gobLength(len(value)+2) + "\x00\x01" + value
	return slices.Concat(gob[:first+len(name)], definition, []byte(gobLength(len(body))+body))
}

func gobLength(n int) string {
	if n < 0x80 {
		return string(rune(n))
	}
	return string([]byte{0xfd, byte(n >> 16), byte(n >> 8), byte(n)})
}
