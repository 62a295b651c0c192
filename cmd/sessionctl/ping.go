package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// pong is what ping prints.
type pong struct {
	Place    string  `json:"place"`
	Server   string  `json:"server"`
	Version  string  `json:"version"`
	Topology string  `json:"topology"` // single, cluster or sentinel
	Role     string  `json:"role"`
	Masters  int     `json:"masters"`
	Replicas *int64  `json:"replicas"` // null where this user may not see them
	TripMS   float64 `json:"round_trip_ms"`
}

func pingCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "ping", Category: "Redis", Usage: "reach Redis and say what it is",
		UsageText: "sessionctl ping",
		Description: `Connects, and prints version, topology and the round-trip time: the median of
five PINGs, of the slowest master of a cluster.

Examples:
   sessionctl --url redis://localhost:6379/0 ping
   REDSESSION_URL=redis+cluster://h1:6379,h2:6379 sessionctl ping --json

JSON: {"place","server","version","topology","role","masters","replicas","round_trip_ms"}`,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			t, err := c.open(ctx, cmd)
			if err != nil {
				return err
			}
			defer t.close()
			p, err := t.ping(ctx)
			if err != nil {
				return err
			}
			p.Place = c.place
			if cmd.Bool("json") {
				return c.printJSON(p)
			}
			return c.facts([][2]string{
				{"reached", p.Place},
				{"version", p.Server + " " + p.Version},
				{"topology", p.describe()},
				{"round trip", fmt.Sprintf("%.2f ms, median of %d", p.TripMS, pings)},
			})
		},
	}
}

func (p pong) describe() string {
	replicas := "replicas unknown: needs +info"
	if p.Replicas != nil {
		replicas = plural(int(*p.Replicas), "replica")
	}
	switch p.Topology {
	case "cluster":
		return fmt.Sprintf("cluster of %s, %s", plural(p.Masters, "master"), replicas)
	case "sentinel":
		return "master watched by sentinels, " + replicas
	}
	return fmt.Sprintf("single server, %s, %s", p.Role, replicas)
}

// ping asks every master what it is.
func (t *target) ping(ctx context.Context) (pong, error) {
	p := pong{Topology: t.topology()}
	nodes, err := server.Masters(ctx, t.client)
	if err != nil {
		return p, err
	}
	if p.Masters = len(nodes); p.Masters == 0 {
		return p, errors.New("the cluster has no masters")
	}
	var replicas int64
	p.Replicas = &replicas
	for i, node := range nodes {
		trip, err := roundTrip(ctx, node.Client)
		if err != nil {
			return p, err
		}
		p.TripMS = max(p.TripMS, milliseconds(trip))
		if i == 0 {
			hello, err := server.Greet(ctx, node.Client)
			if err != nil {
				return p, err
			}
			p.Server, p.Version, p.Role = hello.Server, hello.Version, hello.Role
		}
		info, err := server.ReadInfo(ctx, node.Client)
		if err != nil {
			if _, denied := server.Denied(err); !denied {
				return p, err
			}
			p.Replicas = nil
		}
		replicas += info.Int("connected_slaves")
	}
	return p, nil
}

// topology is how sessions are spread, by the URL.
func (t *target) topology() string {
	scheme, _, _ := strings.Cut(t.url, "://")
	if _, kind, ok := strings.Cut(scheme, "+"); ok {
		return kind
	}
	return "single"
}

const pings = 5

// roundTrip is the median time of a few PINGs, on a connection that is open.
func roundTrip(ctx context.Context, client redis.UniversalClient) (time.Duration, error) {
	var took []time.Duration
	for range pings + 1 {
		began := time.Now()
		if err := client.Ping(ctx).Err(); err != nil {
			if _, denied := server.Denied(err); !denied { // that is an answer as well
				return 0, err
			}
		}
		took = append(took, time.Since(began))
	}
	took = took[1:] // which may have connected
	slices.Sort(took)
	return took[len(took)/2], nil
}

// facts prints names and values in two columns, on a terminal a name that comes
// again only once.
func (c *console) facts(list [][2]string) error {
	widest := 0
	for _, f := range list {
		widest = max(widest, len(f[0]))
	}
	var b strings.Builder
	for i, f := range list {
		if c.width == 0 {
			fmt.Fprintf(&b, "%s\t%s\n", f[0], f[1])
			continue
		}
		name := f[0]
		if i > 0 && name == list[i-1][0] {
			name = ""
		}
		fmt.Fprintf(&b, "%s  %s\n", c.paint(fmt.Sprintf("%-*s", widest, name), text.Bold), f[1])
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

// noArguments refuses what the command has no use for.
func noArguments(cmd *cli.Command) error {
	if extra := cmd.Args().First(); cmd.Args().Present() {
		return usagef("%s takes no argument, and got %q: `sessionctl %[1]s --help` shows examples", cmd.Name, extra)
	}
	return nil
}
