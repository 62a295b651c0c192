// Package report turns figures into tables, JSON and charts.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/redsession/redsession/benchmarks/internal/behaviour"
	"github.com/redsession/redsession/benchmarks/internal/measure"
	"github.com/redsession/redsession/benchmarks/internal/overhttp"
)

// Results is all that one run found out. Parts that were not asked for are empty.
type Results struct {
	Date     time.Time          `json:"date"`
	Machine  Machine            `json:"machine"`
	Versions map[string]string  `json:"versions"`
	Run      Run                `json:"run"`
	Costs    []measure.Cost     `json:"costs,omitempty"`
	Commands []measure.Commands `json:"commands,omitempty"`
	Memory   []measure.Memory   `json:"memory,omitempty"`
	HTTP     []overhttp.Result  `json:"http,omitempty"`
	Matrix   []behaviour.Row    `json:"behaviour,omitempty"`
}

// Run is how the figures were measured.
type Run struct {
	Rounds int           `json:"rounds"`
	Each   time.Duration `json:"each_ns"`
	Took   time.Duration `json:"took_ns"`
	// Generator is what loaded the servers over HTTP.
	Generator string `json:"generator,omitempty"`
}

// Machine is where.
type Machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
}

// Here describes this machine.
func Here() Machine {
	return Machine{CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo") // Linux alone has it
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// compared are the modules whose versions the figures depend on.
var compared = []string{
	"github.com/alexedwards/scs/goredisstore", "github.com/alexedwards/scs/v2", "github.com/boj/redistore", "github.com/gin-contrib/sessions",
	"github.com/gin-gonic/gin", "github.com/gomodule/redigo", "github.com/gorilla/sessions", "github.com/redis/go-redis/v9", "github.com/redis/rueidis",
}

// Versions returns what was measured: Go, Redis and the modules that this program was built with.
func Versions(redis string) map[string]string {
	versions := map[string]string{"go": runtime.Version(), "redis": redis}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, dep := range build.Deps {
		for _, path := range compared {
			if dep.Path == path {
				versions[path] = dep.Version
			}
		}
	}
	return versions
}

// Write puts everything into folder dir: results.json, results.md, matrix.json, matrix.md and the charts.
func (r *Results) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "results.json"), r); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.md"), []byte(r.Markdown()), 0o644); err != nil {
		return err
	}
	if len(r.Matrix) > 0 {
		if err := writeJSON(filepath.Join(dir, "matrix.json"), r.Matrix); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "matrix.md"), []byte(matrixTable(r.Matrix).RenderMarkdown()+"\n"), 0o644); err != nil {
			return err
		}
	}
	for _, c := range r.charts() {
		if err := c.write(dir); err != nil {
			return fmt.Errorf("drawing %s: %w", c.file, err)
		}
	}
	return nil
}

func writeJSON(file string, v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	return os.WriteFile(file, text.Bytes(), 0o644)
}
