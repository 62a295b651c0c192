// Package server asks Redis servers what they are and what they hold: through
// one client for a single server, and on every master of a cluster.
package server

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/topology"
)

// Node is one server that takes writes.
type Node struct {
	Addr   string
	Client Client
}

// Client talks to one server.
type Client interface {
	redis.UniversalClient
	Options() *redis.Options
}

// Masters returns the nodes behind client, in the order of their addresses: the
// masters of a cluster, or the one server. The clients belong to client.
func Masters(ctx context.Context, client redis.UniversalClient) (nodes []Node, err error) {
	t, err := topology.Of(client)
	if err != nil {
		return nil, fmt.Errorf("the client %w", err)
	}
	err = t.EachPrimary(ctx, func(_ context.Context, _ string, node redis.UniversalClient) error {
		c, ok := node.(Client)
		if !ok {
			return fmt.Errorf("a client of type %T does not tell its address", node)
		}
		nodes = append(nodes, Node{Addr: c.Options().Addr, Client: c})
		return nil
	})
	return nodes, err
}

// IsCluster tells whether keys are spread over several masters.
func IsCluster(client redis.UniversalClient) bool {
	t, err := topology.Of(client)
	return err == nil && t.Cluster()
}

// Greeting is what a server says of itself to everybody who may connect.
type Greeting struct {
	Server  string // "redis" or what has replaced it, as "valkey"
	Version string
	Mode    string // "standalone", "cluster" or "sentinel"
	Role    string // "master" or "replica"
}

// Greet asks by HELLO, which no ACL can take away, and before Redis 6 by INFO.
func Greet(ctx context.Context, c redis.UniversalClient) (Greeting, error) {
	reply, err := c.Do(ctx, "hello").Result()
	if err == nil {
		said := pairs(reply)
		return Greeting{Server: said["server"], Version: said["version"], Mode: said["mode"], Role: said["role"]}, nil
	}
	if !redis.HasErrorPrefix(err, "unknown command") {
		return Greeting{}, err
	}
	info, err := ReadInfo(ctx, c)
	if err != nil {
		return Greeting{}, err
	}
	role := info["role"]
	if role == "slave" {
		role = "replica"
	}
	return Greeting{Server: "redis", Version: info["redis_version"], Mode: info["redis_mode"], Role: role}, nil
}

// pairs reads a map, which RESP2 sends as a list of names and values.
func pairs(reply any) map[string]string {
	said := make(map[string]string)
	switch r := reply.(type) {
	case map[any]any:
		for name, value := range r {
			said[fmt.Sprint(name)] = fmt.Sprint(value)
		}
	case []any:
		for i := 0; i+1 < len(r); i += 2 {
			said[fmt.Sprint(r[i])] = fmt.Sprint(r[i+1])
		}
	}
	return said
}

// Info is the reply to INFO: fields by name.
type Info map[string]string

// ReadInfo asks for all that INFO tells.
func ReadInfo(ctx context.Context, c redis.UniversalClient) (Info, error) {
	text, err := c.Info(ctx, "all").Result()
	if err != nil {
		return nil, err
	}
	info := make(Info)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// Int returns a field that is a whole number, and 0 where there is none.
func (i Info) Int(name string) int64 {
	n, _ := strconv.ParseInt(i[name], 10, 64)
	return n
}

// Part returns one number out of a field of the form "calls=3,usec=7".
func (i Info) Part(name, part string) int64 {
	for item := range strings.SplitSeq(i[name], ",") {
		if key, value, _ := strings.Cut(item, "="); key == part {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// SystemMemory is how many bytes the machine, or the container, has.
func (i Info) SystemMemory() int64 { return i.Int("total_system_memory") }
