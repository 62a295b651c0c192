package redsessionprom_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var alertRule = regexp.MustCompile(`(?m)^ *- alert: (\w+).*\n *expr: (.+)$`)

func TestAlertsAskForMetricsThatAreExposed(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatalf("reading the document: %v", err)
	}
	rules := alertRule.FindAllStringSubmatch(string(raw), -1)
	if n := strings.Count(string(raw), "- alert: "); n == 0 || len(rules) != n {
		t.Fatalf("got %d rules of %d alerts, want one each", len(rules), n)
	}
	exposed := gather(t, numbered())
	for _, rule := range rules {
		name, query := rule[1], rule[2]
		asked := metricInQuery.FindAllString(query, -1)
		if len(asked) == 0 {
			t.Errorf("%s asks for no metric", name)
		}
		for _, metric := range asked {
			if _, ok := exposed[metric]; !ok {
				t.Errorf("%s asks for %s, which is not exposed", name, metric)
			}
		}
		if strings.Count(query, "(") != strings.Count(query, ")") {
			t.Errorf("%s: parentheses do not match: %s", name, query)
		}
	}
}
