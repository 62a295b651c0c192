package php_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redsession/redsession/importer/internal/php"
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

// The files in testdata were written by PHP 8.2.
func TestEveryHandlerGivesTheSame(t *testing.T) {
	plainWant := `{"name":"ada","nil":null,"ok":true,"ratio":1.5,"roles":["admin","ops"],"user_id":42}`
	referencesWant := `{"after":"z","big":9223372036854775807,"empty":[],"inf":1e+300,"list":[1,2],"map":{"5":"five","k":"é"},"neg":-0.1,"ref":[1,2],"ref2":"z","x":1}`
	// What one object of stdClass and PHP's dates become; "self" contains itself, and the infinite numbers are left out.
	objectsWant := `{"again":{"0":"zero","a":1,"list":[1,2]},"empty":{},"est":{"date":"2024-01-02 03:04:05.000000","timezone":"EST","timezone_type":2},` +
		`"imm":"2024-05-06T07:08:09+02:00","name":"ada","neg":[1,null,2],"o":{"0":"zero","a":1,"list":[1,2]},"self":{"name":"loop"},"user_id":42,` +
		`"utc":"2024-01-02T03:04:05Z","when":"2024-05-06T07:08:09.123456+02:00"}`
	for _, row := range []struct {
		name   string
		format php.Format
	}{{"php", php.Session}, {"php_serialize", php.Serialize}, {"php_binary", php.Binary}} {
		for suffix, want := range map[string]string{".sess": plainWant, ".references.sess": referencesWant, ".objects.sess": objectsWant} {
			for _, format := range []php.Format{row.format, php.Auto} {
				v, err := php.Decode(file(t, row.name+suffix), format)
				if err != nil {
					t.Errorf("%s%s, format %d: got error %v, want none", row.name, suffix, format, err)
					continue
				}
				m, _, err := plain.Map(v)
				if err != nil {
					t.Fatal(err)
				}
				if got, _ := json.Marshal(m); string(got) != want {
					t.Errorf("%s%s, format %d:\n got %s\nwant %s", row.name, suffix, format, got, want)
				}
			}
		}
	}
}

func TestHostileSessions(t *testing.T) {
	for _, row := range []struct {
		name, data string
		format     php.Format
		want       error
	}{
		{"an object of a class of the application's", `user|O:4:"User":1:{s:1:"a";i:1;}`, php.Auto, php.ErrObject},
		{"an object within plain data", `user|O:8:"stdClass":1:{s:1:"a";O:4:"Evil":0:{}}`, php.Auto, php.ErrObject},
		{"an object of stdClass cut off", `user|O:8:"stdClass":1:{s:1:"a";`, php.Auto, php.ErrCorrupt},
		{"an object with more properties than there are bytes", `user|O:8:"stdClass":2000000000:{}`, php.Auto, php.ErrCorrupt},
		{"an object deep inside", `a:1:{s:1:"a";a:1:{i:0;O:4:"Evil":0:{}}}`, php.Auto, php.ErrObject},
		{"an object that unserializes itself", `user|C:11:"ArrayObject":21:{x:i:0;a:0:{};m:a:0:{}}`, php.Auto, php.ErrObject},
		{"an enum", `user|E:8:"Suit:Two";`, php.Auto, php.ErrObject},
		{"an object, php_binary", "\x04userO:4:\"Evil\":0:{}", php.Auto, php.ErrObject},
		{"a text longer than the file", `a|s:2000000000:"x";`, php.Auto, php.ErrCorrupt},
		{"a text with a negative length", `a|s:-1:"x";`, php.Auto, php.ErrCorrupt},
		{"a text cut short", `a|s:5:"ada";`, php.Auto, php.ErrCorrupt},
		{"an array of two thousand million", `a|a:2000000000:{}`, php.Auto, php.ErrCorrupt},
		{"more behind the end", `a:0:{}x`, php.Serialize, php.ErrCorrupt},
		{"no name", `i:42;`, php.Session, php.ErrCorrupt},
		{"a reference to nothing", `a|R:7;`, php.Auto, php.ErrCorrupt},
		{"a reference to number 0", `a|i:1;b|R:0;`, php.Auto, php.ErrCorrupt},
		{"arrays ten thousand deep", "a|" + strings.Repeat("a:1:{i:0;", 10_000) + "N;" + strings.Repeat("}", 10_000), php.Auto, plain.ErrTooDeep},
		{"not PHP at all", "\x00\x00\x00", php.Auto, php.ErrCorrupt},
	} {
		if _, err := php.Decode([]byte(row.data), row.format); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}

func TestWhatContainsItselfOrIsTooDeepIsLeftOut(t *testing.T) {
	for _, row := range []struct{ name, data, want string }{
		{"an array that contains itself", `a|a:1:{i:0;R:1;}b|i:1;`, `{"a":[null],"b":1}`},
		{"arrays a hundred deep", "a|" + strings.Repeat("a:1:{i:0;", 100) + "N;" + strings.Repeat("}", 100) + "b|i:1;", `{"b":1}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			v, err := php.Decode([]byte(row.data), php.Auto)
			if err != nil {
				t.Fatal(err)
			}
			m, notes, err := plain.Map(v)
			if got, _ := json.Marshal(m); err != nil || string(got) != row.want || len(notes) != 1 {
				t.Errorf("got %s, %d notes and error %v, want %s and one", got, len(notes), err, row.want)
			}
		})
	}
}

// Each variable refers ten times to the one before.
func TestABombOfReferencesIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString(`v|a:0:{}`)
	slot := "1"
	next := 2
	for range 9 {
		b.WriteString(`v|a:10:{`)
		this := next
		for i := range 10 {
			b.WriteString(`i:` + string(rune('0'+i)) + `;R:` + slot + `;`)
		}
		b.WriteString(`}`)
		next++
		slot = string(rune('0' + this%10))
		if this >= 10 {
			slot = "1" + slot
		}
	}
	v, err := php.Decode([]byte(b.String()), php.Session)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := plain.Map(v); !errors.Is(err, plain.ErrTooMany) {
		t.Errorf("got %v, want %v", err, plain.ErrTooMany)
	}
}

func TestUndefinedVariablesAreLeftOut(t *testing.T) {
	for _, data := range []string{"!gone|a|i:1;", "\x84gone\x01ai:1;"} {
		v, err := php.Decode([]byte(data), php.Auto)
		if err != nil || len(v) != 1 || v["a"] != int64(1) {
			t.Errorf("%q: got %v and error %v, want a alone", data, v, err)
		}
	}
}

// FuzzDecode holds that no session panics, or becomes more than the limits allow.
func FuzzDecode(f *testing.F) {
	names, err := filepath.Glob("testdata/*.sess")
	if err != nil || len(names) == 0 {
		f.Fatalf("got %d seeds and error %v", len(names), err)
	}
	for i, name := range names {
		f.Add(file(f, filepath.Base(name)), i%4)
	}
	f.Fuzz(func(t *testing.T, data []byte, format int) {
		v, err := php.Decode(data, php.Format(format))
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
