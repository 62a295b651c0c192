package importer

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// RbcervillaRecords are the sessions of rbcervilla/redisstore. Make it with Rbcervilla.
type RbcervillaRecords struct {
	Common // Lifetime is for keys without a TTL: 30 days unless set
	Client redis.UniversalClient
	Prefix string
	// BrowserSession tells of an Options.MaxAge of 0: the cookie ends with the
	// browser.
	BrowserSession bool
}

// Rbcervilla returns the sessions under a prefix, "session:" for "" and none for None,
// as gobs or as JSON. GorillaFiles says what is to be known of gobs, keys and users.
func Rbcervilla(client redis.UniversalClient, prefix string) *RbcervillaRecords {
	return &RbcervillaRecords{Client: client, Prefix: prefix}
}

// Name is "rbcervilla".
func (r *RbcervillaRecords) Name() string { return cmp.Or(r.Label, "rbcervilla") }

// Sessions walks over the keys.
func (r *RbcervillaRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return r.place().records(ctx, r)
}

// Adopt takes over these sessions live. The cookie is that of the session's name, and
// holds the id, not signed.
func (r *RbcervillaRecords) Adopt(cookie string) redsession.Legacy {
	return r.place().adopt(r, redsession.Legacy{Source: r.Name(), Cookie: cookie, Verify: rawID(r.id)})
}

func (r *RbcervillaRecords) place() place {
	return place{client: r.Client, prefix: usual(r.Prefix, "session:")}
}

// id knows 64 bytes in base32.
func (r *RbcervillaRecords) id(id string) bool { return form(id, 103, 103, isBase32) }

func (r *RbcervillaRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	values, err := gorillaValues(data)
	if err != nil {
		return rec, nil, explain(err)
	}
	rec = redsession.LegacyRecord{
		Source: r.Name(), ID: id, Persistent: !r.BrowserSession, ExpiresAt: ends(ttl, cmp.Or(r.Lifetime, gorillaAge)),
	}
	return r.finish(rec, values)
}

func (r *RbcervillaRecords) estimate(ctx context.Context) (int, error) {
	return r.place().estimate(ctx)
}
