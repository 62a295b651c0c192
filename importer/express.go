package importer

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/plain"
)

// ExpressFolder is the folder of session-file-store. Make it with ExpressFiles.
type ExpressFolder struct {
	Common // Lifetime is the store's ttl, an hour unless set, for cookies without a maxAge
	Dir    string
	// Extension is the store's fileExtension: ".json" unless set. None is the empty one.
	Extension string
}

// ExpressFiles returns the sessions of express-session with session-file-store.
// The values are the session's without `cookie` and `__lastAccess`. Encrypted
// files (option `secret`) are counted as Encrypted. Nobody counts as logged in
// unless UserID says so.
func ExpressFiles(dir string) *ExpressFolder { return &ExpressFolder{Dir: dir} }

// Name is "express-files".
func (e *ExpressFolder) Name() string { return cmp.Or(e.Label, "express-files") }

// Sessions walks over the folder.
func (e *ExpressFolder) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return files(ctx, e.Dir, e)
}

// Adopt takes over the sessions of this folder live. The cookie's name is
// "connect.sid" if it is empty; the secrets are those of express-session.
func (e *ExpressFolder) Adopt(cookie string, secrets ...string) redsession.Legacy {
	return adoptFiles(e.Dir, e, redsession.Legacy{Source: e.Name(), Cookie: cmp.Or(cookie, "connect.sid"), Verify: signedID(secrets)})
}

func (e *ExpressFolder) files(id string) []string {
	if file := id + e.extension(); isExpressID(id) && fs.ValidPath(file) {
		return []string{file}
	}
	return nil
}

func (e *ExpressFolder) extension() string { return usual(e.Extension, ".json") }

// isExpressID knows the 32 characters of uid-safe, and whatever else a genid of
// one's own may return: the signature in the cookie vouches for it.
func isExpressID(id string) bool {
	return form(id, 1, 1024, func(c byte) bool { return c >= ' ' && c != 0x7f })
}

func (e *ExpressFolder) enter(string) bool { return true } // a genid may return a path

func (e *ExpressFolder) id(file string) (string, Reason) {
	stem, digits := cutDigits(file) // a file of write-file-atomic on its way
	switch id, ok := strings.CutSuffix(file, e.extension()); {
	case digits && strings.HasSuffix(stem, e.extension()) && (!ok || e.extension() == ""):
		return "", Temporary
	case !ok:
		return "", Foreign
	case !isExpressID(id):
		return "", BadID
	default:
		return id, ""
	}
}

// cutDigits cuts a dot and a number of up to 20 digits off the end of name.
func cutDigits(name string) (stem string, found bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !form(name[dot+1:], 1, 20, isDigit) {
		return name, false
	}
	return name[:dot], true
}

func (e *ExpressFolder) decode(id string, data []byte, written time.Time) (rec redsession.LegacyRecord, notes []string, err error) {
	if form(string(data), 1, len(data), isHex) {
		return rec, nil, skip(Encrypted)
	}
	session, cookie, notes, err := expressSession(data)
	if err != nil {
		return rec, nil, err
	}
	used := unixMilli(session["__lastAccess"])
	if used.IsZero() {
		used = written
	}
	lifetime := cmp.Or(e.Lifetime, time.Hour)
	if cookie.OriginalMaxAge > 0 {
		lifetime = time.Duration(min(cookie.OriginalMaxAge, maxMilli)) * time.Millisecond
	}
	rec = redsession.LegacyRecord{
		Source: e.Name(), ID: id, ExpiresAt: lives(used, lifetime),
		Values: drop(session, "cookie", "__lastAccess"), Persistent: cookie.persistent(),
	}
	return e.user(rec), notes, nil
}

// maxMilli keeps a duration of milliseconds within what time.Duration holds.
const maxMilli = 100 * 365 * 24 * 60 * 60 * 1000

