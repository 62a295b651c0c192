package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"
)

// What a terminal understands (ECMA-48, and xterm's second screen, so that what
// was on the terminal before comes back).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

const failColour = text.FgRed

// showScreen draws over the last look.
func (w *watch) showScreen(l look) error {
	title := fmt.Sprintf("%s, every %s; Ctrl-C ends", w.c.place, w.every)
	lines := append([]string{w.c.paint(title, text.Bold), ""}, w.body(l)...)
	var b strings.Builder
	b.WriteString(home)
	for _, line := range lines {
		b.WriteString(text.Snip(line, w.c.width, "…") + clearLine + "\r\n")
	}
	b.WriteString(clearBelow)
	_, err := io.WriteString(w.c.out, b.String())
	return err
}

// body is what both the screen and the summary show.
func (w *watch) body(l look) []string {
	lines := []string{"sessions    not counted yet"}
	if l.Sessions != nil {
		lines[0] = fmt.Sprintf("sessions    %s, of at most %s (counted %s ago)", humanize.Comma(int64(*l.Sessions)), plural(*l.Users, "user"), roughly(time.Since(l.counted)))
	}
	memory := humanize.IBytes(uint64(l.Memory))
	if l.MaxMemory > 0 {
		memory += fmt.Sprintf(" of %s", humanize.IBytes(uint64(l.MaxMemory)))
	}
	mean := w.mean()
	lines = append(lines, "memory      "+memory, fmt.Sprintf("clients     %d", l.Clients), "",
		w.c.paint(fmt.Sprintf("%-10s%12s%12s%12s", "", "now", "mean", "peak"), text.Bold))
	for _, m := range measures {
		line := fmt.Sprintf("%-10s%12s%12s%12s", m.name, amount(*m.of(&l)), amount(*m.of(&mean)), amount(*m.of(&w.peak)))
		if m.name == "errors/s" && l.Errors > 0 || m.name == "evicted/s" && l.Evicted > 0 {
			line = w.c.paint(line, failColour)
		}
		lines = append(lines, line)
	}
	return lines
}

// amount is f with as many places as matter.
func amount(f float64) string {
	if f < 100 && f != float64(int64(f)) {
		return fmt.Sprintf("%.2f", f)
	}
	return humanize.Comma(int64(f + 0.5))
}

// summary stays on the terminal when top has ended.
func (w *watch) summary() string {
	if w.n == 0 {
		return ""
	}
	mean := w.mean()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s of %s\n", w.c.place, plural(w.n, "look"), w.every)
	if mean.Sessions != nil {
		fmt.Fprintf(&b, "%s, of at most %s\n", plural(*mean.Sessions, "session"), plural(*mean.Users, "user"))
	}
	fmt.Fprintf(&b, "%-10s%12s%12s\n", "", "mean", "peak")
	for _, m := range measures {
		fmt.Fprintf(&b, "%-10s%12s%12s\n", m.name, amount(*m.of(&mean)), amount(*m.of(&w.peak)))
	}
	fmt.Fprintf(&b, "%-10s%12s%12s\n", "memory", humanize.IBytes(uint64(mean.Memory)), humanize.IBytes(uint64(w.peak.Memory)))
	return b.String()
}

const lineHead = "time\tsessions\tusers\thits/s\twrites/s\tlogins/s\tcommands/s\terrors/s\texpired/s\tevicted/s\tping ms\tmemory\tclients"

func (w *watch) showLine(l look) error {
	_, err := io.WriteString(w.c.out, line(l.Time, l))
	return err
}

// lastLines are the mean and the peak, in the columns of the others.
func (w *watch) lastLines() string {
	if w.n == 0 {
		return ""
	}
	mean := w.mean()
	w.peak.Sessions, w.peak.Users = mean.Sessions, mean.Users
	return line("mean", mean) + line("peak", w.peak)
}

func line(first string, l look) string {
	cells := []string{first, "-", "-"}
	if l.Sessions != nil {
		cells = []string{first, fmt.Sprint(*l.Sessions), fmt.Sprint(*l.Users)}
	}
	for _, m := range measures {
		cells = append(cells, fmt.Sprintf("%.2f", *m.of(&l)))
	}
	return strings.Join(append(cells, fmt.Sprint(l.Memory), fmt.Sprint(l.Clients)), "\t") + "\n"
}
