package redsessionprom_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

const dashboardFile = "../../docs/grafana-dashboard.json"

// dashboard is what Grafana reads of a dashboard, as far as it matters here.
type dashboard struct {
	Title         string
	UID           string
	SchemaVersion int
	Templating    struct{ List []variable }
	Panels        []panel
}

type variable struct{ Name, Type, Definition string }

type panel struct {
	ID         int
	Type       string
	Title      string
	GridPos    struct{ H, W, X, Y int }
	Datasource *struct{ Type, UID string }
	Targets    []struct {
		Expr       string
		RefID      string
		Datasource *struct{ Type, UID string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	raw, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatalf("reading the dashboard: %v", err)
	}
	var d dashboard
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatalf("decoding the dashboard: %v", err)
	}
	return d
}

var metricInQuery = regexp.MustCompile(`redsession_\w+`)

func TestDashboardQueriesEveryMetricAndNoOther(t *testing.T) {
	exposed := gather(t, numbered())
	shown := map[string]bool{}
	note := func(where, query string) {
		for _, name := range metricInQuery.FindAllString(query, -1) {
			if _, ok := exposed[name]; !ok {
				t.Errorf("%s asks for %s, which is not exposed", where, name)
			}
			shown[name] = true
		}
	}
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			note("panel "+p.Title, target.Expr)
		}
	}
	for name := range exposed {
		if !shown[name] {
			t.Errorf("%s is on no panel", name)
		}
	}
	for _, v := range d.Templating.List {
		note("variable "+v.Name, v.Definition)
	}
}

func TestDashboardIsOneThatGrafana10Imports(t *testing.T) {
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" {
		t.Errorf("got title %q and uid %q, want both", d.Title, d.UID)
	}
	// Grafana migrates older dashboards and not newer ones; 39 is what 10.3 writes.
	if d.SchemaVersion < 36 || d.SchemaVersion > 39 {
		t.Errorf("got schema version %d, want one of 36 to 39", d.SchemaVersion)
	}
	if len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" {
		t.Errorf("got variables %+v, want the data source first", d.Templating.List)
	}
	ids, at := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, taken := ids[p.ID]; taken || p.ID == 0 {
			t.Errorf("panel %q has the id %d, as has %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := at[[2]int{x, y}]; taken {
					t.Fatalf("panel %q lies over %q", p.Title, other)
				}
				at[[2]int{x, y}] = p.Title
			}
		}
		if p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is %d wide at %d, want it within 24 columns", p.Title, p.GridPos.W, p.GridPos.X)
		}
		if p.Type != "row" {
			checkQueries(t, p)
		}
	}
}

func checkQueries(t *testing.T, p panel) {
	t.Helper()
	if len(p.Targets) == 0 {
		t.Errorf("panel %q has no query", p.Title)
	}
	if p.Datasource == nil || p.Datasource.UID != "${datasource}" {
		t.Errorf("panel %q has the data source %v, want the variable", p.Title, p.Datasource)
	}
	for _, target := range p.Targets {
		if target.Datasource == nil || target.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q, query %s has the data source %v, want the variable", p.Title, target.RefID, target.Datasource)
		}
		if strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
			t.Errorf("panel %q, query %s: parentheses do not match: %s", p.Title, target.RefID, target.Expr)
		}
	}
}
