package dbsc_test

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/dbsc"
)

func TestIdentifier(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, field string
		want        bool
	}{
		{"ours bare, as Chromium sends it", identifier, true},
		{"ours in double quotes, as the draft says", `"` + identifier + `"`, true},
		{"parameters are ignored", `"` + identifier + `";v=1`, true},
		{"spaces around it are ignored", " " + identifier + "\t", true},
		{"nothing is none", "", false},
		{"two quotes are none", `""`, false},
		{"one quote is none", `"` + identifier, false},
		{"a binding id alone is none", "binding1", false},
		{"a shorter one is none", identifier[1:], false},
		{"a longer one is none", identifier + "t", false},
		{"without its point it is none", strings.Replace(identifier, ".", "-", 1), false},
		{"a second point is none", "binding1.." + thumbprint[1:], false},
		{"a colon in the binding id is none", "binding:." + thumbprint, false},
		{"a glob character in the thumbprint is none", "binding1.*" + thumbprint[1:], false},
		{"a letter of two bytes is none", "binding1.é" + thumbprint[2:], false},
		{"a NUL is none", "binding1.\x00" + thumbprint[1:], false},
		{"two identifiers are none", identifier + ", " + identifier, false},
		{"an escape in the string is none", `"\` + identifier[1:] + `"`, false},
		{"parameters without end are not read", identifier + ";" + strings.Repeat("v", 1<<20), false},
		{"a megabyte is not read", strings.Repeat("t", 1<<20), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := dbsc.SessionID(row.field)
			if ok != row.want || ok && got != identifier || !ok && got != "" {
				t.Errorf("got %q, %t, want %q, %t", got, ok, identifier, row.want)
			}
		})
	}
}

func TestIdentifierOfABinding(t *testing.T) {
	t.Parallel()
	a, b := dbsc.NewBindingID(), dbsc.NewBindingID()
	if a == b || len(a) != 8 {
		t.Errorf("got binding ids %q and %q, want two of 8 characters", a, b)
	}
	if id, thumb, ok := dbsc.SplitIdentifier(dbsc.Identifier(a, thumbprint)); !ok || id != a || thumb != thumbprint {
		t.Errorf("got %q, %q, %t, want %q, %q", id, thumb, ok, a, thumbprint)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, got, want string }{
		{"a registration offers both algorithms", dbsc.RegistrationHeader("/session-binding/register/t", "c"), `(ES256 RS256);path="/session-binding/register/t";challenge="c"`},
		{"a path becomes that of a URL", dbsc.RegistrationHeader("/ä b", "c"), `(ES256 RS256);path="/%C3%A4%20b";challenge="c"`},
		{"a path does not leave its quotes", dbsc.RegistrationHeader(`/";\`, "c"), `(ES256 RS256);path="/%22;%5C";challenge="c"`},
		{"a challenge names its session", dbsc.ChallengeHeader("c", "i"), `"c";id="i"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.got != row.want {
				t.Errorf("got %s, want %s", row.got, row.want)
			}
		})
	}
}

func TestInstructions(t *testing.T) {
	t.Parallel()
	whole := dbsc.Instructions{
		Identifier: "i", RefreshURL: "/é/refresh/b", CookieName: "__Host-session-bound-b", CookieAttributes: `Path=/; HttpOnly; Secure; SameSite=Lax`,
		Excluded: []string{"/é", "/static"}, AnyInitiator: true,
	}
	least := whole
	least.Excluded, least.AnyInitiator = nil, false
	const head = `{"session_identifier":"i","refresh_url":"/%C3%A9/refresh/b","scope":{"include_site":false`
	const tail = `},"credentials":[{"type":"cookie","name":"__Host-session-bound-b","attributes":"Path=/; HttpOnly; Secure; SameSite=Lax"}]`
	for _, row := range []struct {
		name string
		have dbsc.Instructions
		want string
	}{
		{"exclusions and initiators are told", whole, head + `,"scope_specification":[{"type":"exclude","path":"/%C3%A9"},{"type":"exclude","path":"/static"}]` + tail + `,"allowed_refresh_initiators":["*"]}`},
		{"what is not there is absent", least, head + tail + `}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := string(row.have.JSON()); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}
