package redsession_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestACookieThatOnlyLooksLikeOursIsNone sends a good value in ways in which a browser
// would send a cookie that a neighbour under the same domain, or a page over plain
// HTTP, was able to set though the name has a prefix.
func TestACookieThatOnlyLooksLikeOursIsNone(t *testing.T) {
	m, sent := newMini(t).counted(t)
	good := issue(t, m, "/login")
	sent.take()
	for _, row := range []struct{ name, line string }{
		{"in quotes", `session="` + good + `"`},
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
		{"its padding twice", "session=" + good + "="},
	} {
		if a := ask(t, m, "/", row.line); a.body != nobody || sent.take() != " in 0" || len(a.setCookies()) > 0 {
			t.Errorf("%s: got session %s and cookies %v, want %s, none and no command", row.name, a.body, a.setCookies(), nobody)
		}
		if a := ask(t, m, "/", row.line+"; session="+good); a.body == nobody {
			t.Errorf("%s: got %s though the real cookie comes too", row.name, a.body)
		}
		sent.take()
	}
}

// TestCookiesMayComeInSeveralHeaders is what HTTP/2 allows.
func TestCookiesMayComeInSeveralHeaders(t *testing.T) {
	m, sent := newMini(t).counted(t)
	good := issue(t, m, "/login")
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
		sent.take()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = row.lines
		w := httptest.NewRecorder()
		m.Handler(accountHandlers.mux()).ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.String() != row.want {
			t.Errorf("%s: got status %d and session %s, want 200 and %s", row.name, w.Code, w.Body, row.want)
		}
	}
}
