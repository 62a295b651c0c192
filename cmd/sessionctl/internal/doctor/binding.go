package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

// manyOffers is how many logins must have been offered a binding, and none taken it, before
// that is more than a few browsers that cannot.
const manyOffers = 20

// bindings is what was seen of sessions that belong to devices.
type bindings struct {
	logins, offered, bound int
	of                     map[string]string // the session of a device's key, for those that were looked at
	keys                   map[string]bool   // of devices
	keyless                tally             // bound sessions whose device's key is gone
	bad                    tally             // keys of devices that do not verify
}

// see counts one session.
func (b *bindings) see(id string, rec *record.Record, space keyspace.Space) {
	if !rec.LoggedIn() {
		return
	}
	b.logins++
	if rec.Binding != "" {
		b.offered++
	}
	if rec.Bound() {
		b.bound++
		b.of[space.Binding(rec.Device())] = id
	}
}

// seeKeys checks the keys of devices.
func (b *bindings) seeKeys(ring record.Ring, keys []string, values map[string]*redis.StringCmd) error {
	for _, key := range keys {
		raw, err := values[key].Result()
		if errors.Is(err, redis.Nil) { // its session has ended meanwhile
			continue
		}
		if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return err
		}
		b.keys[key] = true
		if err == nil {
			_, err = record.OpenDevice(ring, key, raw)
		}
		if err != nil && (len(ring) > 0 || !errors.Is(err, record.ErrSeal)) {
			b.bad.add(key)
		}
	}
	return nil
}

// findKeyless asks for the keys of devices that were not come across, and once more for the
// sessions of those that are not there, which may have ended meanwhile.
func (x *examination) findKeyless(ctx context.Context, ring record.Ring, b *bindings) error {
	var unseen []string
	for key := range b.of {
		if !b.keys[key] {
			unseen = append(unseen, key)
		}
	}
	slices.Sort(unseen)
	for some := range slices.Chunk(unseen, server.ScanCount) {
		there, err := x.fetch(ctx, some)
		if err != nil {
			return err
		}
		var sessions []string
		for i, key := range some {
			if there[i].Absent() {
				sessions = append(sessions, x.Prefix+b.of[key])
			}
		}
		again, err := x.fetch(ctx, sessions)
		if err != nil {
			return err
		}
		for i, key := range sessions {
			if rec, _, err := again[i].Open(ring, key); err == nil && rec != nil && rec.Bound() {
				b.keyless.add(key[len(x.Prefix):])
			}
		}
	}
	return nil
}

// fetch reads keys, wherever in a cluster they lie.
func (x *examination) fetch(ctx context.Context, keys []string) ([]record.Value, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	pipe := x.Client.Pipeline()
	cmds := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		cmds[i] = pipe.Get(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	values := make([]record.Value, len(keys))
	for i, cmd := range cmds {
		switch raw, err := cmd.Result(); {
		case errors.Is(err, redis.Nil):
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			values[i] = record.Present("")
		case err != nil:
			return nil, err
		default:
			values[i] = record.Present(raw)
		}
	}
	return values, nil
}

// binding says how many logins belong to devices, and whether those can prove themselves.
func (s *survey) binding() Finding {
	const name = "device binding"
	b := &s.bindings
	seen := fmt.Sprintf("%s of %s logins are bound to a device", humanize.Comma(int64(b.bound)), humanize.Comma(int64(b.logins)))
	if open := b.offered - b.bound; open > 0 {
		seen += fmt.Sprintf(", %s were offered it, and their browsers cannot or have not yet", humanize.Comma(int64(open)))
	}
	idle := 0
	for key := range b.keys {
		if b.of[key] == "" {
			idle++
		}
	}
	switch {
	case b.bad.n > 0:
		return Finding{
			Check: name, Severity: Fail, Seen: fmt.Sprintf("%s of %s devices' keys do not verify, for example %s: planted, altered, or sealed by a secret that is not given; their users are locked out within minutes", humanize.Comma(int64(b.bad.n)), humanize.Comma(int64(len(b.keys))), b.bad.first),
			Do: "give all secrets that are in use; if they are, somebody else writes to this Redis: delete the key, and its user logs in again",
		}
	case b.keyless.n > 0:
		return Finding{
			Check: name, Severity: Fail, Seen: fmt.Sprintf("%s; %s of them have no device's key, for example %s: their browsers cannot prove themselves, and their users are locked out within minutes", seen, humanize.Comma(int64(b.keyless.n)), b.keyless.first),
			Do: "find out what removed keys with bind: after the prefix: eviction, DEL, or a restore of sessions alone; a new login helps each user",
		}
	case b.bound == 0 && b.offered >= manyOffers:
		return Finding{
			Check: name, Severity: Warn, Seen: seen + ": no browser has taken the offer",
			Do: "check that Config.DeviceBinding.Path is reached from outside, over HTTPS with a certificate that browsers trust, and that no proxy takes Secure-Session headers off or answers it by itself",
		}
	case idle > 0 && !s.partly:
		seen += fmt.Sprintf("; %s devices' keys are of sessions that have ended or begin, and end by themselves", humanize.Comma(int64(idle)))
	}
	return Finding{Check: name, Severity: OK, Seen: seen}
}
