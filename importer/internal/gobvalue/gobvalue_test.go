package gobvalue_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/importer/internal/gobvalue"
	"github.com/redsession/redsession/importer/internal/plain"
)

// gorillaGob and scsGob were written by redistore 1.4.1 and scs 2.9.0.
const (
	gorillaGob = "\x0d\x7f\x04\x01\x02\xff\x80\x00\x01\x10\x01\x10\x00\x00\x3b\xff\x80\x00\x02\x06string\x0c\x09\x00\x07user_id\x03int\x04\x02\x00\x54\x06string\x0c\x06\x00\x04name\x06string\x0c\x05\x00\x03ada"
	scsGob     = "\x26\xff\x81\x03\x01\x02\xff\x82\x00\x01\x02\x01\x08Deadline\x01\xff\x84\x00\x01\x06Values\x01\xff\x86\x00\x00\x00\x10\xff\x83\x05\x01\x01\x04Time\x01\xff\x84\x00\x00\x00\x27\xff\x85\x04\x01\x01\x17map[string]interface {}\x01\xff\x86\x00\x01\x0c\x01\x10\x00\x00\x39\xff\x82\x01\x0f\x01\x00\x00\x00\x0e\xe2\x95\x44\xad\x29\xea\x5e\x17\xff\xff\x01\x02\x07user_id\x03int\x04\x02\x00\x54\x04name\x06string\x0c\x05\x00\x03ada\x00"
)

func TestWhatTheLibrariesWrote(t *testing.T) {
	values, err := gobvalue.Gorilla([]byte(gorillaGob))
	if err != nil || values["user_id"] != 42 || values["name"] != "ada" || len(values) != 2 {
		t.Errorf("redistore: got %v and error %v, want user_id 42 and name ada", values, err)
	}
	deadline, scs, err := gobvalue.SCS([]byte(scsGob))
	if err != nil || scs["user_id"] != 42 || scs["name"] != "ada" || len(scs) != 2 {
		t.Errorf("scs: got %v and error %v, want user_id 42 and name ada", scs, err)
	}
	if deadline.Year() != 2026 {
		t.Errorf("scs: got the deadline %v, want one in 2026", deadline)
	}
}

// secretKind is registered by one program and not by the other: as gob keeps one
// list for the process, the test changes the name in the bytes.
type secretKind struct{ Name string }

func encode(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestATypeThatIsNotRegisteredIsNamed(t *testing.T) {
	gob.RegisterName("main.Known", secretKind{})
	data := encode(t, map[any]any{"user": secretKind{Name: "ada"}})
	values, err := gobvalue.Gorilla(data)
	if err != nil || values["user"] != (secretKind{Name: "ada"}) {
		t.Errorf("registered: got %v and error %v, want the value", values, err)
	}
	_, err = gobvalue.Gorilla(bytes.ReplaceAll(data, []byte("main.Known"), []byte("main.Other")))
	var unknown *gobvalue.UnknownTypeError
	if !errors.As(err, &unknown) || unknown.Name != "main.Other" || !strings.Contains(err.Error(), "gob.Register it before importing") {
		t.Errorf("not registered: got %v, want main.Other to be named", err)
	}
}

func TestHostileGobs(t *testing.T) {
	long := encode(t, map[any]any{"k": strings.Repeat("x", 300)})
	for _, row := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"a message of 2^62 bytes", append([]byte{0xf8, 0x40, 0, 0, 0, 0, 0, 0, 0}, gorillaGob...)},
		{"a length of 128 bytes", append([]byte{0x80}, gorillaGob...)},
		{"cut off", long[:len(long)-1]},
		{"more behind the end", append(bytes.Clone(long), 0x20)},
		{"a message without content", append(bytes.Clone(long), 0)},
		{"another type", encode(t, []int{1, 2, 3})},
	} {
		if _, err := gobvalue.Gorilla(row.data); !errors.Is(err, gobvalue.ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", row.name, err, gobvalue.ErrCorrupt)
		}
	}
}

// FuzzWhatGobEncodes holds that nothing is refused that encoding/gob wrote, and that it is read as that reads it. The
// values are those of a JSON object, of the types that sessions hold.
func FuzzWhatGobEncodes(f *testing.F) {
	gob.Register(map[string]any{})
	gob.Register([]any{})
	f.Add([]byte(`{"user":"alice","n":1.5,"roles":["a",["b"]],"cart":{"a":{"n":0}},"t":true,"long":"0123456789012345678901234567890123456789"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var values map[string]any
		if json.Unmarshal(data, &values) != nil {
			return
		}
		mixed := map[any]any{}
		for i, k := range slices.Sorted(maps.Keys(values)) {
			v := values[k]
			if n, whole := v.(float64); whole && n == math.Trunc(n) && math.Abs(n) < 1<<53 {
				v = int(n)
			}
			if mixed[k] = v; i%2 == 0 {
				mixed[i] = v
			}
			if v == nil {
				return // gob says that it cannot encode it
			}
		}
		var b bytes.Buffer
		if gob.NewEncoder(&b).Encode(mixed) != nil {
			return
		}
		var want map[any]any
		if err := gob.NewDecoder(bytes.NewReader(b.Bytes())).Decode(&want); err != nil {
			return
		}
		got, err := gobvalue.Gorilla(b.Bytes())
		if errors.Is(err, plain.ErrTooDeep) || errors.Is(err, plain.ErrTooMany) {
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v and error %v, want %v", got, err, want)
		}
	})
}

// FuzzDecode holds that no gob panics.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(gorillaGob))
	f.Add([]byte(scsGob))
	f.Add(encode(f, "AUENRLCQKMA2L7F5BPYWPPKLVQ4I3AHV4WUY3XABNY2MO4IT5NEQ"))
	f.Add(encode(f, map[any]any{1: math.Pi, "b": []byte("x"), "t": true, "s": []string{"a"}}))
	f.Add(encode(f, struct {
		Deadline time.Time
		Values   map[string]any
	}{time.Unix(1763755943, 0), map[string]any{"n": int64(1)}}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = gobvalue.Gorilla(data)
		_, _, _ = gobvalue.SCS(data)
		_, _ = gobvalue.String(data)
	})
}
