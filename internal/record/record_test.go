package record_test

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/record"
)

const keyName = "session:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

var (
	now = time.Unix(1_790_000_000, 0)
	id  = strings.Repeat("B", 32)
)

// ring derives keys from secrets that are told apart by a letter each.
func ring(t testing.TB, letters string) record.Ring {
	t.Helper()
	var secrets [][]byte
	for _, letter := range letters {
		secrets = append(secrets, []byte(strings.Repeat(string(letter), 32)))
	}
	r, err := record.NewRing(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// full is a record with every field set, and with text that needs care.
func full() *record.Record {
	r := &record.Record{
		Created: 1_790_000_000, Auth: 1_790_000_001_234_567, Deadline: 1_792_592_000, Idle: 604_800,
		Written: 1_790_000_002, Issued: 1_790_000_003, Seen: 1_790_000_004, Origin: id,
		User: `al"ice\ <é> 日本`, Pending: true, Remember: 86_400, Ceiling: 1_791_000_000, Stamp: "c3RhbXAtc3Rh",
		RemoteAddr: "2001:db8::1", UserAgent: "Mozilla/5.0 (X11)\t\u2028", Source: "scs",
		Binding: "abcd_-01", Thumbprint: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", TurnDue: true, AtLimit: true, Leases: "c3RhbXAtc3Rhbnum.mz8k2q",
		Label: "Ada's laptop", Tags: "hash1 hash2", Proved: "2 pwd otp", Actor: "bob@example.org", ActorStamp: "c3RhbXAtYm9i",
	}
	r.SetFields([]record.Field{
		{Name: "cart", Raw: `[{"sku":"a}","n":1}]`},
		{Name: "", Raw: `""`},
		{Name: `q"\ü`, Raw: `null`},
		{Name: "t", Raw: `"t\":\"AAAAAAAAAAAAAAAAAAAAAA\"}"`},
		{Name: "n", Raw: `-1.5e+10`},
		{Name: "o", Raw: `{}`},
	})
	return r
}

func encode(t testing.TB, r *record.Record, secrets, key string, encrypt bool) string {
	t.Helper()
	raw, err := r.Encode(ring(t, secrets), key, encrypt)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// shown is what a record says: all but what Encode draws anew.
func shown(r *record.Record) string {
	fields := r.Fields()
	c := *r
	c.Rev, c.Token = "", ""
	c.SetFields(nil)
	return fmt.Sprintf("%+v %+v", c, fields)
}

func TestRecordRoundTrip(t *testing.T) {
	v := reflect.ValueOf(full()).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Name != "Rev" && f.Name != "Token" && v.Field(i).IsZero() {
			t.Errorf("the test leaves %s zero, want every field set", f.Name)
		}
	}
	for _, encrypt := range []bool{false, true} {
		for name, r := range map[string]*record.Record{"full": full(), "empty": {}} {
			raw := encode(t, r, "a", keyName, encrypt)
			got, tomb, err := record.Open(ring(t, "a"), keyName, raw)
			if err != nil || tomb != nil {
				t.Fatalf("%s: got tombstone %v and error %v, want a record", name, tomb, err)
			}
			if got.Rev != r.Rev || got.Token != r.Token || shown(got) != shown(r) {
				t.Errorf("%s: got %s, want %s", name, shown(got), shown(r))
			}
			if again := encode(t, got, "a", keyName, encrypt); record.Rev(again) == record.Rev(raw) || again == raw {
				t.Errorf("%s: got revision %s twice, want a new one for each encoding", name, record.Rev(again))
			}
		}
	}
}

func TestRecordHasFixedEnds(t *testing.T) {
	shape := regexp.MustCompile(`^\{"v":"[\w-]{8}[rielao]",.*,"t":"[\w-]{22}"\}$`)
	lead, err := record.NewRotationTombstone(ring(t, "a"), record.Rotation{Key: keyName, Seen: 1, Old: []byte("old"), Next: []byte("next"), NextID: id, Deadline: now.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"full":      encode(t, full(), "a", keyName, false),
		"encrypted": encode(t, full(), "a", keyName, true),
		"empty":     encode(t, &record.Record{}, "a", keyName, false),
		"tombstone": record.NewTombstone(now, time.Minute).Encode(ring(t, "a"), keyName),
		"lead":      lead.Encode(ring(t, "a"), keyName),
	} {
		if !shape.MatchString(raw) || record.Rev(raw) != raw[6:14] {
			t.Errorf("%s: got %s, want v first with 8 characters and t last with 22", name, raw)
		}
	}
}

func TestRecordOfAnAnonymousSessionIsSmall(t *testing.T) {
	r := &record.Record{Created: now.Unix(), Deadline: now.Unix() + 30*86400, Idle: 10_800}
	const data = `{"cart":["a","b"]}`
	r.SetFields([]record.Field{{Name: "cart", Raw: `["a","b"]`}})
	raw := encode(t, r, "a", keyName, false)
	if got := len(raw) - len(data); got > 95 || !strings.Contains(raw, data) {
		t.Errorf("got %d bytes around the data, want at most 95: %s", got, raw)
	}
}

func TestTamperedByteIsRefused(t *testing.T) {
	lead, err := record.NewRotationTombstone(ring(t, "a"), record.Rotation{Key: keyName, Seen: 1, Old: []byte("old"), Next: []byte("next"), NextID: id, Deadline: now.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"record":    encode(t, full(), "a", keyName, false),
		"encrypted": encode(t, full(), "a", keyName, true),
		"tombstone": record.NewTombstone(now, time.Minute).Encode(ring(t, "a"), keyName),
		"lead":      lead.Encode(ring(t, "a"), keyName),
	} {
		keys := ring(t, "a")
		for i := range len(raw) {
			for _, b := range replacements(raw, i) {
				changed := raw[:i] + string([]byte{b}) + raw[i+1:]
				if rec, tomb, err := record.Open(keys, keyName, changed); err == nil || rec != nil || tomb != nil {
					t.Errorf("%s: byte %d of %d, %q, changed to %q was accepted", name, i, len(raw), raw[i], b)
					break
				}
			}
		}
		for _, changed := range []string{raw + " ", " " + raw, raw[:len(raw)-1], raw[1:], raw + raw, ""} {
			if _, _, err := record.Open(ring(t, "a"), keyName, changed); err == nil {
				t.Errorf("%s: %q was accepted", name, changed)
			}
		}
	}
}

// replacements are bytes to put in the place of raw[i]: each with one bit
// flipped, and every other one where the token stands.
func replacements(raw string, i int) []byte {
	var list []byte
	for bit := range 8 {
		list = append(list, raw[i]^1<<bit)
	}
	if i < len(raw)-24 {
		return list
	}
	for b := range 256 {
		if byte(b) != raw[i] {
			list = append(list, byte(b))
		}
	}
	return list
}

func TestRecordIsBoundToItsKeyAndSecret(t *testing.T) {
	raw := encode(t, full(), "a", keyName, false)
	for _, row := range []struct {
		name, secrets, key, raw string
		want                    error
	}{
		{"where it was written", "a", keyName, raw, nil},
		{"copied to another session's key", "a", "session:" + id, raw, record.ErrSeal},
		{"copied to another prefix", "a", "a:" + keyName, raw, record.ErrSeal},
		{"a byte moved from the key into the record", "a", keyName[:len(keyName)-1], keyName[len(keyName)-1:] + raw, record.ErrMalformed},
		{"another secret", "b", keyName, raw, record.ErrSeal},
		{"a new secret before the old", "ba", keyName, raw, nil},
		{"a new secret behind the old", "ab", keyName, raw, nil},
		{"no secret", "", keyName, raw, record.ErrSeal},
		{"planted JSON", "a", keyName, `{"user":"admin"}`, record.ErrMalformed},
		{"planted record with a token of its own", "a", keyName, raw[:len(raw)-24] + strings.Repeat("A", 22) + `"}`, record.ErrSeal},
		{"nothing", "a", keyName, "", record.ErrMalformed},
	} {
		r, _, err := record.Open(ring(t, row.secrets), row.key, row.raw)
		if !errors.Is(err, row.want) || (r != nil) != (row.want == nil) {
			t.Errorf("%s: got record %v and error %v, want error %v", row.name, r, err, row.want)
		}
	}
	if now := encode(t, full(), "ba", keyName, false); !opens(t, "b", now) || opens(t, "a", now) {
		t.Error("a record of two secrets verifies with the old one alone, want the newest to seal")
	}
}

func opens(t *testing.T, secrets, raw string) bool {
	_, _, err := record.Open(ring(t, secrets), keyName, raw)
	return err == nil
}

func TestEncryptedDataHideTheirContent(t *testing.T) {
	raw := encode(t, full(), "a", keyName, true)
	for _, f := range full().Fields() {
		if len(f.Raw) > 4 && strings.Contains(raw, f.Raw) || len(f.Name) > 1 && strings.Contains(raw, f.Name) {
			t.Errorf("got %s, want the value %s hidden", raw, f.Name)
		}
	}
	if r, err := record.Decode(raw); err != nil || len(r.Fields()) != 0 || r.User != full().User {
		t.Errorf("got %v and error %v without the secret, want all but the data", r, err)
	}
	if !opens(t, "ba", raw) {
		t.Error("the data do not decrypt with an old secret, want them to")
	}
}

func TestEncryptedDataOfAnotherSessionAreRefused(t *testing.T) {
	box := regexp.MustCompile(`"d":"[^"]*"`)
	mine, other := encode(t, full(), "a", keyName, true), encode(t, full(), "a", "session:"+id, true)
	swapped := strings.Replace(mine, box.FindString(mine), box.FindString(other), 1)
	if opens(t, "a", swapped) {
		t.Error("data of another session were accepted")
	}
	if again := encode(t, full(), "a", keyName, true); box.FindString(again) == box.FindString(mine) {
		t.Error("got the same ciphertext twice, want a fresh nonce each time")
	}
}

func TestPlantedMembersAreRefusedWithoutAPanic(t *testing.T) {
	whole := encode(t, full(), "a", keyName, false)
	for _, row := range []struct{ name, from, to string }{
		{"a member without a name", `"c":`, `"":`},
		{"an unknown member", `"c":`, `"z0":`},
		{"members in another order", `,"c":`, `,"x":1,"c":`},
		{"a negative number", `"c":1`, `"c":-1`},
		{"a number too large", `"c":1`, `"c":99999999991`},
		{"a text for a number", `"c":1`, `"c":"1"`},
		{"a number for a text", `"u":"`, `"u":7,"u":"`},
		{"no data", `"d":{`, `"d0":{`},
		{"data that are a list", `"d":{`, `"d":[{`},
		{"data that do not end", `"d":{`, `"d":{{`},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("got panic %v, want ErrMalformed", p)
				}
			}()
			raw := strings.Replace(whole, row.from, row.to, 1)
			if r, err := record.Decode(raw); raw == whole || !errors.Is(err, record.ErrMalformed) {
				t.Errorf("got %+v and error %v for %s, want ErrMalformed", r, err, raw)
			}
		})
	}
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	for name, r := range map[string]*record.Record{
		"user": {User: "\xff"}, "remote address": {RemoteAddr: "\xff"}, "user agent": {UserAgent: "\xff"}, "source": {Source: "\xff"},
	} {
		if _, err := r.Encode(ring(t, "a"), keyName, false); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got error %v, want one that names the %s", err, name)
		}
	}
}

