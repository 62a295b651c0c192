package record_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// seeds gives f what lies in Redis, and what is nearly that.
func seeds(f *testing.F) {
	whole, sealed := encode(f, full(), "a", keyName, false), encode(f, full(), "a", keyName, true)
	lead, err := record.Lead(ring(f, "a"), keyName, 1, []byte("old"), []byte("next"), id, now.Unix())
	if err != nil {
		f.Fatal(err)
	}
	for _, raw := range []string{
		whole, sealed, encode(f, &record.Record{}, "a", keyName, false),
		record.NewTombstone(now, time.Minute).Encode(ring(f, "a"), keyName), lead.Encode(ring(f, "a"), keyName),
		"", "{}", `{"v":"`, whole[:60], whole[1:], strings.Replace(whole, `"d":{`, `"d":[`, 1), strings.Replace(whole, "{}", "{]", 1),
		strings.Replace(whole, `"c":`, `"c":-`, 1), strings.Replace(sealed, `"d":"`, `"d":"\`, 1),
	} {
		f.Add(raw)
	}
}

// FuzzDecode reads anything without a seal, as an administrator's tool does, as
// it is and as the inside of a record.
func FuzzDecode(f *testing.F) {
	seeds(f)
	whole := encode(f, full(), "a", keyName, false)
	f.Add(whole[15 : len(whole)-30])
	f.Add(`,"z":"` + id + `","x":1,"e":2,"y":"box"`)
	keys := ring(f, "a")
	f.Fuzz(func(t *testing.T, text string) {
		for _, raw := range []string{text, `{"v":"AAAAAAAA"` + text + `,"t":"` + strings.Repeat("A", 22) + `"}`} {
			decodesAgain(t, keys, raw)
		}
	})
}

var idLike = regexp.MustCompile(`^[\w-]*$`)

// decodesAgain wants what decodes, and is encoded again, to decode to the same.
func decodesAgain(t *testing.T, keys record.Ring, raw string) {
	t.Helper()
	if tomb, err := record.DecodeTombstone(raw); err == nil && idLike.MatchString(tomb.Next) {
		again, err := record.DecodeTombstone(tomb.Encode(keys, keyName))
		if err != nil || again.Next != tomb.Next || again.Deadline != tomb.Deadline || again.Seen != tomb.Seen {
			t.Errorf("got tombstone %+v and error %v, want %+v", again, err, tomb)
		}
	}
	r, err := record.Decode(raw)
	if err != nil {
		return
	}
	if again, err := record.Decode(encode(t, r, "a", keyName, false)); err != nil || shown(again) != shown(r) {
		t.Errorf("got %v and error %v, want %s", again, err, shown(r))
	}
	for _, encrypt := range []bool{false, true} {
		opened, _, err := record.Open(keys, keyName, encode(t, r, "a", keyName, encrypt))
		if err != nil || shown(opened) != shown(r) {
			t.Errorf("got %v and error %v, want %s", opened, err, shown(r))
		}
	}
}

// FuzzOpen reads anything with its seal: what another secret sealed does not open.
func FuzzOpen(f *testing.F) {
	seeds(f)
	other, own := ring(f, "b"), ring(f, "a")
	f.Fuzz(func(t *testing.T, raw string) {
		if r, tomb, err := record.Open(other, keyName, raw); err == nil || r != nil || tomb != nil {
			t.Errorf("got record %v, tombstone %v and error %v for %q, which another secret sealed", r, tomb, err, raw)
		}
		if r, tomb, err := record.Open(own, keyName, raw); (err == nil) != (r != nil || tomb != nil) || r != nil && tomb != nil {
			t.Errorf("got record %v, tombstone %v and error %v for %q, want exactly one", r, tomb, err, raw)
		}
	})
}

// FuzzPeek looks at the first bytes of anything.
func FuzzPeek(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw string) {
		isRecord, next := record.Peek(raw)
		if isRecord && next != "" || next != "" && len(next) != 32 {
			t.Errorf("got record %v and successor %q for %q", isRecord, next, raw)
		}
		if rev := record.Rev(raw); rev != "" && (len(rev) != 8 || rev != raw[6:14]) {
			t.Errorf("got revision %q for %q", rev, raw)
		}
		if isRecord && record.IsTombstone(raw) {
			t.Errorf("%q is taken for a record and for a tombstone", raw)
		}
	})
}

// FuzzFields compares our reading of the values with encoding/json's.
func FuzzFields(f *testing.F) {
	for _, object := range []string{
		`{}`, `{"a":1}`, `{"a":{"b":[1,2,{"c":null}]},"":"","\u00e9\ud83d\ude00":"\"\\\n"}`, `{"a":[[],{},[{}]],"b":-0.1E-7,"c":true}`,
		`{"\ud800":1,"a\/b":"\/"}`, `{"x":"}","y":"]","z":",:"}`,
	} {
		f.Add(object)
	}
	f.Fuzz(func(t *testing.T, object string) {
		var compact bytes.Buffer
		var want map[string]json.RawMessage
		if json.Compact(&compact, []byte(object)) != nil || json.Unmarshal(compact.Bytes(), &want) != nil || want == nil {
			return
		}
		raw := `{"v":"AAAAAAAA","d":` + compact.String() + `,"t":"` + strings.Repeat("A", 22) + `"}`
		r, err := record.Decode(raw)
		if err != nil {
			t.Fatalf("got %v for the valid object %q", err, compact.String())
		}
		if repeats(r.Fields()) {
			return
		}
		if len(r.Fields()) != len(want) {
			t.Fatalf("got %d values of %q, want %d", len(r.Fields()), compact.String(), len(want))
		}
		for name, value := range want {
			if got, ok := record.Find(r.Fields(), name); !ok || got != string(value) {
				t.Errorf("got %q, %v for %q in %q, want %q", got, ok, name, compact.String(), value)
			}
		}
	})
}

// repeats tells whether a name comes twice, which this package never writes.
func repeats(fields []record.Field) bool {
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		if seen[f.Name] {
			return true
		}
		seen[f.Name] = true
	}
	return false
}
