package environ_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/environ"
)

func TestDuration(t *testing.T) {
	for _, row := range []struct {
		name, value string
		want        time.Duration
		err         bool
	}{
		{"nothing is zero", "", 0, false},
		{"seconds", "90", 90 * time.Second, false},
		{"a Go duration", "1h30m", 90 * time.Minute, false},
		{"white space around it is cut", " 90\n", 90 * time.Second, false},
		{"less than a second is refused", "10ms", 0, true},
		{"words are refused", "soon", 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("ENVIRON_TEST", row.value)
			got, err := environ.Duration("ENVIRON_TEST")
			if got != row.want || (err != nil) != row.err || err != nil && !strings.Contains(err.Error(), "ENVIRON_TEST") {
				t.Errorf("got %s and %v, want %s and an error that names the variable: %v", got, err, row.want, row.err)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 4) // hex of 32 bytes
	for _, row := range []struct {
		name, value string
		want        int
		err         bool
	}{
		{"nothing is none", "", 0, false},
		{"hex", text, 1, false},
		{"base64, and hex, with spaces and a line feed", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= , " + text + "\n", 2, false},
		{"a short one is refused", text[:40], 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("ENVIRON_TEST", row.value)
			got, err := environ.Secrets("ENVIRON_TEST")
			if len(got) != row.want || (err != nil) != row.err || err != nil && strings.Contains(err.Error(), text[:16]) {
				t.Errorf("got %d and %v, want %d and an error without the secret: %v", len(got), err, row.want, row.err)
			}
		})
	}
}
