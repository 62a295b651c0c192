package importer

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/php"
)

// PHPRecords are PHP's sessions in Redis, as the extension phpredis keeps them with
// session.save_handler = redis. Make it with PHPRedis.
type PHPRecords struct {
	Common // Lifetime is for keys without a TTL: PHP's session.gc_maxlifetime, 24 minutes unless set
	Client redis.UniversalClient
	Prefix string
	Format PHPFormat
	// Persistent tells of a session.cookie_lifetime other than 0: the cookie
	// survives the browser.
	Persistent bool
}

// PHPRedis returns the sessions under a prefix, "PHPREDIS_SESSION:" for "" and none for
// None. They end when the key expires. Sessions that phpredis compresses
// (redis.session.compression) are counted as Corrupt. PHPFiles says what else is to be
// known.
func PHPRedis(client redis.UniversalClient, prefix string) *PHPRecords {
	return &PHPRecords{Client: client, Prefix: prefix}
}

// Name is "php-redis".
func (p *PHPRecords) Name() string { return cmp.Or(p.Label, "php-redis") }

// Sessions walks over the keys.
func (p *PHPRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return p.place().records(ctx, p)
}

// Adopt takes over these sessions live. The cookie's name is PHP's session.name, PHPSESSID
// if it is empty.
func (p *PHPRecords) Adopt(cookie string) redsession.Legacy {
	return p.place().adopt(p, redsession.Legacy{Source: p.Name(), Cookie: cmp.Or(cookie, "PHPSESSID"), Verify: rawID(isPHPID)})
}

func (p *PHPRecords) place() place {
	return place{client: p.Client, prefix: usual(p.Prefix, "PHPREDIS_SESSION:")}
}

func (p *PHPRecords) id(id string) bool { return isPHPID(id) }

func (p *PHPRecords) decode(id string, data []byte, ttl time.Duration) (redsession.LegacyRecord, []string, error) {
	rec := redsession.LegacyRecord{
		Source: p.Name(), ID: id, Persistent: p.Persistent, ExpiresAt: ends(ttl, cmp.Or(p.Lifetime, 24*time.Minute)),
	}
	values, err := php.Decode(data, php.Format(p.Format))
	if err != nil {
		return rec, nil, explain(err)
	}
	return p.finish(rec, values)
}

func (p *PHPRecords) estimate(ctx context.Context) (int, error) { return p.place().estimate(ctx) }
