package adoption_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// sends answers one request with exactly these cookies and headers, "name=value" and
// "Name: value".
func sends(m *redsession.Manager, ops string, lines ...string) stage.Answer {
	r := httptest.NewRequest("GET", "/?ops="+url.QueryEscape(ops), nil)
	for _, l := range lines {
		if name, value, ok := strings.Cut(l, ": "); ok {
			r.Header.Set(name, value)
		} else {
			r.Header.Add("Cookie", l)
		}
	}
	w := httptest.NewRecorder()
	m.Handler(stage.Handlers{"/": make(stage.Gate).Play}.Mux()).ServeHTTP(w, r)
	return stage.Answer{Response: w.Result(), Text: w.Body.String()}
}

// named returns the Set-Cookie headers of that name.
func named(a stage.Answer, name string) (found []*http.Cookie) {
	for _, c := range a.Cookies() {
		if c.Name == name {
			found = append(found, c)
		}
	}
	return found
}

func TestAdoptionOfACookieThatVerifyRefusesCostsNothing(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "good", strings.Repeat("x", 1025))
		l := old.Legacy()
		l.Verify = func(v string) (string, error) {
			id, ok := strings.CutPrefix(v, "s:")
			if !ok {
				return "", errors.New("not signed")
			}
			return id, nil
		}
		m, c := e.Counted(t, stage.Adopting(l))
		for name, cookies := range map[string][]string{
			"garbage":           {"oldsid=good"},
			"an empty id":       {"oldsid=s:"},
			"an over-long id":   {"oldsid=s:" + strings.Repeat("x", 1025)},
			"four and the good": {"oldsid=a", "oldsid=b", "oldsid=c", "oldsid=d", "oldsid=s:good"},
			"no value":          {"oldsid="},
		} {
			if a := sends(m, "", cookies...); a.Text != "" || c.Take() != " in 0" || len(a.Cookies()) != 0 {
				t.Errorf("%s: got %q with cookies %v and commands, want an anonymous session for nothing", name, a.Text, a.Cookies())
			}
		}
		if a := sends(m, "", "oldsid=a", "oldsid=b", "oldsid=c", "oldsid=s:good"); a.Text != "alice cart=[tea]" {
			t.Errorf("the fourth is good: got %q, want alice's session", a.Text)
		}
	})
}

func TestAdoptionAmongSeveralCookiesTheSessionStays(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "mine")
		old.Put(stage.OldSession(e, "planted", "mallory"))
		m := e.Manager(t, stage.Adopting(old.SideBySide()))
		st := stage.NewScripted(t, m).WithOldCookie("mine")
		st.Must()
		for _, cookies := range [][]string{{"oldsid=mine", "oldsid=planted"}, {"oldsid=planted", "oldsid=mine"}} {
			if a := sends(m, "", append(cookies, "session="+st.Cookie())...); a.Text != "alice cart=[tea]" || len(a.Cookies()) != 0 {
				t.Errorf("%v: got %q and cookies %v, want alice's session as it was", cookies, a.Text, a.Cookies())
			}
		}
	})
}

func TestAdoptionOfAnIDInAnotherKindOfCookieIsRefused(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		l := redsession.Legacy{Source: "signed", Cookie: "signedsid", Verify: func(v string) (string, error) {
			id, ok := strings.CutPrefix(v, "s:")
			if !ok {
				return "", errors.New("not signed")
			}
			return id, nil
		}}
		m := e.Manager(t, stage.Adopting(redsession.Legacy{Source: "plain", Cookie: "plainsid"}, l))
		lr := stage.OldSession(e, "in-many-logs", "alice")
		lr.Source = "signed"
		if _, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false); err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct{ cookie, want string }{
			{"plainsid=in-many-logs", ""}, {"signedsid=in-many-logs", ""}, {"signedsid=s:in-many-logs", "alice cart=[tea]"}, {"plainsid=in-many-logs", ""},
		} {
			if a := sends(m, "", row.cookie); a.Text != row.want {
				t.Errorf("%s: got %q, want %q", row.cookie, a.Text, row.want)
			}
		}
		if a := sends(m, "", "plainsid=in-many-logs", "signedsid=s:in-many-logs"); a.Text != "alice cart=[tea]" {
			t.Errorf("both: got %q, want what the signed one leads to", a.Text)
		}
	})
}

