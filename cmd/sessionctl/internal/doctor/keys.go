package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

// survey is what was seen of the keys under the prefix.
type survey struct {
	sessions, indexes int // looked at; keys of devices are among the latter
	endless           tally
	bad               tally // records that do not verify, or are none
	bindings          bindings
	partly            bool // there are more than were looked at
	denied            string
	noWeight          string // why memory could not be asked for
}

// tally counts, and remembers the first as an example.
type tally struct {
	n     int
	first string
}

func (t *tally) add(example string) {
	if t.n++; t.n == 1 {
		t.first = example
	}
}

// checkKeys looks at the keys under the prefix: their TTL, whether the records
// verify, and how much memory they take.
func (x *examination) checkKeys(ctx context.Context) error {
	ring, err := record.NewRing(x.Secrets)
	if err != nil {
		return err
	}
	s := survey{bindings: bindings{of: map[string]string{}, keys: map[string]bool{}}}
	var weights []weight
	for _, n := range x.nodes {
		w := weight{node: n}
		if err := x.lookAt(ctx, n, ring, &s, &w); err != nil {
			why, ok := server.Denied(err)
			if !ok {
				return err
			}
			s.denied = why
		}
		weights = append(weights, w)
	}
	if s.denied != "" {
		x.found(cannotLook("keys", "at what lies under "+x.Prefix, s.denied))
		return nil
	}
	if err := x.findKeyless(ctx, ring, &s.bindings); err != nil {
		return err
	}
	x.found(s.ttl(), s.records(len(x.Secrets) > 0), s.binding())
	x.found(s.forecast(weights))
	return nil
}

// lookAt reads the keys of n, at most its share of the sample.
func (x *examination) lookAt(ctx context.Context, n *node, ring record.Ring, s *survey, w *weight) error {
	most := x.Sample / max(1, len(x.nodes))
	err := n.Walk(ctx, x.Prefix, func(keys []string) (bool, error) {
		w.visited += server.ScanCount
		var p page
		for _, key := range keys {
			switch server.KindOf(x.Prefix, key) {
			case server.Session:
				p.sessions = append(p.sessions, key)
			case server.Index, server.Tag:
				p.indexes = append(p.indexes, key)
			case server.Device:
				p.devices = append(p.devices, key)
			}
		}
		if err := x.read(ctx, n, ring, p, s, w); err != nil {
			return false, err
		}
		if x.Looked != nil {
			x.Looked(len(keys))
		}
		if more := x.Sample == 0 || w.sessions+w.indexes < most; !more {
			s.partly = true
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	w.keys, err = n.Client.DBSize(ctx).Result()
	if _, ok := server.Denied(err); ok {
		err = nil
	}
	return err
}

// page is the keys that one SCAN found.
type page struct{ sessions, devices, indexes []string }

// read looks at one page of keys in one round trip.
func (x *examination) read(ctx context.Context, n *node, ring record.Ring, p page, s *survey, w *weight) error {
	keys := slices.Concat(p.sessions, p.devices, p.indexes)
	if len(keys) == 0 {
		return nil
	}
	pipe := n.Client.Pipeline()
	ttls := make(map[string]*redis.DurationCmd)
	values := make(map[string]*redis.StringCmd)
	memory := make(map[string]*redis.IntCmd)
	for i, key := range keys {
		ttls[key] = pipe.PTTL(ctx, key)
		if i < len(p.sessions)+len(p.devices) {
			values[key] = pipe.Get(ctx, key)
		}
		if s.noWeight == "" && w.wants(i < len(p.sessions)) {
			memory[key] = pipe.MemoryUsage(ctx, key)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && ttls[keys[0]].Err() == nil && !replied(err) {
		return err
	}
	for _, key := range keys {
		ttl, err := ttls[key].Result()
		if err != nil {
			return err
		}
		if ttl == -1 {
			s.endless.add(key)
		}
	}
	for key, cmd := range memory {
		if why, ok := server.Denied(cmd.Err()); ok {
			s.noWeight = why
		} else if cmd.Err() == nil {
			w.add(x.Prefix, key, cmd.Val())
		}
	}
	others := len(keys) - len(p.sessions)
	w.sessions, w.indexes = w.sessions+len(p.sessions), w.indexes+others
	s.sessions, s.indexes = s.sessions+len(p.sessions), s.indexes+others
	if err := s.bindings.seeKeys(ring, p.devices, values); err != nil {
		return err
	}
	return s.verify(ring, x.Prefix, p.sessions, values)
}

// replied tells an error of one command from a failure of them all.
func replied(err error) bool {
	var reply redis.Error
	return errors.Is(err, redis.Nil) || errors.As(err, &reply)
}

// verify checks the seals, or without secrets that records are records.
func (s *survey) verify(ring record.Ring, prefix string, keys []string, values map[string]*redis.StringCmd) error {
	for _, key := range keys {
		raw, err := values[key].Result()
		switch {
		case errors.Is(err, redis.Nil): // has ended meanwhile
			continue
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			s.bad.add(strings.TrimPrefix(key, prefix))
			continue
		case err != nil:
			return err
		}
		rec, _, err := record.Present(raw).Open(ring, key)
		if err != nil {
			s.bad.add(strings.TrimPrefix(key, prefix))
		} else if rec != nil {
			s.bindings.see(strings.TrimPrefix(key, prefix), rec, keyspace.New(prefix))
		}
	}
	return nil
}

// looked says how much was looked at.
func (s *survey) looked() string {
	text := humanize.Comma(int64(s.sessions+s.indexes)) + " keys looked at"
	if s.partly {
		text += ", a sample"
	}
	return text
}

func (s *survey) ttl() Finding {
	if s.endless.n == 0 {
		return Finding{Check: "ttl", Severity: OK, Seen: s.looked() + ": each has a TTL"}
	}
	return Finding{
		Check: "ttl", Severity: Fail, Seen: fmt.Sprintf("%s of %s have no TTL, for example %s: they take memory for ever", humanize.Comma(int64(s.endless.n)), s.looked(), s.endless.first),
		Do: "find out what ran PERSIST or SET on them; `sessionctl revoke ID` ends a session, EXPIRE mends an index or a device's key (bind:…)",
	}
}

func (s *survey) records(secrets bool) Finding {
	const name = "records"
	sessions := humanize.Comma(int64(s.sessions))
	switch {
	case s.bad.n > 0 && secrets:
		return Finding{
			Check: name, Severity: Fail, Seen: fmt.Sprintf("%s of %s do not verify, for example %s: planted, altered, or sealed by a secret that is not given", humanize.Comma(int64(s.bad.n)), sessions, s.bad.first),
			Do: "give all secrets that are in use; if they are, somebody else writes to this Redis: `sessionctl revoke ID` removes the record",
		}
	case s.bad.n > 0:
		return Finding{
			Check: name, Severity: Fail, Seen: fmt.Sprintf("%s of %s are no session records, for example %s", humanize.Comma(int64(s.bad.n)), sessions, s.bad.first),
			Do: "find out who writes them; `sessionctl revoke ID` removes one",
		}
	case !secrets:
		return Finding{Check: name, Severity: Warn, Seen: sessions + " have the right form; whether they verify was not checked: no secrets given", Do: "set REDSESSION_SECRETS as the web servers have it"}
	}
	return Finding{Check: name, Severity: OK, Seen: sessions + " verify"}
}