func TestTombstoneRoundTrip(t *testing.T) {
	raw := record.NewTombstone(now, time.Minute).Encode(ring(t, "a"), keyName)
	r, tomb, err := record.Open(ring(t, "ba"), keyName, raw)
	if err != nil || r != nil || tomb.Next != "" || tomb.Deadline != now.Unix()+60 || tomb.Rev != record.Rev(raw) {
		t.Fatalf("got record %v, tombstone %+v and error %v, want the tombstone", r, tomb, err)
	}
	for at, want := range map[time.Duration]bool{0: false, 59 * time.Second: false, time.Minute: true, time.Hour: true} {
		if got := tomb.Expired(now.Add(at)); got != want {
			t.Errorf("got expired %v after %s, want %v", got, at, want)
		}
	}
	if _, err := tomb.Follow(keyName, []byte("old")); err == nil {
		t.Error("a tombstone without a successor was followed")
	}
	if _, err := record.Decode(raw); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("got %v from Decode of a tombstone, want ErrMalformed", err)
	}
}

func TestTombstoneLeadsTheBearerOfTheOldIDAlone(t *testing.T) {
	old, next := []byte(strings.Repeat("o", 32)), []byte(strings.Repeat("n", 32))
	origin := strings.Repeat("C", 32)
	lead, err := record.NewRotationTombstone(ring(t, "a"), record.Rotation{Key: keyName, Seen: 7, Origin: origin, Old: old, Next: next, NextID: id, Deadline: now.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	raw := lead.Encode(ring(t, "a"), keyName)
	_, tomb, err := record.Open(ring(t, "ba"), keyName, raw)
	if err != nil || tomb.Next != id || tomb.Origin != origin || tomb.Seen != 7 || tomb.Deadline != now.Unix() {
		t.Fatalf("got tombstone %+v and error %v, want one that leads to %s", tomb, err, id)
	}
	for _, row := range []struct {
		name, key string
		bearer    []byte
		want      bool
	}{
		{"the bearer of the old SID", keyName, old, true},
		{"somebody with another SID", keyName, next, false},
		{"somebody with the public id", keyName, []byte(id), false},
		{"somebody with nothing", keyName, nil, false},
		{"the bearer, after it was copied to another key", "session:" + id, old, false},
	} {
		got, err := tomb.Follow(row.key, row.bearer)
		if (err == nil) != row.want || row.want != (string(got) == string(next)) {
			t.Errorf("%s: got %q and error %v, want the successor: %v", row.name, got, err, row.want)
		}
	}
	if strings.Contains(raw, string(next)) || strings.Contains(raw, "bm5ubm5u") {
		t.Errorf("got %s, want the successor's SID hidden", raw)
	}
	if h := record.PeekHead(raw[:record.HeadLen]); h.Leads() != id {
		t.Errorf("got head %+v, want successor %s", h, id)
	}
}

func TestHeadAndRev(t *testing.T) {
	whole := encode(t, full(), "a", keyName, false)
	ended := record.NewTombstone(now, time.Minute).Encode(ring(t, "a"), keyName)
	for _, row := range []struct {
		name, raw string
		isRecord  bool
		rev       string
	}{
		{"a record", whole, true, whole[6:14]},
		{"the head of a record", whole[:record.HeadLen], true, whole[6:14]},
		{"a tombstone", ended, false, ended[6:14]},
		{"nothing", "", false, ""},
		{"a few bytes", `{"v":"`, false, ""},
		{"other JSON", `{"id":"12345678","user":"alice","role":"admin and more"}`, false, ""},
		{"no JSON", strings.Repeat("x", 100), false, ""},
		{"NULs", strings.Repeat("\x00", 100), false, ""},
		{"a tombstone that breaks off", ended[:21], false, ""},
	} {
		if h := record.PeekHead(row.raw); h.Kind.Live() != row.isRecord || h.Next != "" {
			t.Errorf("%s: got head %+v, want a record: %v, and no successor", row.name, h, row.isRecord)
		}
		if got := record.Rev(row.raw); got != row.rev {
			t.Errorf("%s: got revision %q, want %q", row.name, got, row.rev)
		}
	}
}

func TestApply(t *testing.T) {
	set := func(name, raw string) record.Op { return record.Op{Kind: record.Set, Name: name, Raw: raw} }
	del := func(name string) record.Op { return record.Op{Kind: record.Delete, Name: name} }
	grow := func(name string) record.Op {
		return record.Op{Kind: record.Update, Name: name, Func: func(old string) (string, error) { return old + "1", nil }}
	}
	remove := record.Op{Kind: record.Update, Name: "a", Func: func(string) (string, error) { return "", nil }}
	for _, row := range []struct {
		name, from string
		ops        []record.Op
		want       string
	}{
		{"nothing", "a=1 b=2", nil, "a=1 b=2"},
		{"a new value goes last", "a=1", []record.Op{set("b", "2")}, "a=1 b=2"},
		{"a value keeps its place", "a=1 b=2", []record.Op{set("a", "3")}, "a=3 b=2"},
		{"the last one wins", "a=1", []record.Op{set("a", "2"), set("a", "3")}, "a=3"},
		{"a value goes", "a=1 b=2", []record.Op{del("a")}, "b=2"},
		{"what is not there may go", "b=2", []record.Op{del("a")}, "b=2"},
		{"set after delete", "a=1", []record.Op{del("a"), set("a", "2")}, "a=2"},
		{"an update works on what is there", "a=1", []record.Op{grow("a"), grow("a")}, "a=111"},
		{"an update works on nothing", "", []record.Op{grow("a")}, "a=1"},
		{"an update works on what was set before", "a=1", []record.Op{set("a", "2"), grow("a")}, "a=21"},
		{"an update may remove", "a=1 b=2", []record.Op{remove}, "b=2"},
		{"an update may remove nothing", "b=2", []record.Op{remove}, "b=2"},
		{"clear takes all", "a=1 b=2", []record.Op{{Kind: record.Clear}}, ""},
		{"clear spares one", "a=1 b=2 c=3", []record.Op{{Kind: record.Clear, Keep: "b"}}, "b=2"},
		{"what is set after clear stays", "a=1", []record.Op{{Kind: record.Clear}, set("b", "2")}, "b=2"},
	} {
		from := parse(row.from)
		got, err := record.Apply(from, row.ops)
		if err != nil || format(got) != row.want {
			t.Errorf("%s: got %q and error %v, want %q", row.name, format(got), err, row.want)
		}
		if format(from) != row.from {
			t.Errorf("%s: the fields given became %q, want them untouched", row.name, format(from))
		}
	}
}

func TestUpdateThatFailsAppliesNothing(t *testing.T) {
	broken := errors.New("broken")
	got, err := record.Apply(parse("a=1"), []record.Op{
		{Kind: record.Set, Name: "b", Raw: "2"},
		{Kind: record.Update, Name: "a", Func: func(string) (string, error) { return "", broken }},
	})
	if !errors.Is(err, broken) || got != nil {
		t.Errorf("got %v and error %v, want nothing and the function's error", got, err)
	}
}

func parse(text string) []record.Field {
	var fields []record.Field
	for f := range strings.FieldsSeq(text) {
		name, raw, _ := strings.Cut(f, "=")
		fields = append(fields, record.Field{Name: name, Raw: raw})
	}
	return fields
}

func format(fields []record.Field) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.Name + "=" + f.Raw
	}
	return strings.Join(texts, " ")
}

