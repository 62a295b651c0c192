package browsertest_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	patience  = 20 * time.Second // for what takes milliseconds on a quiet machine
	pollEvery = 20 * time.Millisecond
	tabTime   = 2 * time.Minute // of a whole test
)

// chromium returns the path of a browser, or "".
var chromium = sync.OnceValue(func() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

func needBrowser(t *testing.T) {
	t.Helper()
	switch {
	case chromium() != "":
	case os.Getenv("CI") == "true":
		t.Fatal("no chromium: install Debian's package chromium")
	default:
		t.Skip("no chromium: install Debian's package chromium to run this")
	}
}

// quiet keeps chromedp's own remarks, of pages that went while it looked at them,
// out of the output. What fails is returned all the same.
var quiet = chromedp.WithErrorf(func(string, ...any) {})

// launch starts a browser that keeps its profile in dir.
func launch(dir string) (ctx context.Context, stop func() error, err error) {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium()), chromedp.UserDataDir(dir),
		chromedp.NoSandbox,        // CI runs as root
		chromedp.IgnoreCertErrors, // the demo makes its certificate itself
		chromedp.WSURLReadTimeout(time.Minute),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ = chromedp.NewContext(allocator, quiet)
	return ctx, func() error {
		defer cancel()
		return chromedp.Cancel(ctx) // closes it as a person would, so that cookies are kept
	}, chromedp.Do(ctx)
}

// shared is the browser of all tests that need none of their own.
var shared struct {
	once sync.Once
	dir  string
	ctx  context.Context
	stop func() error
	err  error
}

func stopShared() {
	if shared.stop != nil {
		_ = shared.stop()
		_ = os.RemoveAll(shared.dir)
	}
}

// newBrowser returns the first tab of what is a browser of its own to the demo
// at base: it shares no cookie with others.
func newBrowser(t *testing.T, base string) *tab {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "browsertest-profile"); shared.err != nil {
			return
		}
		shared.ctx, shared.stop, shared.err = launch(shared.dir)
	})
	if shared.err != nil {
		t.Fatalf("starting the browser: %v", shared.err)
	}
	return openTab(t, shared.ctx, base, chromedp.WithNewBrowserContext())
}

// tab is one page of a browser.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu         sync.Mutex // guards what follows
	complaints []string   // of the console
}

// openTab opens a tab in the browser of parent. At the end of the test it fails
// if the page broke its Content-Security-Policy or a script failed.
func openTab(t *testing.T, parent context.Context, base string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, base: base}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	timed, stop := context.WithTimeout(ctx, tabTime)
	b.ctx = timed
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	t.Cleanup(func() {
		stop()
		cancel()
		for _, c := range b.heard() {
			t.Errorf("the console says: %s", c)
		}
	})
	return b
}

func (b *tab) listen(event any) {
	var said string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said = "uncaught: " + e.ExceptionDetails.Text
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceNetwork || e.Entry.Level != log.EntryLevelError {
			return // a status of 409 is an error to it, too
		}
		said = e.Entry.Text
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, said)
}

// heard returns the complaints so far, and forgets them.
func (b *tab) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.complaints
	b.complaints = nil
	return said
}

// visit opens a page and returns its status.
func (b *tab) visit(path string) int64 {
	b.t.Helper()
	answer, err := chromedp.Run(b.ctx, chromedp.NavigateResponse(b.base+path))
	if err != nil {
		b.t.Fatalf("opening %s: %v", path, err)
	}
	return answer.Status
}

// click clicks on what leads to another page, and returns that page's status.
func (b *tab) click(selector string) int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector)))
	if err != nil {
		b.t.Fatalf("clicking on %s: %v; the page is %q", selector, err, b.path())
	}
	return answer.Status
}

// write types text into a field.
func (b *tab) write(selector, text string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS(selector), text)); err != nil {
		b.t.Fatalf("writing into %s: %v", selector, err)
	}
}

// eval returns what an expression is in the page. By this way, which is the
// debugger's, a Content-Security-Policy does not stop it.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("evaluating %s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true in the page.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		// An error is a page that is just being replaced.
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); ok && err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			b.t.Fatalf("waited in vain for %s; the page is %q:\n%s", what, b.path(), b.text("main"))
		}
	}
}

func (b *tab) path() string { b.t.Helper(); return eval[string](b, "location.pathname") }

// text returns the text of the first element that selector finds, "" if none.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.TrimSpace(eval[string](b, "document.querySelector(`"+selector+"`)?.innerText ?? ''"))
}

// want fails the test unless the page is at path and says all parts.
func (b *tab) want(what, path string, parts ...string) {
	b.t.Helper()
	if got := b.path(); got != path {
		b.t.Errorf("%s: got the page %q, want %q", what, got, path)
	}
	said := b.text("body")
	for _, part := range parts {
		if !strings.Contains(said, part) {
			b.t.Errorf("%s: want %q in the page, got:\n%s", what, part, said)
		}
	}
}

// login logs alice in; the boxes are those of the form to tick.
func (b *tab) login(boxes ...string) {
	b.t.Helper()
	b.visit("/login")
	b.write("#username", "alice")
	b.write("#password", "rabbit-hole")
	for _, box := range boxes {
		eval[bool](b, "document.getElementById('"+box+"').checked = true")
	}
	b.click("main form button")
}

// cookie returns the session's cookie as the browser has it, nil for none.
func (b *tab) cookie() *network.Cookie {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{b.base}})
	if err != nil {
		b.t.Fatalf("reading the cookies: %v", err)
	}
	if len(got.Cookies) > 1 {
		b.t.Errorf("got %d cookies, want one at most", len(got.Cookies))
	}
	for _, c := range got.Cookies {
		return c
	}
	return nil
}
