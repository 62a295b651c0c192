package loginfact_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/loginfact"
)

func TestLabel(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, label string
		ok          bool
	}{
		{"none", "", true},
		{"a name", "Ada's laptop", true},
		{"as long as it may be", strings.Repeat("x", loginfact.MaxLabel), true},
		{"longer", strings.Repeat("x", loginfact.MaxLabel+1), false},
		{"letters of several bytes count as such", strings.Repeat("é", loginfact.MaxLabel/2+1), false},
		{"an emoji of several characters", "👩‍💻 at work", true},
		{"no UTF-8", "\xff", false},
		{"a new line", "a\nb", false},
		{"an escape sequence", "\x1b[31m", false},
		{"a control character of Latin-1", "a\u0085b", false},
		{"a line separator", "a\u2028b", false},
		{"letters that turn the line around", "a\u202eb", false},
		{"a zero byte", "a\x00", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if err := loginfact.CheckLabel(row.label); (err == nil) != row.ok {
				t.Errorf("got %v, want accepted: %v", err, row.ok)
			}
		})
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("s", loginfact.MaxTag)
	for _, row := range []struct {
		name string
		tags []string
		ok   bool
	}{
		{"none", nil, true},
		{"four", []string{"a", "b", "c", "d"}, true},
		{"five", []string{"a", "b", "c", "d", "e"}, false},
		{"an empty one", []string{"a", ""}, false},
		{"as long as it may be, of any bytes", []string{long[1:] + "\xff"}, true},
		{"longer", []string{long + "s"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			err := loginfact.CheckTags(row.tags)
			if (err == nil) != row.ok {
				t.Errorf("got %v, want accepted: %v", err, row.ok)
			}
			if err != nil && strings.Contains(err.Error(), "sss") {
				t.Errorf("%v shows the tag", err)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		methods []string
		ok      bool
	}{
		{"none", nil, true},
		{"those of RFC 8176", []string{"pwd", "otp", "hwk"}, true},
		{"an empty name", []string{""}, false},
		{"a name with a space", []string{"one time"}, false},
		{"a name with a control character", []string{"a\x7f"}, false},
		{"a name that is no UTF-8", []string{"\xff"}, false},
		{"a long name", []string{strings.Repeat("x", loginfact.MaxMethod+1)}, false},
		{"too many", strings.Fields(strings.Repeat("x ", loginfact.MaxMethods+1)), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if err := loginfact.CheckMethods(row.methods); (err == nil) != row.ok {
				t.Errorf("got %v, want accepted: %v", err, row.ok)
			}
		})
	}
}

func TestProofOnlyGrows(t *testing.T) {
	t.Parallel()
	many := strings.Fields("a b c d e f g h i j k l m n o p")
	for _, row := range []struct {
		name             string
		one, other, both loginfact.Proof
	}{
		{"nothing and nothing", loginfact.Proof{}, loginfact.Proof{}, loginfact.Proof{}},
		{"a second factor raises", proof(1, "pwd"), proof(2, "otp"), proof(2, "pwd", "otp")},
		{"less does not lower", proof(2, "pwd", "otp"), proof(1, "pwd"), proof(2, "pwd", "otp")},
		{"nothing does not lower", proof(3, "hwk"), loginfact.Proof{}, proof(3, "hwk")},
		{"a method comes once", proof(1, "pwd", "pwd"), proof(1, "pwd"), proof(1, "pwd")},
		{"no more methods than there may be", proof(1, many...), proof(1, "q"), proof(1, many...)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := row.one.And(row.other)
			if !reflect.DeepEqual(got, row.both) {
				t.Errorf("got %+v, want %+v", got, row.both)
			}
			if back := loginfact.Parse(got.String()); back.Level != got.Level || strings.Join(back.Methods, ",") != strings.Join(got.Methods, ",") {
				t.Errorf("got %+v back from %q", back, got.String())
			}
		})
	}
}

func proof(level int, methods ...string) loginfact.Proof {
	return loginfact.Proof{Level: level, Methods: methods}
}

func TestProofOfAnythingElseIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "4 pwd", "-1", " 2", "2.5"} {
		if got := loginfact.Parse(text); got.Level != 0 || len(got.Methods) > 0 {
			t.Errorf("got %+v of %q, want nothing", got, text)
		}
	}
}
