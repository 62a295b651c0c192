package compat_test

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

var update = flag.Bool("update", false, "write docs/compatibility.md anew")

const document = "../docs/compatibility.md"

var (
	redis    *miniredis.Miniredis
	prefixes struct {
		sync.Mutex
		n int
	}
)

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if redis, err = miniredis.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	redis.Close()
	os.Exit(code)
}

// skipField marks a request that is to see the row without redsession.
const skipField = "X-Without-Session"

// newManager returns one with keys of its own.
func newManager(t *testing.T, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	prefixes.Lock()
	prefixes.n++
	c := redsession.Config{
		URL: "redis://" + redis.Addr(), Secrets: [][]byte{bytes.Repeat([]byte("s"), 32)}, Prefix: fmt.Sprintf("row%d:", prefixes.n), Logger: quietSlog,
		RedisTimeout: 10 * time.Second, OutageWait: -1, // busy machines are no outage
		Skip: func(r *http.Request) bool { return r.Header.Get(skipField) != "" },
	}
	prefixes.Unlock()
	for _, f := range change {
		f(&c)
	}
	m, err := redsession.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func listenPacket(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// found is what each cell of the table came to, by row, cell and protocol.
type found struct {
	mu    sync.Mutex
	cells map[[3]string]string
}

func (f *found) put(row, cell, protocol, seen string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cells[[3]string{row, cell, protocol}] = seen
}

// TestCompatibility tries every cell of every row, over each protocol, and then holds the
// document against what was found.
func TestCompatibility(t *testing.T) {
	results := found{cells: map[[3]string]string{}}
	all := rows()
	t.Run("rows", func(t *testing.T) {
		for _, r := range all {
			for _, protocol := range protocols {
				t.Run(r.name+"/"+protocol, func(t *testing.T) {
					t.Parallel()
					m := newManager(t)
					c := start(t, protocol, r.mount(t, m, program(m)))
					for _, cell := range cells {
						t.Run(cell.name, func(t *testing.T) {
							one := c.fresh()
							one.t = t
							seen := cell.try(one)
							results.put(r.name, cell.name, protocol, seen)
							if want := r.want(cell.name, protocol); seen != want && cell.name != interfacesCell {
								t.Errorf("got %q, want %q", seen, want)
							}
						})
					}
					if r.shows != "" && c.get("/get").header.Get(r.shows) == "" {
						t.Errorf("got no %s: the middleware does nothing", r.shows)
					}
				})
			}
		}
	})
	t.Run("flows", func(t *testing.T) {
		for _, f := range flows {
			for _, protocol := range f.protocols() {
				t.Run(f.name+"/"+protocol, func(t *testing.T) {
					t.Parallel()
					m := newManager(t)
					seen := f.try(start(t, protocol, f.mount(t, m)), m)
					if results.put(f.name, "flow", protocol, seen); seen != ok {
						t.Errorf("got %s, want that %s", seen, f.what)
					}
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	expected := len(all) * len(cells) * len(protocols)
	for _, f := range flows {
		expected += len(f.protocols())
	}
	if missing := expected - len(results.cells); missing > 0 {
		if flag.Lookup("test.run").Value.String() == "" {
			t.Errorf("got %d cells blank, want none", missing)
		}
		return // of some rows alone there is no document
	}
	text := write(all, &results)
	if *update {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(document); err != nil || string(old) != text {
		t.Errorf("docs/compatibility.md is not what was found (%v): look at the difference after go test . -update", err)
	}
}

// want is what a cell must come to.
func (r row) want(cell, protocol string) string {
	e, there := r.not[cell]
	if there && (len(e.protocols) == 0 || slices.Contains(e.protocols, protocol)) {
		return e.seen
	}
	if cell == "hijack" && protocol != "HTTP/1.1" {
		return noConnection
	}
	return ok
}

// write makes the document of what was found.
func write(all []row, f *found) string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| |")
	for _, cell := range cells {
		fmt.Fprintf(&b, " %s |", cell.name)
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(cells)+1) + "\n")
	var notes []string
	for _, r := range all {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, cell := range cells {
			b.WriteString(" " + r.show(cell.name, f, &notes) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	b.WriteString("\n| library | what was seen | over |\n| --- | --- | --- |\n")
	for _, f := range flows {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, f.what, strings.Join(f.protocols(), ", "))
	}
	return b.String() + epilogue
}

// protocols are those over which f is tried.
func (f flow) protocols() []string {
	if f.over > 0 {
		return protocols[:f.over]
	}
	return protocols
}

// show is the text of a cell. notes gets why it is not ok, if that is new.
func (r row) show(cell string, f *found, notes *[]string) string {
	if cell == interfacesCell {
		short := strings.NewReplacer("Flusher", "F", "Hijacker", "H", "Pusher", "P", "ReaderFrom", "R", "Deadlines", "D")
		var texts []string
		for _, protocol := range protocols[:2] {
			text := short.Replace(f.cells[[3]string{r.name, cell, protocol}])
			if text == "" {
				text = "–"
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, " / ")
	}
	why := ""
	if e, there := r.not[cell]; there {
		why = e.why
	} else if cell == "hijack" {
		why = overStream
	}
	if why == "" {
		return "✓"
	}
	at := slices.Index(*notes, why)
	if at < 0 {
		*notes = append(*notes, why)
		at = len(*notes) - 1
	}
	seen := r.want(cell, "HTTP/1.1")
	if seen == ok {
		seen = "✓"
	}
	if e := r.not[cell]; len(e.protocols) > 0 {
		seen += ", " + strings.Join(e.protocols, ", ") + ": " + e.seen
	}
	return fmt.Sprintf("%s (%d)", seen, at+1)
}

const preface = `# Middlewares and frameworks

Written by the tests of the module ` + "`compat`" + `, which tries every cell over HTTP/1.1, HTTP/2 and HTTP/3, with a real server and a cookie jar, each middleware outside of ` + "`Handler`" + ` and inside. CI fails if a cell changes.
Each middleware was seen at work: compressors compress, CORS and forgery protection let through a page's own requests.
*Set and get* also looks for one cookie, ` + "`no-store`" + ` beside it and ` + "`Vary: Cookie`" + `. After a *login* and a *logout* the old cookie is a stranger's. A *206*, a *304* and a *hijack* keep the change made before them. *Flush* is a first piece that arrives while the handler waits.
*Panic* is a change and then a panic: nothing is kept. *Early failure* is a session that ended while the handler ran: 409 arrives, and nothing else. *Late failure* is one that ended after the first byte, flushed or not: the client sees an error, or a response that was cut off.
*Interfaces* are what a handler finds by a type assertion, over HTTP/1.1 / HTTP/2: **F**lusher, **H**ijacker, **P**usher, **R**eaderFrom, and whether an ` + "`http.ResponseController`" + ` can set **D**eadlines. redsession takes none of them away.

`

const epilogue = `
Not supported: fiber, and whatever else is built on fasthttp, which has no ` + "`net/http`" + ` requests.
`
