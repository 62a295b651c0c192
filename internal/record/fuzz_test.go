package record_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redsession/redsession/internal/record"
)

// seeds gives f what lies in Redis, and what is nearly that.
func seeds(f *testing.F) {
	whole, sealed := encode(f, full(), "a", keyName, false), encode(f, full(), "a", keyName, true)
	lead, err := record.NewRotationTombstone(ring(f, "a"), record.Rotation{Key: keyName, Seen: 1, Old: []byte("old"), Next: []byte("next"), NextID: id, Deadline: now.Unix()})
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
	f.Add(whole[16 : len(whole)-30])
	f.Add(`,"z":"` + id + `","x":1,"e":2,"y":"box"`)
	keys := ring(f, "a")
	f.Fuzz(func(t *testing.T, text string) {
		for _, raw := range []string{text, `{"v":"AAAAAAAAr"` + text + `,"t":"` + strings.Repeat("A", 22) + `"}`} {
			decodesAgain(t, keys, raw)
		}
	})
}

// decodesAgain wants what decodes, and is encoded again, to decode to the same.
func decodesAgain(t *testing.T, keys record.Ring, raw string) {
	t.Helper()
	if tomb, err := record.DecodeTombstone(raw); err == nil {
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

// FuzzHead looks at the first bytes of anything.
func FuzzHead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw string) {
		h := record.PeekHead(raw)
		if h.Kind.Live() && h.Next != "" || h.Next != "" && len(h.Next) != 32 {
			t.Errorf("got head %+v for %q", h, raw)
		}
		if rev := record.Rev(raw); rev != "" && (len(rev) != 8 || rev != raw[6:14]) {
			t.Errorf("got revision %q for %q", rev, raw)
		}
		if h.Kind.Live() && h.Kind.Tombstone() {
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
		raw := `{"v":"AAAAAAAAr","d":` + compact.String() + `,"t":"` + strings.Repeat("A", 22) + `"}`
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

// FuzzRoundTrip encodes any record, opens it, encodes it again: nothing is lost.
func FuzzRoundTrip(f *testing.F) {
	f.Add(int64(1_790_000_000), int64(1_790_000_001_234_567), "alice", "203.0.113.9", "cart", `["a"]`, false, true)
	f.Add(int64(0), int64(0), "", "", "", "null", true, false)
	f.Add(int64(999_999_999_999_999_999), int64(1), `al"ice\ <é> 日本`, "\x00\x1f\u2028", `t":"`, `{"t":"\"}"}`, true, true)
	f.Add(int64(7), int64(1), "\xff", "\ufffd", "\U0010ffff", "-1.5e+10", false, false)
	keys, strangers := ring(f, "ba"), ring(f, "c")
	f.Fuzz(func(t *testing.T, first, second int64, one, other, name, value string, flag, encrypt bool) {
		r := anyRecord(first, second, one, other, flag)
		var raw bytes.Buffer
		valid := json.Compact(&raw, []byte(value)) == nil && utf8.ValidString(name)
		if valid {
			r.SetFields([]record.Field{{Name: name, Raw: raw.String()}, {Name: name + "2", Raw: `"` + r.Origin + `"`}})
		}
		sealed, err := r.Encode(ring(t, "a"), keyName, encrypt)
		if good := utf8.ValidString(one) && utf8.ValidString(other); good != (err == nil) {
			t.Fatalf("got error %v for texts %q and %q, want one exactly if they are not valid UTF-8", err, one, other)
		}
		if err != nil {
			return
		}
		for range 2 {
			got, tomb, err := record.Open(keys, keyName, sealed)
			if err != nil || tomb != nil || shown(got) != shown(r) {
				t.Fatalf("got %v, tombstone %v and error %v, want %s", got, tomb, err, shown(r))
			}
			if _, _, err := record.Open(strangers, keyName, sealed); err == nil {
				t.Fatal("a stranger's secret opens it")
			}
			if _, _, err := record.Open(keys, keyName+"B", sealed); err == nil {
				t.Fatal("it opens under another key name")
			}
			if sealed, err = got.Encode(keys, keyName, encrypt); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// anyRecord has times as the package's callers make them: not negative, and of
// at most 18 digits.
func anyRecord(first, second int64, one, other string, flag bool) *record.Record {
	const limit = 1e18
	first, second = int64(uint64(first)%limit), int64(uint64(second)%limit)
	return &record.Record{
		Created: first, Auth: second, Deadline: first, Idle: second, Written: first, Issued: second, Seen: first, Remember: second,
		Origin: id, User: one, Pending: flag, Stamp: other, RemoteAddr: other, UserAgent: one + other, Source: one,
	}
}

// FuzzApply applies any operations to any stored values, as a merge does, and
// compares with a map.
func FuzzApply(f *testing.F) {
	for _, ops := range []string{"", "\x00\x01\x02\x03", "aaaaabbbb", "\x03\x13\x00\x04\x08\x0c", "\x02\x02\x12\x22\x32\x01"} {
		f.Add(`{"a":1,"b":{"c":[]},"":"","_flash":["x"]}`, []byte(ops))
		f.Add(`{}`, []byte(ops))
	}
	keys := ring(f, "a")
	f.Fuzz(func(t *testing.T, object string, choices []byte) {
		var compact bytes.Buffer
		if json.Compact(&compact, []byte(object)) != nil {
			return
		}
		r, err := record.Decode(`{"v":"AAAAAAAAr","d":` + compact.String() + `,"t":"` + strings.Repeat("A", 22) + `"}`)
		if err != nil || repeats(r.Fields()) {
			return
		}
		before := r.Fields()
		kept := slices.Clone(before)
		ops, want := anyOps(choices, before)
		got, err := record.Apply(before, ops)
		if err != nil || !maps.Equal(asMap(got), want) || repeats(got) {
			t.Fatalf("got %v and error %v, want %v", got, err, want)
		}
		if !slices.Equal(before, kept) {
			t.Errorf("got the values changed to %v, want %v untouched", before, kept)
		}
		if again, err := record.Apply(before, ops); err != nil || !slices.Equal(again, got) {
			t.Errorf("got %v and error %v the second time, want %v", again, err, got)
		}
		r.SetFields(got)
		opened, _, err := record.Open(keys, keyName, encode(t, r, "a", keyName, len(choices)%2 == 0))
		if err != nil || !maps.Equal(asMap(opened.Fields()), want) {
			t.Errorf("got %v and error %v out of Redis, want %v", opened, err, want)
		}
	})
}

// anyOps makes an operation of each byte, and what they make of fields.
func anyOps(choices []byte, fields []record.Field) (ops []record.Op, want map[string]string) {
	names := []string{"a", "b", "", "_flash", "new", "é\""}
	for _, f := range fields {
		names = append(names, f.Name)
	}
	want = asMap(fields)
	for i, c := range choices {
		op := record.Op{Kind: record.OpKind(c % 4), Name: names[int(c/4)%len(names)]}
		switch op.Kind {
		case record.Set:
			op.Raw = fmt.Sprintf(`{"n":[%d]}`, i)
			want[op.Name] = op.Raw
		case record.Delete:
			delete(want, op.Name)
		case record.Update:
			op.Func = func(old string) (string, error) {
				if c > 200 {
					return "", nil
				}
				return fmt.Sprintf("[%d,%d,%d]", len(old), crc32.ChecksumIEEE([]byte(old)), i), nil
			}
			if want[op.Name], _ = op.Func(want[op.Name]); want[op.Name] == "" {
				delete(want, op.Name)
			}
		case record.Clear:
			if c > 128 {
				op.Keep = op.Name
			}
			maps.DeleteFunc(want, func(name, _ string) bool { return op.Keep == "" || name != op.Keep })
		}
		ops = append(ops, op)
	}
	return ops, want
}

func asMap(fields []record.Field) map[string]string {
	m := make(map[string]string, len(fields))
	for _, f := range fields {
		m[f.Name] = f.Raw
	}
	return m
}

// FuzzTombstone makes any tombstone: it leads the bearer of the old SID, and
// nobody else, to the next one.
func FuzzTombstone(f *testing.F) {
	f.Add(int64(1), int64(2), []byte("old"), []byte("next"), "thief")
	f.Add(int64(0), int64(0), []byte{}, []byte{}, "\x00")
	f.Add(int64(1_790_000_000), int64(999_999_999_999_999_999), bytes.Repeat([]byte{0xff}, 32), bytes.Repeat([]byte{0}, 32), "")
	f.Fuzz(func(t *testing.T, seen, deadline int64, old, next []byte, thief string) {
		seen, deadline = int64(uint64(seen)%1e18), int64(uint64(deadline)%1e18)
		made, err := record.NewRotationTombstone(ring(t, "a"), record.Rotation{Key: keyName, Seen: seen, Old: old, Next: next, NextID: id, Deadline: deadline})
		if err != nil {
			t.Fatal(err)
		}
		raw := made.Encode(ring(t, "a"), keyName)
		for range 2 {
			r, tomb, err := record.Open(ring(t, "ba"), keyName, raw)
			if err != nil || r != nil || tomb.Next != id || tomb.Seen != seen || tomb.Deadline != deadline {
				t.Fatalf("got record %v, tombstone %+v and error %v, want successor %s, seen %d, deadline %d", r, tomb, err, id, seen, deadline)
			}
			if got, err := tomb.Follow(keyName, old); err != nil || !bytes.Equal(got, next) {
				t.Fatalf("got %d bytes and error %v, want the successor's SID", len(got), err)
			}
			if _, err := tomb.Follow(keyName, []byte(thief)); err == nil && thief != string(old) {
				t.Fatalf("%q leads to the successor, want only the old SID to", thief)
			}
			if _, err := tomb.Follow(keyName+"B", old); err == nil {
				t.Fatal("the tombstone leads on from another key")
			}
			if h := record.PeekHead(raw); h.Leads() != id {
				t.Fatalf("got head %+v from the first bytes, want successor %q", h, id)
			}
			raw = tomb.Encode(ring(t, "a"), keyName)
		}
	})
}
