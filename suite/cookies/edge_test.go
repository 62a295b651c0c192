package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

// TestCookieThatOnlyLooksLikeOursIsNone sends a good value in ways in which a browser
// would send a cookie that a neighbour under the same domain, or a page over plain
// HTTP, was able to set though the name has a prefix.
func TestCookieThatOnlyLooksLikeOursIsNone(t *testing.T) {
	t.Parallel()
	m, sent := stage.NewMini(t).Counted(t)
	good := stage.Issue(t, m, "/login")
	sent.Take()
	for _, row := range []struct{ name, line string }{
		{"in a quote that does not end", `session="` + good},
		{"in single quotes", "session='" + good + "'"},
		{"in another case", "Session=" + good},
		{"without a name", "=session=" + good},
		{"behind a space that is none in HTTP", "\u2000session=" + good},
		{"behind a no-break space", "\u00a0session=" + good},
		{"behind a NUL", "\x00session=" + good},
		{"a space before the sign", "session =" + good},
		{"in the old syntax", "$Version=1, session=" + good},
		{"behind a comma", "a=b, session=" + good},
		{"percent-encoded", "session=" + strings.ReplaceAll(good, "M", "%4D")},
		{"a name with a prefix", "__Host-session=" + good},
		{"padding twice", "session=" + good + "=="},
	} {
		t.Run(row.name, func(t *testing.T) {
			if a := stage.Ask(t, m, "/", row.line); a.Text != nobody || sent.Take() != " in 0" || len(a.SetCookies()) > 0 {
				t.Errorf("got session %s and cookies %v, want %s, none and no command", a.Text, a.SetCookies(), nobody)
			}
			if a := stage.Ask(t, m, "/", row.line+"; session="+good); a.Text == nobody {
				t.Errorf("got %s though the real cookie comes too", a.Text)
			}
			sent.Take()
		})
	}
}

// TestCookieMayBeQuotedOrPadded is what clients do to a value that they do not take for plain, and how the values
// of earlier versions ended.
func TestCookieMayBeQuotedOrPadded(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	good := stage.Issue(t, m, "/login")
	if strings.Trim(good, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("got the value %q, want letters, digits, - and _ alone, which nobody quotes or escapes", good)
	}
	for _, value := range []string{good, `"` + good + `"`, good + "=", `"` + good + `="`} {
		if a := stage.Ask(t, m, "/", "session="+value); a.Text != `"alice" []` {
			t.Errorf("got session %s for %s, want alice", a.Text, value)
		}
	}
}

// TestCookiesMayComeInSeveralHeaders is what HTTP/2 allows.
func TestCookiesMayComeInSeveralHeaders(t *testing.T) {
	t.Parallel()
	m, sent := stage.NewMini(t).Counted(t)
	good := stage.Issue(t, m, "/login")
	for _, row := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"the second", []string{"a=b", "session=" + good}, `"alice" []`},
		{"after a planted one", []string{"session=x; c=d", "e=f; session=" + good}, `"alice" []`},
		{"after as many as are tried", []string{"session=1; session=2", "session=3; session=4", "session=" + good}, nobody},
		{"after ten thousand others", append(strings.Split(strings.Repeat("a=b\n", 10_000), "\n"), "session="+good), `"alice" []`},
	} {
		t.Run(row.name, func(t *testing.T) {
			sent.Take()
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Cookie"] = row.lines
			w := httptest.NewRecorder()
			m.Handler(stage.AccountHandlers.Mux()).ServeHTTP(w, r)
			if w.Code != http.StatusOK || w.Body.String() != row.want {
				t.Errorf("got status %d and session %s, want 200 and %s", w.Code, w.Body, row.want)
			}
		})
	}
}
