package msgpack_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/redsession/redsession/importer/internal/msgpack"
	"github.com/redsession/redsession/importer/internal/plain"
)

func sample(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/types.msgpack")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The file was written by Python's msgpack 1.0.3.
func TestDecode(t *testing.T) {
	v, err := msgpack.Decode(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	m, notes, err := plain.Map(v)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]any{"list": m["list"], "map": m["map"]}
	if len(counts["list"].([]any)) != 20 || len(counts["map"].(map[string]any)) != 17 {
		t.Errorf("got %v, want a list of 20 and a map of 17", counts)
	}
	delete(m, "list")
	delete(m, "map")
	got, _ := json.Marshal(m)
	want := `{"_permanent":true,"b":"AP8=","f":[1.5,null],"ikey":{"1":"a"},"long":"` + strings.Repeat("x", 300) + `","n":null,"name":"ada",` +
		`"neg":[-1,-33,-129,-40000,-1099511627776],"pos":[0,127,128,65535,2147483648,9223372036854775808],"t":true,` +
		`"ts":["2024-05-06T07:08:09Z","2024-05-06T07:08:09.123456Z","1960-01-01T00:00:00Z"],"user_id":42}`
	if string(got) != want || len(notes) != 4 { // the extension, NaN, the tuple as key, and that keys became text
		t.Errorf("got %s\nand the notes %q\nwant %s", got, notes, want)
	}
}

func TestHostileData(t *testing.T) {
	for _, row := range []struct {
		name, data string
		want       error
	}{
		{"nothing", "", msgpack.ErrCorrupt},
		{"a text longer than the data", "\xdb\xff\xff\xff\xffabc", msgpack.ErrCorrupt},
		{"a list of four thousand million", "\xdd\xff\xff\xff\xff", msgpack.ErrCorrupt},
		{"a map of four thousand million", "\xdf\xff\xff\xff\xff", msgpack.ErrCorrupt},
		{"a number cut off", "\xcf\x01", msgpack.ErrCorrupt},
		{"the byte that is never used", "\xc1", msgpack.ErrCorrupt},
		{"more behind the end", "\x01\x02", msgpack.ErrCorrupt},
		{"lists ten thousand deep", strings.Repeat("\x91", 10_000) + "\x01", plain.ErrTooDeep},
		{"two hundred thousand values", "\xdd\x00\x03\x0d\x40" + strings.Repeat("\x01", 200_000), plain.ErrTooMany},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := msgpack.Decode([]byte(row.data)); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

// FuzzDecode holds that no data panics, or becomes more than the limits allow.
func FuzzDecode(f *testing.F) {
	f.Add(sample(f))
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := msgpack.Decode(data)
		if err != nil {
			return
		}
		if m, _, err := plain.Map(v); err == nil {
			if _, err := json.Marshal(m); err != nil {
				t.Errorf("got %v, want values that encode as JSON", err)
			}
		}
	})
}
