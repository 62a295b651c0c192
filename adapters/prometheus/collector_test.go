package redsessionprom_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/redsession/redsession"
	redsessionprom "github.com/redsession/redsession/adapters/prometheus"
)

type source redsession.Stats

func (s source) Stats() redsession.Stats { return redsession.Stats(s) }

// numbered gives each field of Stats its own value: that of the first is 1.
func numbered() source {
	var s redsession.Stats
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(i + 1))
	}
	return source(s)
}

var capital = regexp.MustCompile(`([a-z])([A-Z])`)

func metricName(field string) string {
	return "redsession_" + strings.ToLower(capital.ReplaceAllString(field, "${1}_$2")) + "_total"
}

// gather returns the values of what a registry with New(s) exposes.
func gather(t *testing.T, s redsessionprom.Source) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(redsessionprom.New(s)); err != nil {
		t.Fatalf("registering: %v", err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("gathering: %v", err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if n := len(f.GetMetric()); n != 1 {
			t.Fatalf("%s: got %d metrics, want 1", f.GetName(), n)
		}
		m := f.GetMetric()[0]
		if len(m.GetLabel()) > 0 {
			t.Errorf("%s: got labels %v, want none", f.GetName(), m.GetLabel())
		}
		if m.GetCounter() == nil {
			t.Errorf("%s: got %v, want a counter", f.GetName(), f.GetType())
		}
		values[f.GetName()] = m.GetCounter().GetValue()
	}
	return values
}

func TestEveryFieldOfStatsIsAMetric(t *testing.T) {
	got := gather(t, numbered())
	fields := reflect.TypeFor[redsession.Stats]()
	if len(got) != fields.NumField() {
		t.Errorf("got %d metrics, want %d, as many as Stats has fields", len(got), fields.NumField())
	}
	for i := range fields.NumField() {
		name := metricName(fields.Field(i).Name)
		if v, ok := got[name]; !ok || v != float64(i+1) {
			t.Errorf("%s: got %v (%t), want %d, the value of Stats.%s", name, v, ok, i+1, fields.Field(i).Name)
		}
	}
}

func TestNamesAndHelpPassTheLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(redsessionprom.New(numbered()))
	if err != nil {
		t.Fatalf("linting: %v", err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTwoManagersAreToldApartByALabel(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, app := range []string{"shop", "office"} {
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"app": app}, registry)
		if err := labelled.Register(redsessionprom.New(numbered())); err != nil {
			t.Fatalf("registering %s: %v", app, err)
		}
	}
	if err := registry.Register(redsessionprom.New(numbered())); err == nil {
		t.Error("a collector without the label: got no error, want a refusal")
	}
	n, err := testutil.GatherAndCount(registry, "redsession_hits_total")
	if err != nil || n != 2 {
		t.Errorf("redsession_hits_total: got %d metrics and error %v, want 2", n, err)
	}
}
