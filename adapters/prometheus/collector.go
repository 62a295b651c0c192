// Package redsessionprom exposes what a redsession.Manager counts to Prometheus.
//
//	registry.MustRegister(redsessionprom.New(m))
//
// docs/grafana-dashboard.json of the repository shows these metrics, and
// docs/operations.md says which of them to alert on.
package redsessionprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/redsession/redsession"
)

// Source is what is counted: a *redsession.Manager.
type Source interface{ Stats() redsession.Stats }

// New returns a collector of every counter of m, one metric each, with no label:
// neither an id nor a user reaches Prometheus. The counters begin at zero with
// the Manager; Redis is not asked. The collector is safe for concurrent use.
//
// A registry takes one of them. Tell several Managers of a process apart by
// prometheus.WrapRegistererWith and a label of your own.
func New(m Source) prometheus.Collector { return collector{m} }

type collector struct{ source Source }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	stats := c.source.Stats()
	for _, m := range metrics {
		out <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.value(&stats)))
	}
}

type metric struct {
	desc  *prometheus.Desc
	value func(*redsession.Stats) uint64
}

func counter(name, help string, value func(*redsession.Stats) uint64) metric {
	return metric{prometheus.NewDesc("redsession_"+name+"_total", help, nil, nil), value}
}

// metrics are the fields of redsession.Stats, in their order: the field's name
// in snake case between redsession_ and _total.
var metrics = [...]metric{
	counter("hits", "Requests whose session was found. Compare with misses.",
		func(s *redsession.Stats) uint64 { return s.Hits }),
	counter("misses", "Requests without a session, those without a cookie included. A sudden rise beside falling hits: sessions or secrets were lost; look at refused and expired, and at evicted_keys of Redis.",
		func(s *redsession.Stats) uint64 { return s.Misses }),
	counter("refused", "Cookies and records that were not accepted. A few are old or foreign cookies. A rise: a server lacks a secret that the others sign with, or somebody guesses; the refused events have the reason and the address.",
		func(s *redsession.Stats) uint64 { return s.Refused }),
	counter("created", "Anonymous sessions stored. A rise without visitors: robots make sessions; set Config.Skip for what needs none.",
		func(s *redsession.Stats) uint64 { return s.Created }),
	counter("logins", "Logins, a passed second factor included. A rise without cause: users had to log in again, or stolen passwords are tried.",
		func(s *redsession.Stats) uint64 { return s.Logins }),
	counter("logouts", "Sessions ended at their user's wish.",
		func(s *redsession.Stats) uint64 { return s.Logouts }),
	counter("rotated", "Timed rotations of logged-in sessions.",
		func(s *redsession.Stats) uint64 { return s.Rotated }),
	counter("bound", "Sessions that were bound to a device. Compare with logins: the share of browsers that can.",
		func(s *redsession.Stats) uint64 { return s.Bound }),
	counter("locked", "Requests of bound sessions without their device's cookie. A few are links from other sites. A rise: cookies were copied and are tried, or browsers cannot reach the endpoints of device binding; the refused events have the address.",
		func(s *redsession.Stats) uint64 { return s.Locked }),
	counter("proofs", "Proofs of a device that were accepted, about one in eight minutes for each bound session in use.",
		func(s *redsession.Stats) uint64 { return s.Proofs }),
	counter("revoked", "Sessions ended by somebody else: an operator of this process, Config.MaxPerUser, a changed user stamp. Those that sessionctl ends are not counted here.",
		func(s *redsession.Stats) uint64 { return s.Revoked }),
	counter("expired", "Cookies that came after their session had ended by time or was taken away. A rise beside falling hits: Redis has lost records; check its eviction policy, persistence and last failover.",
		func(s *redsession.Stats) uint64 { return s.Expired }),
	counter("replayed", "Rotated ids used after their grace: the cookie may be stolen. End what became of it by the id in the replayed event: sessionctl revoke ID.",
		func(s *redsession.Stats) uint64 { return s.Replayed }),
	counter("commits", "Write-backs that Redis acknowledged.",
		func(s *redsession.Stats) uint64 { return s.Commits }),
	counter("conflicts", "Write-backs that another request had overtaken and that were merged and tried again. Many for each commit: parallel requests of one session write; write less, or to fewer keys.",
		func(s *redsession.Stats) uint64 { return s.Conflicts }),
	counter("gone", "Changes refused because their session had ended meanwhile, answered 409. A few follow every logout and revocation.",
		func(s *redsession.Stats) uint64 { return s.Gone }),
	counter("failed", "Loads and commits answered with an error. If outages rise too, Redis is away; otherwise it may refuse a command, as when its memory is full: the failed events name command and reply.",
		func(s *redsession.Stats) uint64 { return s.Failed }),
	counter("expire_failed", "Hits whose EXPIRE Redis refused, so that active sessions are about to end: a read-only replica answers, or the ACL lacks EXPIRE.",
		func(s *redsession.Stats) uint64 { return s.ExpireFailed }),
	counter("degraded", "Requests served from memory while Redis was away. A rise: Redis or the network to it fails; after Config.OutageMaxStale these become 503.",
		func(s *redsession.Stats) uint64 { return s.Degraded }),
	counter("outages", "Times that a primary of Redis could no longer be read, or no longer be written; a primary that is gone counts twice. Each deserves a look at Redis and the network.",
		func(s *redsession.Stats) uint64 { return s.Outages }),
}
