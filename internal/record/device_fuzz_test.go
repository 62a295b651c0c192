package record_test

import (
	"testing"

	"github.com/redsession/redsession/internal/record"
)

// FuzzDevice reads anything as the key of a device: nothing opens but what was sealed, under its
// own key, and it opens to what it was.
func FuzzDevice(f *testing.F) {
	ours := ring(f, "a")
	const key = "session:bind:abcdefgh.thumb"
	sealed := record.Device{Binding: "abcdefgh", Key: "ES256.AAAA", Deadline: 1_800_000_000}
	raw := sealed.Encode(ours, key)
	f.Add(raw, "abcdefgh", "ES256.AAAA", int64(1))
	f.Add(raw[:len(raw)-1], "", "", int64(-1))
	f.Add(raw+raw, `"\`, "\x00\xff", int64(1)<<62)
	f.Fuzz(func(t *testing.T, text, binding, public string, deadline int64) {
		if got, err := record.OpenDevice(ours, key, text); err == nil && got != sealed || text == raw && err != nil {
			t.Errorf("got %+v and error %v of %q", got, err, text)
		}
		if !printable(binding) || !printable(public) || deadline < 0 || deadline >= 1<<40 {
			return
		}
		d := record.Device{Binding: binding, Key: public, Deadline: deadline}
		if again, err := record.OpenDevice(ours, key, d.Encode(ours, key)); err != nil || again != d {
			t.Errorf("got %+v and error %v, want %+v", again, err, d)
		}
	})
}

// printable tells whether s is as what we store: base64url and dots.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}
