package importer

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/plain"
)

// OdooRecords are Odoo's sessions in Redis, as camptocamp's module session_redis keeps
// them. Make it with OdooRedis.
type OdooRecords struct {
	Common // Lifetime is for keys without a TTL, 7 days unless set
	Client redis.UniversalClient
	Prefix string
}

// OdooRedis returns the sessions under a prefix: "session:" if it is empty. Where
// ODOO_SESSION_REDIS_PREFIX is set, to "prod" for example, the prefix is "session::prod:".
// They end when the key expires. Odoo says what else is to be known; the times that the
// module marks with their type become times.
func OdooRedis(client redis.UniversalClient, prefix string) *OdooRecords {
	return &OdooRecords{Client: client, Prefix: prefix}
}

// Name is "odoo-redis".
func (o *OdooRecords) Name() string { return cmp.Or(o.Label, "odoo-redis") }

// Sessions walks over the keys.
func (o *OdooRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return o.place().records(ctx, o)
}

// Adopt takes over these sessions live, by the cookie session_id.
func (o *OdooRecords) Adopt() redsession.Legacy {
	return o.place().adopt(o, redsession.Legacy{Source: o.Name(), Cookie: "session_id", Verify: rawID(isOdooID)})
}

func (o *OdooRecords) place() place {
	return place{client: o.Client, prefix: usual(o.Prefix, "session:")}
}

func (o *OdooRecords) id(id string) bool { return isOdooID(id) }

func (o *OdooRecords) decode(id string, data []byte, ttl time.Duration) (redsession.LegacyRecord, []string, error) {
	rec := redsession.LegacyRecord{Source: o.Name(), ID: id, ExpiresAt: ends(ttl, cmp.Or(o.Lifetime, odooLifetime))}
	return o.odoo(rec, data)
}

func (o *OdooRecords) estimate(ctx context.Context) (int, error) { return o.place().estimate(ctx) }

// untagged returns v with times in the place of {"_type": "datetime_isoformat", …}, and
// the text of a date in the place of {"_type": "date_isoformat", …}.
func untagged(v any) any {
	switch v := v.(type) {
	case map[string]any:
		text, _ := v["value"].(string)
		switch v["_type"] {
		case "datetime_isoformat":
			return isoTime(text)
		case "date_isoformat":
			return text
		}
		for key, item := range v {
			v[key] = untagged(item)
		}
	case []any:
		for i, item := range v {
			v[i] = untagged(item)
		}
	}
	return v
}

// isoTime reads what isoformat() of Python's datetime writes, and returns the text itself
// if it is none of that.
func isoTime(text string) any {
	if t, err := time.Parse("2006-01-02T15:04:05.999999Z07:00", text); err == nil {
		return t
	}
	if t, err := time.Parse("2006-01-02T15:04:05.999999", text); err == nil {
		return plain.Noted{Value: t, Note: plain.NoteZone}
	}
	return text
}