func TestAdoptionUnderOurOwnCookiesName(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "one")
		var asked []string
		l := redsession.Legacy{Source: "old", Cookie: "session", Load: func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			asked = append(asked, id)
			return old.Load(ctx, id)
		}, Delete: func(ctx context.Context, id string) error {
			asked = append(asked, id)
			return old.Remove(ctx, id)
		}}
		m := e.Manager(t, stage.Adopting(l))
		st := stage.NewScripted(t, m).Fork("one")
		if a := st.Must(); a.Text != "alice cart=[tea]" || len(a.Cookies()) != 1 || st.Cookie() == "one" {
			t.Fatalf("got %q and cookies %v, want alice and one cookie in the place of the old one", a.Text, a.Cookies())
		}
		keep := st.Fork(st.Cookie())
		st.Must("logout")
		keep.Do()
		e.Advance(t, time.Hour)
		keep.Do()
		for _, id := range asked {
			if id != "one" {
				t.Error("the old store was asked for a cookie of ours")
			}
		}
		if got := len(e.Keys(t)); got != 1 {
			t.Errorf("an hour after the logout: got %d keys, want the old id's tombstone", got)
		}
	})
}

func TestAdoptionByHeader(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, stage.Adopting(olds(e, "one").SideBySide()), func(c *redsession.Config) { c.Header = "X-Session" })
		// A script cannot read the old cookie, but its browser sends it.
		for name, lines := range map[string][]string{
			"an empty header of a script": {"X-Session: ", "Sec-Fetch-Site: same-origin"},
			"another header of a script":  {"X-Session: junk", "Sec-Fetch-Site: same-origin"},
			"a browser of old":            nil,
		} {
			if a := sends(m, "", append(lines, "oldsid=one")...); a.Header.Get("X-Session") != "" {
				t.Errorf("%s: got the session in a header that scripts can read", name)
			}
		}
		if a := sends(m, "", "oldsid=one"); a.Text != "alice cart=[tea]" || len(a.SetCookies()) != 1 {
			t.Errorf("without the header: got %q and cookies %v, want alice and one", a.Text, a.Cookies())
		}
	})
}

func TestAdoptionExpiresTheOldCookieOnceAndSecurely(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		l := olds(e, "one", "two").Legacy()
		l.Cookie, l.Path, l.Domain = "__Secure-old", "/app", "example.com"
		m := e.Manager(t, stage.Adopting(l))
		a := sends(m, "logout", "__Secure-old=one", "__Secure-old=two")
		if got := named(a, "__Secure-old"); len(got) != 1 || !got[0].Secure || got[0].MaxAge >= 0 || got[0].Path != "/app" || got[0].Domain != "example.com" {
			t.Errorf("got %v, want it expired by one header, which browsers take only with Secure", got)
		}
		if a.Header.Get("Cache-Control") != "no-store" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Cookie") {
			t.Errorf("got Cache-Control %q and Vary %q, want no-store and Cookie", a.Header.Get("Cache-Control"), a.Header.Values("Vary"))
		}
	})
}

// What a sibling domain planted beside the victim's own cookie must not let an old cookie decide either.
func TestAdoptionBesideCookiesOfTwoUsersIsNotTried(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for name, kind := range map[string]func(*stage.OldStore) redsession.Legacy{
			"for good": (*stage.OldStore).Legacy, "side by side": (*stage.OldStore).SideBySide,
		} {
			for _, row := range []struct{ name, guest, want string }{
				{"alone", "", ""},
				{"beside an anonymous one", "set:c:1", "c=1"},
			} {
				t.Run(row.name+", "+name, func(t *testing.T) {
					old := olds(e, "mine")
					m := e.Manager(t, stage.Adopting(kind(old)))
					var cookies []string
					for _, ops := range []string{"login:alice", row.guest, "login:mallory"} {
						if ops != "" {
							cookies = append(cookies, "session="+named(sends(m, ops), "session")[0].Value)
						}
					}
					a := sends(m, "", append(cookies, "oldsid=mine")...)
					if a.Text != row.want || len(a.Cookies()) != 0 || !old.Has("mine") {
						t.Errorf("got %q and the cookies %v, want %q, none, and the old session where it was", a.Text, a.Cookies(), row.want)
					}
					if a := sends(m, "", "oldsid=mine"); a.Text != "alice cart=[tea]" {
						t.Errorf("got %q with the old cookie alone, want alice's session", a.Text)
					}
				})
			}
		}
	})
}
