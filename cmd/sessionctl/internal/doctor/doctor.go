// Package doctor looks for what may cost sessions, or betray them: in how a
// Redis is set up, in how it does, and in what lies in it.
package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// Severity is how bad a finding is.
type Severity string

// What is Warn will hurt one day, or could not be looked at; what is Fail hurts
// now.
const (
	OK   Severity = "ok"
	Warn Severity = "warn"
	Fail Severity = "fail"
)

// Finding is what was seen, and what to do about it.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Node     string   `json:"node,omitempty"` // of a cluster; empty when it holds for all
	Seen     string   `json:"seen"`
	Do       string   `json:"do,omitempty"`
}

// Options says what to look at.
type Options struct {
	URL     string // that Client was made of
	Client  redis.UniversalClient
	Prefix  string
	Secrets [][]byte // to check records; may be empty
	Sample  int      // how many keys to look at; 0 is all
	Timeout time.Duration
	// OutageWait is how long the web servers let a request wait for Redis to come back;
	// nobody waits if it is not positive.
	OutageWait time.Duration
	// Looked is called with how many keys have been looked at; may be nil.
	Looked func(keys int)
}

// examination is one run of Examine.
type examination struct {
	Options
	nodes    []*node
	findings []Finding
}

// node is one master and what it says of itself.
type node struct {
	server.Node
	hello  server.Greeting
	info   server.Info // nil if this user may not see it
	denied string      // why
}

// Examine looks at everything and returns what it found, in a fixed order. What
// this user, or this service, does not allow to be seen is a finding. The error
// is that Redis could not be asked at all.
func Examine(ctx context.Context, o Options) ([]Finding, error) {
	x := &examination{Options: o}
	if err := x.meet(ctx); err != nil {
		return nil, err
	}
	steps := []func(context.Context) error{
		x.checkCluster, x.each(checkNodeTimeout), x.checkSentinels,
		x.each(checkVersion), x.each(checkEviction), x.each(checkMemory), x.each(checkPersistence), x.each(checkReplication), x.each(checkCutOff),
		x.each(checkLatency), x.each(checkSlowLog), x.checkTransport, x.each(checkDefaultUser), x.each(checkDangers),
		x.checkKeys,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return x.findings, nil
}

// meet asks every master who it is.
func (x *examination) meet(ctx context.Context) error {
	nodes, err := server.Masters(ctx, x.Client)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		m := &node{Node: n}
		if m.hello, err = server.Greet(ctx, n.Client); err != nil {
			return err
		}
		if m.info, err = server.ReadInfo(ctx, n.Client); err != nil {
			var ok bool
			if m.denied, ok = server.Denied(err); !ok {
				return err
			}
		}
		x.nodes = append(x.nodes, m)
	}
	if len(x.nodes) > 0 && x.nodes[0].info == nil {
		x.found(cannotLook("info", "at eviction, memory, persistence and replication", x.nodes[0].denied))
	}
	return nil
}

// check looks at one thing of one node.
type check func(ctx context.Context, x *examination, n *node) ([]Finding, error)

// each runs c on every node. What is the same on all is said once.
func (x *examination) each(c check) func(context.Context) error {
	return func(ctx context.Context) error {
		var all []Finding
		same := true
		var first []Finding
		for i, n := range x.nodes {
			found, err := c(ctx, x, n)
			if err != nil {
				return err
			}
			if i == 0 {
				first = found
			}
			same = same && fmt.Sprint(found) == fmt.Sprint(first)
			for _, f := range found {
				if len(x.nodes) > 1 {
					f.Node = n.Addr
				}
				all = append(all, f)
			}
		}
		if same {
			all = first
		}
		x.found(all...)
		return nil
	}
}

func (x *examination) found(f ...Finding) { x.findings = append(x.findings, f...) }

func one(name string, s Severity, seen, do string) []Finding {
	return []Finding{{Check: name, Severity: s, Seen: seen, Do: do}}
}

func cannotLook(name, at, why string) Finding {
	if at != "" {
		at = " " + at
	}
	return Finding{Check: name, Severity: Warn, Seen: "cannot look" + at + ": " + why, Do: "run doctor as a user who may, or look by hand"}
}

// denied makes a finding of an error that says that this may not be seen, and
// returns every other error.
func denied(name, at string, err error) ([]Finding, error) {
	if why, ok := server.Denied(err); ok {
		return []Finding{cannotLook(name, at, why)}, nil
	}
	return nil, err
}

// failover is what go-redis has for an address when only the dialer knows where
// the master is. Any other dialer would show o's own certificate.
const failover = "FailoverClient"

// anonymous returns a client of the same server that shows no credentials.
func (n *node) anonymous() *redis.Client {
	o := n.Client.Options()
	var dialer func(context.Context, string, string) (net.Conn, error)
	if o.Addr == failover {
		dialer = o.Dialer
	}
	var secure *tls.Config
	if o.TLSConfig != nil {
		secure = o.TLSConfig.Clone()
		secure.Certificates = nil
	}
	return redis.NewClient(&redis.Options{
		Network: o.Network, Addr: o.Addr, Dialer: dialer, TLSConfig: secure, DialTimeout: o.DialTimeout, DialerRetries: 1,
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, MaxRetries: -1, PoolSize: 1, DisableIdentity: true,
		ContextTimeoutEnabled: true, MaintNotificationsConfig: o.MaintNotificationsConfig,
	})
}
