package importer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/gobvalue"
)

// SCSRecords are the sessions of alexedwards/scs in Redis. Make it with SCS.
type SCSRecords struct {
	Common
	Client redis.UniversalClient
	Prefix string
	// HashedTokens is scs's HashTokenInStore: the keys are hashes of the tokens.
	HashedTokens bool
	// BrowserSession tells of a Cookie.Persist of false: the cookie ends with the
	// browser unless scs's RememberMe was set.
	BrowserSession bool
}

// SCS returns the sessions under a prefix, "scs:session:" if it is empty, of
// scs's redisstore and goredisstore with the usual GobCodec. They end at their
// deadline, or when the key expires if that is earlier. Types of your own that
// you keep in sessions must be registered with gob.Register before. Nobody
// counts as logged in unless UserID says so. The value of scs's RememberMe is left
// out; the cookie becomes persistent.
func SCS(client redis.UniversalClient, prefix string) *SCSRecords {
	return &SCSRecords{Client: client, Prefix: prefix}
}

// Name is "scs".
func (s *SCSRecords) Name() string { return cmp.Or(s.Label, "scs") }

// Sessions walks over the keys.
func (s *SCSRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return s.place().records(ctx, s)
}

// Adopt takes over these sessions live. The cookie's name is "session" if it is
// empty.
func (s *SCSRecords) Adopt(cookie string) redsession.Legacy {
	return s.place().adopt(s, redsession.Legacy{Source: s.Name(), Cookie: cmp.Or(cookie, "session"), Verify: scsToken(s.HashedTokens)})
}

// scsToken verifies a token, and returns its hash where that is what names the session.
func scsToken(hashed bool) func(string) (string, error) {
	return asWritten(func(value string) (string, error) {
		if !isSCSToken(value) {
			return "", errBadID
		}
		if hashed {
			sum := sha256.Sum256([]byte(value))
			value = base64.RawURLEncoding.EncodeToString(sum[:])
		}
		return value, nil
	})
}

// isSCSToken knows 32 bytes in base64url.
func isSCSToken(id string) bool { return form(id, 43, 43, isBase64URL) }

func (s *SCSRecords) place() place {
	return place{client: s.Client, prefix: usual(s.Prefix, "scs:session:")}
}

func (s *SCSRecords) id(id string) bool { return isSCSToken(id) }

func (s *SCSRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	rec = redsession.LegacyRecord{Source: s.Name(), ID: id}
	if ttl > 0 {
		rec.ExpiresAt = ends(ttl, 0)
	}
	return s.scs(rec, data, s.BrowserSession)
}

// scs completes rec by what scs's GobCodec wrote. Its end is the earlier of that which rec
// has, zero for none, and the deadline.
func (c *Common) scs(rec redsession.LegacyRecord, data []byte, browserSession bool) (redsession.LegacyRecord, []string, error) {
	deadline, values, err := gobvalue.SCS(data)
	if err != nil {
		return rec, nil, explain(err)
	}
	if deadline.IsZero() {
		return rec, nil, skip(Corrupt)
	}
	remembered, _ := values["__rememberMe"].(bool)
	rec.Persistent = remembered || !browserSession
	if rec.ExpiresAt.IsZero() || deadline.Before(rec.ExpiresAt) {
		rec.ExpiresAt = deadline
	}
	delete(values, "__rememberMe")
	return c.finish(rec, values)
}

func (s *SCSRecords) estimate(ctx context.Context) (int, error) { return s.place().estimate(ctx) }
