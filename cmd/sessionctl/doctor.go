package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession/cmd/sessionctl/internal/doctor"
)

// diagnosis is what doctor prints.
type diagnosis struct {
	Findings []doctor.Finding `json:"findings"`
	OK       int              `json:"ok"`
	Warn     int              `json:"warn"`
	Fail     int              `json:"fail"`
}

func doctorCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "doctor", Category: "Redis", Usage: "look for what may cost or betray sessions, and say what to do",
		UsageText: "sessionctl doctor [--sample N] [--outage-wait DURATION]",
		Description: `Looks at version, eviction, memory, persistence, replication, latency, slow
commands, TLS, the default user, what this user may run, a cluster's slots, the
sentinels' quorum, whether a failover is over before requests give up waiting,
whether a primary without its replicas stops to acknowledge, and at keys under the
prefix: whether each has a TTL, whether the records verify (with REDSESSION_SECRETS),
how many logins are bound to devices and whether those can prove themselves, how much
memory a session takes and how many more fit. It changes nothing. What
this user or a managed service does not allow to be seen is a finding of its own.

Exit code 1 if any finding is "fail".

Examples:
   sessionctl doctor
   sessionctl doctor --sample 0 --outage-wait 8s
   sessionctl doctor --json | jq -r '.findings[] | select(.severity != "ok") | .check + ": " + .do'

JSON: {"findings":[{"check","severity","node","seen","do"}],"ok","warn","fail"};
severity is "ok", "warn" or "fail".`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "sample", Value: 10_000, Usage: "how many keys to look at (0: all)"},
			&cli.DurationFlag{Name: "outage-wait", Value: 5 * time.Second, Usage: "how long the web servers let a request wait for Redis, their Config.OutageWait (0: they do not)"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error { return c.doctor(ctx, cmd) },
	}
}

func (c *console) doctor(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	sample := cmd.Int("sample")
	if sample < 0 {
		return usagef("--sample is %d, want 0 for all keys, or more", sample)
	}
	t, err := c.open(ctx, cmd)
	if err != nil {
		return err
	}
	defer t.close()
	p := c.newProgress("examining", c.howMany(ctx, t, sample))
	findings, err := doctor.Examine(ctx, doctor.Options{
		URL: t.url, Client: t.client, Prefix: t.prefix, Secrets: t.env.Secrets,
		Sample: sample, Timeout: cmd.Duration("timeout"), OutageWait: cmd.Duration("outage-wait"), Looked: p.add,
	})
	p.clear()
	if err != nil {
		return err
	}
	return c.diagnose(findings, cmd.Bool("json"))
}

func (c *console) diagnose(findings []doctor.Finding, json bool) error {
	d := diagnosis{Findings: findings}
	for _, f := range findings {
		switch f.Severity {
		case doctor.OK:
			d.OK++
		case doctor.Warn:
			d.Warn++
		default:
			d.Fail++
		}
	}
	var err error
	if json {
		err = c.printJSON(d)
	} else {
		_, err = io.WriteString(c.out, c.findings(d))
	}
	if err == nil && d.Fail > 0 {
		err = errSaid
	}
	return err
}

// findings lays out what was found: on a terminal in paragraphs, elsewhere one a
// line, tab-separated: severity, check, node, what was seen, what to do.
func (c *console) findings(d diagnosis) string {
	var b strings.Builder
	for _, f := range d.Findings {
		if c.width == 0 {
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", f.Severity, f.Check, f.Node, clean(f.Seen), clean(f.Do))
			continue
		}
		colour := map[doctor.Severity]text.Color{doctor.OK: text.FgGreen, doctor.Warn: text.FgYellow, doctor.Fail: text.FgRed}[f.Severity]
		seen := clean(f.Seen)
		if f.Node != "" {
			seen = f.Node + ": " + seen
		}
		const indent = 6 + 20 // severity and check
		lines := paragraph(seen, c.width-indent)
		if f.Do != "" {
			lines = append(lines, paragraph("→ "+clean(f.Do), c.width-indent)...)
		}
		fmt.Fprintf(&b, "%s%-20s%s\n", c.paint(fmt.Sprintf("%-6s", f.Severity), colour, text.Bold), f.Check, lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(&b, "%*s%s\n", indent, "", line)
		}
	}
	if c.width > 0 {
		fmt.Fprintf(&b, "\n%d ok, %d to think about, %d to mend\n", d.OK, d.Warn, d.Fail)
	}
	return b.String()
}

// paragraph breaks s between words into lines of width.
func paragraph(s string, width int) []string {
	lines := strings.Split(text.WrapSoft(s, max(width, 30)), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ") // which WrapSoft fills up with
	}
	return lines
}
