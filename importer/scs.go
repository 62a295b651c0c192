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
	return s.place().adopt(s, redsession.Legacy{Source: s.Name(), Cookie: cmp.Or(cookie, "session"), Verify: s.verify})
}

// verify returns the token, or its hash where that is what names the session.
func (s *SCSRecords) verify(value string) (string, error) {
	if !isSCSToken(value) {
		return "", errBadID
	}
	if s.HashedTokens {
		sum := sha256.Sum256([]byte(value))
		value = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return value, nil
}

// isSCSToken knows 32 bytes in base64url.
func isSCSToken(id string) bool { return form(id, 43, 43, isBase64URL) }

func (s *SCSRecords) place() place {
	return place{client: s.Client, prefix: usual(s.Prefix, "scs:session:")}
}

func (s *SCSRecords) id(id string) bool { return isSCSToken(id) }

func (s *SCSRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	deadline, values, err := gobvalue.SCS(data)
	if err != nil {
		return rec, nil, explain(err)
	}
	if deadline.IsZero() {
		return rec, nil, skip(Corrupt)
	}
	remembered, _ := values["__rememberMe"].(bool)
	rec = redsession.LegacyRecord{Source: s.Name(), ID: id, ExpiresAt: deadline, Persistent: remembered || !s.BrowserSession}
	if end := ends(ttl, 0); ttl > 0 && end.Before(deadline) {
		rec.ExpiresAt = end
	}
	delete(values, "__rememberMe")
	return s.finish(rec, values)
}

func (s *SCSRecords) estimate(ctx context.Context) (int, error) { return s.place().estimate(ctx) }
