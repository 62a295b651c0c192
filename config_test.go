package redsession_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestConfigShowsNoSecret(t *testing.T) {
	t.Parallel()
	c := redsession.Config{URL: "redis://alice:hunter2@localhost:1/0?client_name=hunter2", Secrets: [][]byte{stage.Secret}, Logger: slog.New(slog.DiscardHandler)}
	m, err := redsession.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	for name, v := range map[string]any{"a Config": c, "its pointer": &c, "a Manager": m, "an Admin": m.Admin, "within another value": struct{ C redsession.Config }{c}, "in a list": []any{c, m}} {
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("shown", "value", v)
		for verb, text := range map[string]string{
			"%v": fmt.Sprintf("%v", v), "%+v": fmt.Sprintf("%+v", v), "%#v": fmt.Sprintf("%#v", v), "%s": fmt.Sprintf("%s", v), "%d": fmt.Sprintf("%d", v), "Println": fmt.Sprintln(v), "a log": log.String(),
		} {
			for _, hidden := range []string{"hunter2", string(stage.Secret), fmt.Sprint(stage.Secret)[1:40], fmt.Sprintf("%x", stage.Secret)} {
				if strings.Contains(text, hidden) {
					t.Errorf("%s by %s shows %s: %s", name, verb, hidden, text)
				}
			}
		}
	}
}
