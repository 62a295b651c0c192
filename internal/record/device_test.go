package record_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/record"
)

// TestDeviceIsBelievedUnderItsOwnKeyAlone plants, alters and copies the key of a device.
func TestDeviceIsBelievedUnderItsOwnKeyAlone(t *testing.T) {
	t.Parallel()
	ours := ring(t, "ab")
	const key = "session:bind:abcdefgh.thumb"
	d := record.Device{Binding: "abcdefgh", Key: "ES256.AAAA", Deadline: 1_800_000_000}
	raw := d.Encode(ours, key)
	older := d.Encode(ring(t, "b"), key)
	r := full()
	session, err := r.Encode(ours, key, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, key, raw string
		want           error
	}{
		{"as it was stored", key, raw, nil},
		{"by an older secret", key, older, nil},
		{"by a secret that we do not have", key, d.Encode(ring(t, "c"), key), record.ErrSeal},
		{"under another key", key + "x", raw, record.ErrSeal},
		{"with another key of a device", key, strings.Replace(raw, "AAAA", "BBBB", 1), record.ErrSeal},
		{"cut short", key, raw[:len(raw)-1], record.ErrMalformed},
		{"a session's record", key, session, record.ErrMalformed},
		{"nothing", key, "", record.ErrMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := record.OpenDevice(ours, row.key, row.raw)
			if !errors.Is(err, row.want) || err == nil && got != d {
				t.Errorf("got %+v, %v, want %+v, %v", got, err, d, row.want)
			}
		})
	}
	if record.PeekHead(raw).Kind != 0 {
		t.Error("got the key of a device taken for a session or a tombstone")
	}
	if _, _, err := record.Open(ours, key, raw); err == nil {
		t.Error("got the key of a device opened as a session")
	}
}
