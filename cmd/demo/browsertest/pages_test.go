package browsertest_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// pictured is a page to take pictures of, and how to get there from the one
// before.
type pictured struct {
	name string
	open func(*tab)
}

func at(path string) func(*tab) { return func(b *tab) { b.visit(path) } }

func on(selector string) func(*tab) { return func(b *tab) { b.click(selector) } }

// pages are all pages of the demo, in the order in which a person may meet them.
var pages = []pictured{
	{"home", at("/")},
	{"cart-empty", at("/cart")},
	{"cart-mistake", func(b *tab) {
		eval[bool](b, "document.querySelector('main form').noValidate = true")
		b.write("#item", " ")
		b.click("main form button")
	}},
	{"cart", func(b *tab) {
		for _, item := range []string{"red lamp", strings.Repeat("Wolle", 16)} {
			b.visit("/cart")
			b.write("#item", item)
			b.click("main form button")
		}
	}},
	{"login", at("/login")},
	{"login-mistake", func(b *tab) {
		b.write("#username", "alice")
		b.write("#password", "wrong")
		b.click("main form button")
	}},
	{"second-factor", func(b *tab) { b.login("second_factor") }},
	{"account", func(b *tab) {
		b.write("#code", b.text(".code"))
		b.click("main form button")
	}},
	{"account-rotated", on("form[action='/account/rotate'] button")},
	{"devices", at("/devices")},
	{"secret", at("/secret")},
	{"stolen", at("/stolen")},
	{"not-found", at("/nowhere")},
	{"operations", at("/operations")},
	{"operations-away", func(b *tab) {
		b.click("form.switch button")
		b.until("a sample of the outage", "document.querySelector('.plot .gap') !== null")
	}},
	{"account-away", at("/account")},
	{"devices-away", at("/devices")},
	{"operations-back", func(b *tab) {
		b.click("#outage button")
		b.until("a sample since", "document.querySelector('.gap + .area + .area') !== null")
	}},
}

func TestScreenshots(t *testing.T) {
	base := startDemo(t)
	phone := newBrowser(t, base) // so that the list of devices has two
	phone.login()
	b := newBrowser(t, base)
	for _, p := range pages {
		p.open(b)
		look(b, p.name)
	}
}

// look takes pictures of the page that b shows, and finds what is wrong with it.
func look(b *tab, name string) {
	b.t.Helper()
	folder := cmp.Or(os.Getenv("REDSESSION_SCREENSHOTS"), b.t.ArtifactDir())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	for _, width := range []int64{1280, 390} {
		if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 800)); err != nil {
			b.t.Fatal(err)
		}
		if wide := eval[int64](b, "document.documentElement.scrollWidth"); wide > width {
			b.t.Errorf("%s: got a page of %d pixels on a screen of %d: %s", name, wide, width, widest(b))
		}
		for _, scheme := range []string{"light", "dark"} {
			picture(b, scheme, filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)))
		}
	}
	check(b, name)
	axe(b, name)
}

// widest names the elements that reach beyond the screen.
func widest(b *tab) string {
	b.t.Helper()
	return eval[string](b, `[...document.querySelectorAll("body *")]
		.filter((e) => e.getBoundingClientRect().right > innerWidth)
		.map((e) => e.tagName + "." + e.className).join(" ")`)
}

// picture writes what the whole page looks like.
func picture(b *tab, scheme, file string) {
	b.t.Helper()
	colours(b, scheme)
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatalf("taking a picture: %v", err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// colours makes the browser prefer a colour scheme.
func colours(b *tab, scheme string) {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatal(err)
	}
}

// check finds what a screen reader or a keyboard would miss.
func check(b *tab, name string) {
	b.t.Helper()
	missing := eval[string](b, `[
		["one h1", document.querySelectorAll("h1").length === 1],
		["one main", document.querySelectorAll("main").length === 1],
		["a language", document.documentElement.lang !== ""],
		["a title", document.title !== ""],
		["a label for each field", [...document.querySelectorAll("input:not([type=hidden])")].every((e) => e.labels.length > 0)],
		["a name for each button", [...document.querySelectorAll("button")].every((e) => e.innerText.trim() !== "")],
		["a name for each picture", [...document.querySelectorAll("svg")].every((e) => e.getAttribute("aria-label"))],
		["ids that are unique", new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size === document.querySelectorAll("[id]").length],
	].filter(([, ok]) => !ok).map(([what]) => what).join(", ")`)
	if missing != "" {
		b.t.Errorf("%s: want %s", name, missing)
	}
}

// TestTheConsoleTellsOfAViolation shows that what every tab listens for would be
// heard.
func TestTheConsoleTellsOfAViolation(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.visit("/")
	eval[bool](b, `document.body.append(Object.assign(document.createElement("script"), {textContent: "window.ran = true"})) ?? true`)
	if eval[bool](b, "window.ran === true") {
		t.Error("a script inside the page ran")
	}
	if said := strings.Join(b.heard(), "\n"); !strings.Contains(said, "Content Security Policy") {
		t.Errorf("got %q on the console, want a violation", said)
	}
}

func TestTheKeyboardBeginsAtTheSkipLink(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.visit("/account")
	b.visit("/cart")
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent("\t")); err != nil {
		t.Fatal(err)
	}
	if got := b.text(":focus"); got != "Skip to the content" {
		t.Errorf("the first stop is %q", got)
	}
	if left := eval[float64](b, "document.activeElement.getBoundingClientRect().left"); left < 0 {
		t.Error("the link is not to be seen when it has the focus")
	}
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent("\r")); err != nil {
		t.Fatal(err)
	}
	b.until("the content to have the focus", "document.activeElement.id === 'main'")
}

// axe lets axe-core look at the page, in both colour schemes, if
// REDSESSION_AXE names its axe.min.js (npm's package axe-core).
func axe(b *tab, name string) {
	b.t.Helper()
	file := os.Getenv("REDSESSION_AXE")
	if file == "" {
		return
	}
	source, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		colours(b, scheme)
		eval[bool](b, string(source)+"; true")
		found, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`axe.run().then((r) =>
			r.violations.map((v) => v.id + ": " + v.help + " at " + v.nodes.map((n) => n.target.join(" ")).join(", ")).join("\n"))`, chromedp.EvalAwaitPromise))
		if err != nil {
			b.t.Fatalf("running axe: %v", err)
		}
		if found != "" {
			b.t.Errorf("%s, %s: axe finds\n%s", name, scheme, found)
		}
	}
}
