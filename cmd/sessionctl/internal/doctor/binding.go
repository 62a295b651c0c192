package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

const (
	waitingLife = 10 * time.Minute // of the key of a device whose session does not belong to it yet
	manyKeys    = 10               // of devices for one login, of which a browser registers one
	manyWaiting = 10               // devices of which none got its session
)

// bindings is what was seen of sessions that belong to devices, and of the keys of devices.
type bindings struct {
	logins, bound int            // of the sessions
	devices       int            // keys of devices
	planted       tally          // of these
	keyless       tally          // sessions whose device's key is gone
	waiting       map[string]int // devices that registered in the last minutes, by the id of their binding
}

// addDevice looks at the key of a device.
func (b *bindings) addDevice(ring record.Ring, prefix, key string, value *redis.StringCmd, ttl time.Duration) {
	raw, err := value.Result()
	if err == redis.Nil {
		return
	}
	b.devices++
	if _, sealed := record.OpenDevice(ring, key, raw); err != nil || sealed != nil && (sealed != record.ErrSeal || len(ring) > 0) {
		b.planted.add(key)
		return
	}
	if ttl > 0 && ttl <= waitingLife {
		identifier, _ := keyspace.New(prefix).Device(key)
		bindingID, _, _ := strings.Cut(identifier, ".")
		if b.waiting == nil {
			b.waiting = make(map[string]int)
		}
		b.waiting[bindingID]++
	}
}

// lookForDevices looks for the keys of the devices that sessions belong to: bound has the
// identifiers by the keys of these. A session without one is looked at again, as it may have
// ended meanwhile.
func (x *examination) lookForDevices(ctx context.Context, ring record.Ring, bound map[string]string, b *bindings) error {
	for _, again := range []bool{false, true} {
		if len(bound) == 0 {
			return nil
		}
		pipe := x.Client.Pipeline()
		answers := make(map[string]*redis.StringCmd)
		for key, identifier := range bound {
			if !again {
				key = keyspace.New(x.Prefix).Binding(identifier)
			}
			answers[identifier] = pipe.Get(ctx, key)
		}
		if _, err := pipe.Exec(ctx); err != nil && !replied(err) {
			return err
		}
		for key, identifier := range bound {
			raw, err := answers[identifier].Result()
			switch {
			case err != nil && err != redis.Nil:
				return err
			case !again && err == nil:
				delete(bound, key)
			case again && err == nil:
				if rec, _, err := record.Present(raw).Open(ring, key); err == nil && rec != nil && rec.Device() == identifier {
					b.keyless.add(strings.TrimPrefix(key, x.Prefix))
				}
			}
		}
	}
	return nil
}

// findings says what is wrong with bindings, and then how many there are.
func (b *bindings) findings(partly bool) (all []Finding) {
	const name = "binding"
	add := func(s Severity, seen, do string) { all = append(all, one(name, s, seen, do)...) }
	waiting, most, binding := 0, 0, ""
	for id, n := range b.waiting {
		if waiting += n; n > most || n == most && id < binding {
			most, binding = n, id
		}
	}
	if b.planted.n > 0 {
		add(Fail, fmt.Sprintf("%s of %s keys of devices do not verify, for example %s: planted, altered, or sealed by a secret that is not given; the browser's proofs are answered 503", comma(b.planted.n), comma(b.devices), b.planted.first),
			"give all secrets that are in use; if they are, somebody else writes to this Redis: DEL takes the key away, and its user logs in again")
	}
	if b.keyless.n > 0 {
		add(Fail, fmt.Sprintf("%s of %s bound sessions have no key of their device, for example %s: their users are locked out within minutes", comma(b.keyless.n), comma(b.bound), b.keyless.first),
			"find out what takes those keys away: eviction, a DEL, an ACL; `sessionctl revoke ID` lets the user log in again")
	}
	if most > manyKeys {
		add(Warn, fmt.Sprintf("%s keys of devices were registered for one login (binding %s) in the last 10 minutes; a browser registers one", comma(most), binding),
			"somebody fills the memory: limit POST requests below DeviceBinding.Path, and answer what is too much with 503, since browsers drop their keys at 4xx")
	}
	if b.bound == 0 && len(b.waiting) > manyWaiting && !partly {
		add(Warn, fmt.Sprintf("%s devices have registered in the last 10 minutes, and no session belongs to one", comma(waiting)),
			"the second cookie does not come back: see that nothing in front drops Set-Cookie or Cookie fields, and that all servers have the same secrets")
	}
	return append(all, one(name, OK, b.text(partly, waiting), "")...)
}

// text says how many sessions belong to devices.
func (b *bindings) text(partly bool, waiting int) string {
	if b.bound+b.devices == 0 {
		return fmt.Sprintf("no session belongs to a device (%s logins looked at)", comma(b.logins))
	}
	text := fmt.Sprintf("%s of %s logins belong to a device", comma(b.bound), comma(b.logins))
	if over := b.devices - b.bound; over > 0 && !partly {
		text += fmt.Sprintf("; %s more keys of devices than that, %s of these young: of logins that may be bound yet, and of sessions that have ended by time; they go by themselves", comma(over), comma(min(waiting, over)))
	}
	return text
}

func comma(n int) string { return humanize.Comma(int64(n)) }
