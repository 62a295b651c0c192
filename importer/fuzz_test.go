package importer_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"

	"github.com/redsession/redsession/importer"
)

// kinds are all that importer decodes, in the order in which FuzzSources numbers them.
var kinds = importer.Decoders(fuzzName, fuzzKey)

const fuzzName = "shop"

var fuzzKey = []byte("0123456789abcdef0123456789abcdef")

// FuzzSources holds that nothing that lies where an old package kept its sessions makes a decoder panic, that what
// is taken can be stored, and that what is not taken has a reason.
func FuzzSources(f *testing.F) {
	for i := range kinds {
		for _, seed := range sourceSeeds(f) {
			f.Add(seed, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		if len(data) == 0 {
			return // is not decoded
		}
		kind := kinds[int(n)%len(kinds)]
		rec, _, err := kind.Decode(data)
		if err != nil {
			if skipped := (*importer.Skipped)(nil); !errors.As(err, &skipped) || skipped.Reason == "" {
				t.Errorf("%s: got %v, want an error with its reason", kind.Name, err)
			}
			return
		}
		if _, err := json.Marshal(rec.Values); err != nil {
			t.Errorf("%s: got %v, want values that encode as JSON", kind.Name, err)
		}
		if rec.Source == "" || rec.ID == "" || rec.ExpiresAt.IsZero() {
			t.Errorf("%s: got %q, %q, %v, want a source, an id and an end", kind.Name, rec.Source, rec.ID, rec.ExpiresAt)
		}
	})
}

// sourceSeeds are the samples in testdata, as they are and signed as gorilla's FilesystemStore signs.
func sourceSeeds(f *testing.F) (seeds [][]byte) {
	f.Helper()
	for _, pattern := range []string{"internal/*/testdata/*.pickle", "internal/*/testdata/*.sess"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("%s: got %d seeds and error %v", pattern, len(names), err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, data)
		}
	}
	for _, text := range []string{
		`{"cookie":{"originalMaxAge":86400000,"expires":"2030-01-01T00:00:00.000Z","httpOnly":true,"path":"/"},"user":"alice","__lastAccess":1763755943000}`,
		`{"uid":2,"session_token":"x","create_time":1763755943.5,"login":"admin","context":{"lang":"en_US"}}`,
		`{"_flash":["a","b"],"n":1e400,"m":-0.0,"deep":[[[[{}]]]]}`,
	} {
		seeds = append(seeds, []byte(text), signed(f, text))
	}
	return seeds
}

func signed(tb testing.TB, payload string) []byte {
	tb.Helper()
	c := securecookie.New(fuzzKey, nil).SetSerializer(securecookie.NopEncoder{}).MaxLength(0)
	value, err := c.Encode(fuzzName, []byte(payload))
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(value)
}

// FuzzGorillaFile holds that a file of gorilla's FilesystemStore is taken only if one of the keys signed it, and that
// what was signed makes no decoder panic.
func FuzzGorillaFile(f *testing.F) {
	for _, seed := range sourceSeeds(f) {
		f.Add(seed, true)
		f.Add(signed(f, string(seed)), false)
	}
	folder := kinds[0]
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		if sign {
			data = signed(t, string(data))
		}
		rec, _, err := folder.Decode(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(rec.Values); err != nil {
			t.Errorf("got %v, want values that encode as JSON", err)
		}
		var payload []byte
		c := securecookie.New(fuzzKey, nil).SetSerializer(securecookie.NopEncoder{}).MaxLength(0).MaxAge(0)
		if err := c.Decode(fuzzName, string(data), &payload); err != nil {
			t.Errorf("got a session of a file that securecookie refuses: %v", err)
		}
	})
}

// FuzzOldCookies holds that an old package's cookie leads to an id that can be no path, pattern or other key, or to
// none.
func FuzzOldCookies(f *testing.F) {
	verifiers := importer.Verifiers(fuzzName, fuzzKey)
	for i := range verifiers {
		f.Add("s%3AabcdefghijklmnopqrstuvwxyzABCDEF.lBwyQ2hXGC4GjUL9AKGKvx4XLbLsqkN0ymFVIrLSXkQ", uint8(i))
		f.Add("0123456789abcdef0123456789abcdef01234567", uint8(i))
		f.Add("AUENRLCQKMA2L7F5BPYWPPKLVQ4I3AHV4WUY3XABNY2MO4IT5NEQ", uint8(i))
		f.Add(string(signed(f, "AUENRLCQKMA2L7F5BPYWPPKLVQ4I3AHV4WUY3XABNY2MO4IT5NEQ")), uint8(i))
	}
	f.Fuzz(func(t *testing.T, value string, n uint8) {
		v := verifiers[int(n)%len(verifiers)]
		id, err := v.Verify(value)
		if err != nil {
			return
		}
		if id == "" || strings.ContainsAny(id, "/\\.%*?[]:\x00\r\n ") {
			t.Errorf("%s: got id %q, want what can be no path, pattern or other key", v.Name, id)
		}
	})
}