func unixMilli(v any) time.Time {
	n, ok := v.(int64)
	if !ok || n <= 0 || n > 1<<50 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// expressCookie is the part of the session's cookie object that tells its end.
type expressCookie struct {
	OriginalMaxAge int64
	Expires        time.Time
}

// persistent tells of a cookie that survives the browser.
func (c expressCookie) persistent() bool { return c.OriginalMaxAge > 0 || !c.Expires.IsZero() }

// expressSession reads what express-session stores: an object that has its cookie
// among the values. What has none is another program's.
func expressSession(data []byte) (session map[string]any, cookie expressCookie, notes []string, err error) {
	v, err := plain.JSON(data)
	if err != nil {
		return nil, cookie, nil, explain(err)
	}
	if session, notes, err = plain.Map(v); err != nil {
		return nil, cookie, nil, explain(err)
	}
	object, ours := session["cookie"].(map[string]any)
	if _, sealed := session["ct"]; sealed && !ours {
		return nil, cookie, nil, skip(Encrypted)
	}
	if !ours {
		return nil, cookie, nil, skip(Foreign)
	}
	switch age := object["originalMaxAge"].(type) {
	case int64:
		cookie.OriginalMaxAge = age
	case float64:
		cookie.OriginalMaxAge = int64(min(age, maxMilli))
	}
	if text, ok := object["expires"].(string); ok {
		cookie.Expires, _ = time.Parse(time.RFC3339, text)
	}
	return session, cookie, notes, nil
}

// ConnectRedisRecords are the sessions of express-session with connect-redis.
// Make it with ConnectRedis.
type ConnectRedisRecords struct {
	Common // Lifetime is for sessions without any, a day unless set, as connect-redis has it
	Client redis.UniversalClient
	Prefix string
}

// ConnectRedis returns the sessions under a prefix: "sess:" for "", and no prefix for
// None. They
// end when the key expires, or with the cookie if the key has no TTL. The values
// are the session's without `cookie`. Nobody counts as logged in unless UserID
// says so.
func ConnectRedis(client redis.UniversalClient, prefix string) *ConnectRedisRecords {
	return &ConnectRedisRecords{Client: client, Prefix: prefix}
}

// Name is "connect-redis".
func (c *ConnectRedisRecords) Name() string { return cmp.Or(c.Label, "connect-redis") }

// Sessions walks over the keys.
func (c *ConnectRedisRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return c.place().records(ctx, c)
}

// Adopt takes over these sessions live. The cookie's name is "connect.sid" if it
// is empty; the secrets are those of express-session.
func (c *ConnectRedisRecords) Adopt(cookie string, secrets ...string) redsession.Legacy {
	return c.place().adopt(c, redsession.Legacy{Source: c.Name(), Cookie: cmp.Or(cookie, "connect.sid"), Verify: signedID(secrets)})
}

func (c *ConnectRedisRecords) place() place {
	return place{client: c.Client, prefix: usual(c.Prefix, "sess:")}
}

func (c *ConnectRedisRecords) id(id string) bool { return isExpressID(id) }

func (c *ConnectRedisRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	session, cookie, notes, err := expressSession(data)
	if err != nil {
		return rec, nil, err
	}
	rec = redsession.LegacyRecord{
		Source: c.Name(), ID: id, ExpiresAt: ends(ttl, cmp.Or(c.Lifetime, 24*time.Hour)),
		Values: drop(session, "cookie"), Persistent: cookie.persistent(),
	}
	if ttl == 0 && !cookie.Expires.IsZero() {
		rec.ExpiresAt = cookie.Expires
	}
	return c.user(rec), notes, nil
}

func (c *ConnectRedisRecords) estimate(ctx context.Context) (int, error) {
	return c.place().estimate(ctx)
}

// signedID verifies the cookie of express-session, s:<id>.<HMAC-SHA256 in base64>,
// percent-encoded.
func signedID(secrets []string) func(string) (string, error) {
	return asWritten(func(value string) (string, error) {
		signed, ok := strings.CutPrefix(value, "s:")
		dot := strings.LastIndexByte(signed, '.')
		if !ok || dot < 0 || !isExpressID(signed[:dot]) {
			return "", errBadID
		}
		id, claimed := signed[:dot], signed[dot+1:]
		for _, secret := range secrets {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(id))
			if hmac.Equal([]byte(claimed), []byte(base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))) {
				return id, nil
			}
		}
		return "", errUnverified
	})
}
