package importer

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"encoding/base64"
	"io"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/pickle"
	"github.com/redsession/redsession/importer/internal/plain"
)

// DjangoRecords are Django's sessions in Redis. Make it with DjangoRedis.
type DjangoRecords struct {
	Common // Lifetime is for keys without a TTL: SESSION_COOKIE_AGE, 14 days unless set
	Client redis.UniversalClient
	Prefix string
	// BrowserSession tells of a SESSION_EXPIRE_AT_BROWSER_CLOSE.
	BrowserSession bool
}

// DjangoRedis returns the sessions that django.contrib.sessions.backends.cache (or
// cached_db) keeps in a cache in Redis, under a prefix: ":1:django.contrib.sessions.cache"
// if it is empty, which is the cache's KEY_PREFIX, its version, and Django's own; None is
// no prefix. Values are JSON, plain or as Django's SessionStore.encode writes them,
// compressed by zlib or not, or pickles as far as they are plain data. They end when the
// key expires. The user is `_auth_user_id`. All keys are kept.
func DjangoRedis(client redis.UniversalClient, prefix string) *DjangoRecords {
	return &DjangoRecords{Client: client, Prefix: prefix}
}

// Name is "django-redis".
func (d *DjangoRecords) Name() string { return cmp.Or(d.Label, "django-redis") }

// Sessions walks over the keys.
func (d *DjangoRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return d.place().records(ctx, d)
}

// Adopt takes over these sessions live. The cookie's name is SESSION_COOKIE_NAME,
// "sessionid" if it is empty.
func (d *DjangoRecords) Adopt(cookie string) redsession.Legacy {
	return d.place().adopt(d, redsession.Legacy{Source: d.Name(), Cookie: cmp.Or(cookie, "sessionid"), Verify: rawID(d.id)})
}

func (d *DjangoRecords) place() place {
	return place{client: d.Client, prefix: usual(d.Prefix, ":1:django.contrib.sessions.cache")}
}

// id knows 32 lower-case letters and digits.
func (d *DjangoRecords) id(id string) bool {
	return form(id, 32, 40, func(c byte) bool { return isDigit(c) || isLower(c) })
}

func (d *DjangoRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	values, err := djangoValues(data, d.maxBytes())
	if err != nil {
		return rec, nil, explain(err)
	}
	rec = redsession.LegacyRecord{Source: d.Name(), ID: id, ExpiresAt: ends(ttl, cmp.Or(d.Lifetime, 14*24*time.Hour))}
	if rec.Values, notes, err = plain.Map(values); err != nil {
		return rec, nil, explain(err)
	}
	rec.Persistent = !d.BrowserSession && rec.Values["_session_expiry"] != int64(0)
	switch user := rec.Values["_auth_user_id"].(type) {
	case string:
		rec.UserID = user
	default:
		rec.UserID = decimal(user)
	}
	return d.user(rec), notes, nil
}

// djangoValues reads a value of the cache: at most so many bytes come out of zlib.
func djangoValues(data []byte, most int) (any, error) {
	if len(data) > 1 && data[0] == 'x' && bytes.IndexByte([]byte("\x01\x5e\x9c\xda"), data[1]) >= 0 { // zlib, by a compressor of the cache
		var err error
		if data, err = inflate(data, most); err != nil {
			return nil, err
		}
	}
	switch {
	case len(data) == 0:
		return nil, plain.ErrNotJSON
	case data[0] == '{':
		return plain.JSON(data)
	case data[0] == 0x80 || data[0] == '(':
		return pickle.Decode(data)
	case data[0] == '"': // text, as a serializer of the cache that is JSON writes it
		v, err := plain.JSON(data)
		text, _ := v.(string)
		if err != nil {
			return nil, err
		}
		data = []byte(text)
	}
	return djangoEncoded(data, most)
}

// djangoEncoded reads what SessionStore.encode writes, which is not verified, since Redis is
// as trusted here as for any other source: [.]<base64url>:<time>:<signature> of Django 3.1
// and later, whose dot stands for zlib, or the base64 of <hash>:<JSON>.
func djangoEncoded(text []byte, most int) (any, error) {
	signed, compressed := bytes.CutPrefix(text, []byte("."))
	payload, _, isSigned := bytes.Cut(signed, []byte(":"))
	encoding := base64.RawURLEncoding
	if !isSigned {
		payload, encoding = bytes.TrimRight(text, "="), base64.RawStdEncoding
	}
	data, err := encoding.DecodeString(string(payload))
	if err != nil {
		return nil, plain.ErrNotJSON
	}
	switch {
	case isSigned && compressed:
		if data, err = inflate(data, most); err != nil {
			return nil, err
		}
	case !isSigned:
		_, data, _ = bytes.Cut(data, []byte(":"))
	}
	if len(data) > 0 && data[0] == 0x80 {
		return pickle.Decode(data)
	}
	return plain.JSON(data)
}

func inflate(data []byte, most int) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, plain.ErrNotJSON
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case err != nil:
		return nil, plain.ErrNotJSON
	case len(out) > most:
		return nil, plain.ErrTooMany
	}
	return out, nil
}

func (d *DjangoRecords) estimate(ctx context.Context) (int, error) { return d.place().estimate(ctx) }
