package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// console is what the program reads from and writes to.
type console struct {
	in        io.Reader
	out, errs io.Writer
	width     int  // of the terminal that out is; 0 if it is none
	progress  bool // errs is a terminal
	asks      bool // somebody can answer on in
	colours   bool
	place     string // the Redis that is spoken to, without its password
}

// sized is a terminal that a test plays.
type sized interface{ Width() int }

func newConsole(in io.Reader, out, errs io.Writer) *console {
	c := &console{in: in, out: out, errs: errs, width: widthOf(out)}
	c.progress = widthOf(errs) > 0
	c.asks = widthOf(in) > 0
	c.colours = c.width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if c.colours {
		text.EnableColors()
	} else {
		text.DisableColors()
	}
	return c
}

// widthOf returns how many columns the terminal has that stream is, 0 if it is
// none.
func widthOf(stream any) int {
	switch s := stream.(type) {
	case sized:
		return s.Width()
	case *os.File:
		if !term.IsTerminal(int(s.Fd())) {
			return 0
		}
		if width, _, err := term.GetSize(int(s.Fd())); err == nil && width > 0 {
			return width
		}
		return 80
	}
	return 0
}

// paint colours s if out shows colours.
func (c *console) paint(s string, colours ...text.Color) string {
	if !c.colours {
		return s
	}
	return text.Colors(colours).Sprint(s)
}

// note tells people something beside the output.
func (c *console) note(format string, args ...any) {
	fmt.Fprintf(c.errs, format+"\n", args...)
}

// printJSON prints v as one line.
func (c *console) printJSON(v any) error { return writeJSON(c.out, v) }

func writeJSON(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, clean(string(line)))
	return err
}

// clean makes text that a browser sent harmless for a terminal: what is not to
// be seen, or would move the cursor or colour the text, becomes its number, as
// JSON writes it.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd") // some terminals obey single bytes beyond ASCII
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
