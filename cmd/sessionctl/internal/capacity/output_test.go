package capacity_test

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redsession/redsession/cmd/sessionctl/internal/capacity"
	"github.com/redsession/redsession/internal/redistest"
)

func TestChartAndTableFiles(t *testing.T) {
	s := redistest.Start(t)
	dir := t.TempDir()
	o := options(s.URL)
	o.Out, o.CSV = filepath.Join(dir, "c.svg"), filepath.Join(dir, "c.csv")
	r := report(t, o)
	f, err := os.Open(o.CSV)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 1+len(steps) || rows[0][0] != "sessions" || rows[3][0] != "6000" || len(rows[3]) != 7 {
		t.Errorf("got the rows %v and error %v, want a head and %d steps", rows, err, len(steps))
	}
	checkSVG(t, o.Out)

	o.Out, o.CSV, o.Steps = filepath.Join(dir, "c.PNG"), "", r1(r)
	report(t, o)
	image, err := os.Open(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if _, err := png.Decode(image); err != nil {
		t.Errorf("decoding the PNG: %v", err)
	}
}

// r1 is the first step alone: a chart needs no line.
func r1(r capacity.Report) []int { return []int{r.Steps[0].Sessions} }

func checkSVG(t *testing.T, name string) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	elements := 0
	for dec := xml.NewDecoder(bytes.NewReader(raw)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the SVG is not well-formed: %v", err)
		}
		if start, ok := token.(xml.StartElement); ok && elements == 0 && start.Name.Local != "svg" {
			t.Errorf("got the root %q, want svg", start.Name.Local)
		} else if ok {
			elements++
		}
	}
	for _, want := range []string{"sessions", "used_memory", "RSS", "GiB"} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("the chart does not say %q", want)
		}
	}
}

func TestTheTableSaysWhatItMeans(t *testing.T) {
	var out strings.Builder
	o := options(redistest.Start(t).URL)
	o.JSON, o.Stdout, o.Forecast = false, &out, []int{16_000_000}
	if err := capacity.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bytes each", "\n      2k ", "forecast", "16m", "R²", "largest deviation", "As files: 4096 bytes each", "256 bytes for the inode"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 200 {
			t.Errorf("got a line of %d characters: %s", len(line), line)
		}
	}
}