func TestSameLoginAndTTL(t *testing.T) {
	a := record.Record{User: "alice", Auth: 1, Created: 1, Idle: 60, Deadline: now.Unix() + 30}
	for name, o := range map[string]record.Record{
		"another user": {User: "bob", Auth: 1, Created: 1}, "another login": {User: "alice", Auth: 2, Created: 1},
		"another session": {User: "alice", Auth: 1, Created: 2}, "a half-open login": {User: "alice", Auth: 1, Created: 1, Pending: true},
	} {
		if a.SameLogin(&o) || o.SameLogin(&a) {
			t.Errorf("%s is taken for the same login", name)
		}
	}
	if b := (record.Record{User: "alice", Auth: 1, Created: 1, Written: 5, Seen: 6}); !a.SameLogin(&b) {
		t.Error("a later state of the same login is taken for another")
	}
	for at, want := range map[time.Duration]time.Duration{-time.Hour: time.Minute, 0: 30 * time.Second, 30 * time.Second: 0} {
		if got := a.TTL(now.Add(at)); got != want {
			t.Errorf("got TTL %s at %s, want %s", got, at, want)
		}
	}
}

func TestKindStandsAtItsPlace(t *testing.T) {
	t.Parallel()
	keys := ring(t, "a")
	adopted, err := record.NewRotationTombstone(keys, record.Rotation{Key: keyName, Old: []byte("old"), Next: []byte("next"), NextID: id, Deadline: now.Unix(), Adopted: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, raw   string
		kind        record.Kind
		next, leads string
	}{
		{"a session", encode(t, &record.Record{}, "a", keyName, false), record.Session, "", ""},
		{"an imported session", encode(t, &record.Record{Source: "scs"}, "a", keyName, false), record.Imported, "", ""},
		{"one that was taken over", encode(t, &record.Record{Source: "scs:" + id}, "a", keyName, false), record.Session, "", ""},
		{"an ended one", record.NewTombstone(now, time.Minute).Encode(keys, keyName), record.Ended, "", ""},
		{"one that a login replaced", record.NewLoginTombstone(now, time.Minute, id).Encode(keys, keyName), record.LoggedIn, id, ""},
		{"an imported one that leads on", adopted.Encode(keys, keyName), record.Adopted, id, id},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := record.PeekHead(row.raw[:min(len(row.raw), record.HeadLen)])
			if h.Kind != row.kind || h.Next != row.next || h.Leads() != row.leads || row.raw[14] != byte(row.kind) {
				t.Errorf("got %+v of %s, want kind %c and successor %q", h, row.raw, row.kind, row.next)
			}
			if r, tomb, err := record.Open(keys, keyName, row.raw); err != nil || (r != nil) != row.kind.Live() || tomb != nil && tomb.Kind != row.kind {
				t.Errorf("got record %v, tombstone %+v and error %v", r, tomb, err)
			}
		})
	}
}

