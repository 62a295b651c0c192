package capacity

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// write puts the report where o says.
func write(o Options, r *Report) error {
	var errs []error
	if o.JSON {
		errs = append(errs, json.NewEncoder(o.Stdout).Encode(r))
	} else {
		errs = append(errs, writeTable(o.Stdout, r))
	}
	if o.Out != "" {
		errs = append(errs, toFile(o.Out, func(w io.Writer) error { return writeChart(w, strings.ToLower(filepath.Ext(o.Out)[1:]), r) }))
	}
	if o.CSV != "" {
		errs = append(errs, toFile(o.CSV, func(w io.Writer) error { return writeCSV(w, r.Steps) }))
	}
	return errors.Join(errs...)
}

func toFile(name string, fill func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func writeTable(w io.Writer, r *Report) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleDefault)
	t.Style().Box.PaddingLeft, t.Style().Box.PaddingRight, t.Style().Box.MiddleVertical = "", "", "  "
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Options.SeparateColumns = true
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"sessions", "used_memory", "RSS", "bytes each", "sessions/s", "seconds", "as files"})
	var right []table.ColumnConfig
	for n := range 7 {
		right = append(right, table.ColumnConfig{Number: n + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	for _, s := range r.Steps {
		t.AppendRow(table.Row{
			Short(s.Sessions), humanize.IBytes(s.UsedMemory), humanize.IBytes(s.RSS), fmt.Sprintf("%.0f", s.BytesPerSession),
			humanize.Comma(int64(s.Rate)), fmt.Sprintf("%.1f", s.Seconds), humanize.IBytes(s.FileBytes),
		})
	}
	for _, e := range r.Forecast {
		t.AppendRow(table.Row{Short(e.Sessions), humanize.IBytes(e.UsedMemory), humanize.IBytes(e.RSS), "forecast", "", "", humanize.IBytes(e.FileBytes)})
	}
	_, err := fmt.Fprintf(w, "%s\n\n%s", t.Render(), r.remarks())
	return err
}

// remarks says what the table means.
func (r *Report) remarks() string {
	var b strings.Builder
	kind := "logged in, each with an entry in its user's index"
	switch {
	case r.Anonymous:
		kind = "anonymous"
	case !r.Index:
		kind = "logged in, without the users' index"
	}
	last := r.Steps[len(r.Steps)-1]
	fmt.Fprintf(&b, "Redis %s; records of %d bytes, %d of them data; %s; filled in %.1f s\n", r.Redis, r.RecordBytes, r.ValueBytes, kind, r.TotalSeconds)
	if l := r.Line; l != nil {
		fmt.Fprintf(&b, "used_memory = %.1f MiB + %.1f bytes × sessions; R² %.6f, largest deviation %.2f %% (at %s)\n",
			l.Base/(1<<20), l.PerSession, l.RSquared, l.LargestDeviation, Short(l.DeviatesAt))
	}
	fmt.Fprintf(&b, "As files: %d bytes each in whole blocks, %.1f times as much, and %d bytes for the inode\n",
		r.FilePer, float64(r.FilePer)/last.BytesPerSession, r.InodePer)
	return b.String()
}

func writeCSV(w io.Writer, steps []Step) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"sessions", "used_memory", "used_memory_rss", "bytes_per_session", "sessions_per_second", "seconds", "file_bytes"}}
	for _, s := range steps {
		rows = append(rows, []string{
			strconv.Itoa(s.Sessions), strconv.FormatUint(s.UsedMemory, 10), strconv.FormatUint(s.RSS, 10),
			strconv.FormatFloat(s.BytesPerSession, 'f', 1, 64), strconv.FormatFloat(s.Rate, 'f', 0, 64),
			strconv.FormatFloat(s.Seconds, 'f', 2, 64), strconv.FormatUint(s.FileBytes, 10),
		})
	}
	return c.WriteAll(rows)
}
