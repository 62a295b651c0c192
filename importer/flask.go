package importer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"iter"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/msgpack"
	"github.com/redsession/redsession/importer/internal/pickle"
	"github.com/redsession/redsession/importer/internal/plain"
)

// FlaskRecords are the sessions of Flask-Session in Redis. Make it with FlaskRedis.
type FlaskRecords struct {
	Common // Lifetime is for keys without a TTL: PERMANENT_SESSION_LIFETIME, 31 days unless set
	Client redis.UniversalClient
	Prefix string
}

// FlaskRedis returns the sessions under a prefix, "session:" for "" and none for None, in
// MessagePack (Flask-Session 0.6 and later), JSON, or pickle (before) as far as that is
// plain data. They end when the key expires. `_permanent` is left out. Nobody counts as
// logged in unless UserID says so: with Flask-Login it is the text `_user_id`.
func FlaskRedis(client redis.UniversalClient, prefix string) *FlaskRecords {
	return &FlaskRecords{Client: client, Prefix: prefix}
}

// Name is "flask-redis".
func (f *FlaskRecords) Name() string { return cmp.Or(f.Label, "flask-redis") }

// Sessions walks over the keys.
func (f *FlaskRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return f.place().records(ctx, f)
}

// Adopt takes over these sessions live. The cookie's name is "session" if it is empty.
// With SESSION_USE_SIGNER give the application's secret keys; without any the cookie is
// the id itself.
func (f *FlaskRecords) Adopt(cookie string, secretKeys ...string) redsession.Legacy {
	verify := rawID(isFlaskID)
	if len(secretKeys) > 0 {
		verify = flaskSigned(secretKeys)
	}
	return f.place().adopt(f, redsession.Legacy{Source: f.Name(), Cookie: cmp.Or(cookie, "session"), Verify: verify})
}

// flaskSigned verifies <id>.<HMAC-SHA1 in base64url> of itsdangerous, whose key is derived
// by HMAC from the secret key and Flask-Session's salt.
func flaskSigned(secretKeys []string) func(string) (string, error) {
	return asWritten(func(value string) (string, error) {
		dot := strings.LastIndexByte(value, '.')
		if dot < 0 || !isFlaskID(value[:dot]) {
			return "", errBadID
		}
		claimed, err := base64.RawURLEncoding.Strict().DecodeString(value[dot+1:])
		if err != nil {
			return "", errBadID
		}
		for _, secret := range secretKeys {
			if hmac.Equal(claimed, hmacSHA1(hmacSHA1([]byte(secret), "flask-session"), value[:dot])) {
				return value[:dot], nil
			}
		}
		return "", errUnverified
	})
}

func hmacSHA1(key []byte, text string) []byte {
	mac := hmac.New(sha1.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (f *FlaskRecords) place() place {
	return place{client: f.Client, prefix: usual(f.Prefix, "session:")}
}

// isFlaskID knows a UUID (until 0.5), and SESSION_ID_LENGTH bytes, 16 at least, in
// base64url.
func isFlaskID(id string) bool { return form(id, 22, 128, isBase64URL) }

func (f *FlaskRecords) id(id string) bool { return isFlaskID(id) }

func (f *FlaskRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	var values any
	switch {
	case bytes.HasPrefix(data, []byte("{")):
		values, err = plain.JSON(data)
	case len(data) > 1 && (data[0] == '(' || data[0] == 0x80 && data[1] <= 5): // pickles begin with a mark, or their protocol
		values, err = pickle.Decode(data)
	default:
		values, err = msgpack.Decode(data)
	}
	if err != nil {
		return rec, nil, explain(err)
	}
	rec = redsession.LegacyRecord{Source: f.Name(), ID: id, ExpiresAt: ends(ttl, cmp.Or(f.Lifetime, 31*24*time.Hour))}
	if rec, notes, err = f.finish(rec, values); err != nil {
		return rec, nil, err
	}
	rec.Persistent, _ = rec.Values["_permanent"].(bool)
	delete(rec.Values, "_permanent")
	return rec, notes, nil
}

func (f *FlaskRecords) estimate(ctx context.Context) (int, error) { return f.place().estimate(ctx) }
