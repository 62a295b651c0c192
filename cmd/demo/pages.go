package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/redsession/redsession"
)

//go:embed templates static
var files embed.FS

type page = template.Template

// view is what every page gets. Session says that the fields below it are
// known; an error page may have no session.
type view struct {
	Title  string
	Path   string // of the page, to mark it in the menu
	Failed bool   // the form has a mistake; the title says so first
	Body   any

	Session   bool
	User      string
	Pending   string
	CartCount int
	Flashes   []string
	CSRF      string // for every form
	Degraded  bool   // the session came from memory

	Down      bool // Redis is away
	CanSwitch bool // and this program can bring it back
}

func parsePages() (map[string]*page, error) {
	pages := make(map[string]*page)
	funcs := template.FuncMap{"stamp": stamp, "rfc3339": rfc3339, "span": span, "agentName": agentName, "seconds": time.Duration.Seconds}
	for _, name := range []string{"home", "login", "second-factor", "account", "devices", "secret", "cart", "operations", "stolen", "message"} {
		t, err := template.New("layout.html").Funcs(funcs).ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		pages[name] = t
	}
	return pages, nil
}

// show answers with a page. s may be nil. The page is complete before its first
// byte leaves: reading the flashes, which removes them, is committed with it. A
// session from memory keeps them until they can be removed.
func (d *demo) show(w http.ResponseWriter, s *redsession.Session, status int, name string, v view) {
	v.Down, v.CanSwitch = d.outage.down(), d.redis.inside != nil
	if s != nil {
		v.Session, v.User, v.Pending, v.Degraded = true, s.UserID(), s.PendingUserID(), s.Degraded()
		if !v.Degraded {
			v.Flashes = s.Flashes()
		}
		items, _ := cart.Get(s)
		v.CartCount = len(items)
		if hasUser(s) {
			v.CSRF = s.CSRFToken()
		}
	}
	d.write(w, status, name, "layout.html", v)
}

// write answers with one template of a page. An error in it is a 500.
func (d *demo) write(w http.ResponseWriter, status int, name, part string, data any) {
	var b bytes.Buffer
	if err := d.pages[name].ExecuteTemplate(&b, part, data); err != nil {
		slog.Error("executing a template", "page", name, "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store") // or Back would show it after a logout
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may have gone
}

func stamp(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04:05 UTC") }

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span says how long d is in its two largest units.
func span(d time.Duration) string {
	units := []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
	if d >= time.Hour {
		d = d.Round(time.Minute)
	}
	d = max(0, d).Round(time.Second)
	for i, u := range units[:len(units)-1] {
		if d < u.length {
			continue
		}
		next := units[i+1]
		if rest := d % u.length / next.length; rest > 0 {
			return count(d/u.length, u.name) + " " + count(rest, next.name)
		}
		return count(d/u.length, u.name)
	}
	return count(d/time.Second, "second")
}

func count(n time.Duration, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