func TestDataLenIsThatOfTheJSON(t *testing.T) {
	for name, fields := range map[string][]record.Field{
		"none":                         nil,
		"one":                          {{Name: "x", Raw: `"yy"`}},
		"two":                          {{Name: "x", Raw: `"yy"`}, {Name: "", Raw: `{}`}},
		"names that have to be quoted": {{Name: "a\"\\\x00", Raw: `1`}, {Name: "é日\u2028", Raw: `2`}, {Name: strings.Repeat("<", 100), Raw: `3`}},
	} {
		r := &record.Record{Created: 1, Deadline: 2, Idle: 3}
		r.SetFields(fields)
		before := r.DataLen()
		raw, err := r.Encode(ring(t, "a"), keyName, false)
		if err != nil {
			t.Fatal(err)
		}
		stored, _, err := record.Open(ring(t, "a"), keyName, raw)
		if err != nil || before != stored.DataLen() {
			t.Errorf("%s: got %d bytes, %v, and %d once it is stored", name, before, err, stored.DataLen())
		}
	}
}

// Whoever keeps a user's id, as a list and an event do, does not keep the values of the session that it came from.
func TestTextsOfALargeRecordDoNotKeepIt(t *testing.T) {
	const records, size = 64, 1 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var kept []string
	for range records {
		r := full()
		r.SetFields([]record.Field{{Name: "x", Raw: `"` + strings.Repeat("x", size) + `"`}})
		raw, err := r.Encode(ring(t, "a"), keyName, false)
		if err != nil {
			t.Fatal(err)
		}
		stored, _, err := record.Open(ring(t, "a"), keyName, raw)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, stored.Origin, stored.User, stored.Stamp, stored.RemoteAddr, stored.UserAgent, stored.Source)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > records*size/4 {
		t.Errorf("got %d bytes more with %d texts of %d records, want next to none", grown, len(kept), records)
	}
	runtime.KeepAlive(kept)
}
