package importer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"iter"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/gobvalue"
	"github.com/redsession/redsession/importer/internal/plain"
)

// gorillaAge is the MaxAge of gorilla's stores and securecookie's own.
const gorillaAge = 30 * 24 * time.Hour

// GorillaFolder is the folder of a gorilla/sessions FilesystemStore. Make it with
// GorillaFiles.
type GorillaFolder struct {
	Common      // Lifetime is the store's MaxAge, 30 days unless set, from the last save
	Dir         string
	SessionName string
	KeyPairs    [][]byte
	// BrowserSession tells of an Options.MaxAge of 0: the cookie ends with the
	// browser.
	BrowserSession bool
}

// GorillaFiles returns the sessions of one name of a FilesystemStore, which got
// the same key pairs, newest first. Files of other names are counted as
// Unverified: import each name by itself. Types of your own that you keep in
// sessions must be registered with gob.Register before. Keys that are not text,
// such as 1 or a Key("user"), become text. Nobody counts as logged in unless
// UserID says so.
func GorillaFiles(dir, name string, keyPairs ...[]byte) *GorillaFolder {
	return &GorillaFolder{Dir: dir, SessionName: name, KeyPairs: keyPairs}
}

// Name is "gorilla".
func (g *GorillaFolder) Name() string { return cmp.Or(g.Label, "gorilla") }

// Sessions walks over the folder.
func (g *GorillaFolder) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return files(ctx, g.Dir, g)
}

// Adopt takes over the sessions of this folder live, by the cookie of the
// session's name.
func (g *GorillaFolder) Adopt() redsession.Legacy {
	return adoptFiles(g.Dir, g, redsession.Legacy{
		Source: g.Name(), Cookie: g.SessionName, Verify: secureID(g.SessionName, g.lifetime(), g.KeyPairs),
	})
}

func (g *GorillaFolder) files(id string) []string {
	if !isGorillaID(id) {
		return nil
	}
	return []string{gorillaPrefix + id}
}

const gorillaPrefix = "session_"

// isGorillaID knows 32 bytes in base32.
func isGorillaID(id string) bool { return form(id, 52, 52, isBase32) }

func (g *GorillaFolder) lifetime() time.Duration { return cmp.Or(g.Lifetime, gorillaAge) }

func (g *GorillaFolder) enter(string) bool { return false }

func (g *GorillaFolder) id(file string) (string, Reason) {
	id, ok := strings.CutPrefix(path.Base(file), gorillaPrefix)
	switch {
	case !ok:
		return "", Foreign
	case !isGorillaID(id):
		return "", BadID
	}
	return id, ""
}

func (g *GorillaFolder) decode(id string, data []byte, _ time.Time) (rec redsession.LegacyRecord, notes []string, err error) {
	var values any
	stamped, err := openSecure(g.SessionName, string(data), 0, g.KeyPairs, func(payload []byte) (err error) {
		values, err = gorillaValues(payload)
		return err
	})
	if errors.Is(err, errUnverified) {
		return rec, nil, &Skipped{Reason: Unverified, Err: err}
	}
	if err != nil {
		return rec, nil, explain(err)
	}
	rec = redsession.LegacyRecord{
		Source: g.Name(), ID: id, Persistent: !g.BrowserSession, ExpiresAt: lives(stamped, g.lifetime()),
	}
	return g.finish(rec, values)
}

// gorillaValues reads what gorilla's serializers write: a gob, or JSON.
func gorillaValues(data []byte) (any, error) {
	if len(data) > 0 && data[0] == '{' { // a gob of a map begins with 0x0d
		return plain.JSON(data)
	}
	values, err := gobvalue.Gorilla(data)
	return values, err
}

var errUnverified = errors.New("signed with none of the keys, or for another name")

// openSecure verifies what securecookie encoded, without its limit of size, has
// read make something of it, and returns when it was encoded. An age of 0 is any.
// If two pairs share the key that signs, one of them does not decrypt to anything
// that can be read: the error of the last is returned.
func openSecure(name, value string, age time.Duration, keyPairs [][]byte, read func([]byte) error) (stamped time.Time, err error) {
	failed := errUnverified
	for _, codec := range securecookie.CodecsFromPairs(keyPairs...) {
		if c, ok := codec.(*securecookie.SecureCookie); ok {
			c.SetSerializer(securecookie.NopEncoder{}).MaxLength(0).MaxAge(int(age / time.Second))
		}
		var payload []byte
		if codec.Decode(name, value, &payload) != nil {
			continue
		}
		if failed = read(payload); failed != nil {
			continue
		}
		// It is genuine, but the codec keeps the time to itself: base64("time|…").
		text, err := base64.URLEncoding.DecodeString(value)
		if err != nil {
			return stamped, errUnverified
		}
		head, _, _ := bytes.Cut(text, []byte("|"))
		seconds, err := strconv.ParseInt(string(head), 10, 64)
		if err != nil {
			return stamped, errUnverified
		}
		return time.Unix(seconds, 0), nil
	}
	return stamped, failed
}

// secureID reads the id in the cookie of gorilla's FilesystemStore and redistore.
func secureID(name string, age time.Duration, keyPairs [][]byte) func(string) (string, error) {
	return asWritten(func(value string) (string, error) {
		var id string
		_, err := openSecure(name, value, age, keyPairs, func(payload []byte) error {
			text, err := gobvalue.String(payload)
			if err != nil || !isGorillaID(text) {
				return errBadID
			}
			id = text
			return nil
		})
		return id, err
	})
}

// RedistoreRecords are the sessions of boj/redistore, and so of gin-contrib and
// echo-contrib with Redis. Make it with Redistore.
type RedistoreRecords struct {
	Common // Lifetime is for keys without a TTL, and the cookie's MaxAge: 30 days unless set
	Client redis.UniversalClient
	Prefix string
	// BrowserSession tells of an Options.MaxAge of 0: the cookie ends with the
	// browser.
	BrowserSession bool
}

// Redistore returns the sessions under a prefix, "session_" if it is empty, as
// gobs or as JSON. GorillaFiles says what is to be known of gobs, keys and users.
func Redistore(client redis.UniversalClient, prefix string) *RedistoreRecords {
	return &RedistoreRecords{Client: client, Prefix: prefix}
}

// Name is "redistore".
func (r *RedistoreRecords) Name() string { return cmp.Or(r.Label, "redistore") }

// Sessions walks over the keys.
func (r *RedistoreRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return r.place().records(ctx, r)
}

// Adopt takes over these sessions live. The cookie is that of the session's name;
// the key pairs are the store's, newest first.
func (r *RedistoreRecords) Adopt(cookie string, keyPairs ...[]byte) redsession.Legacy {
	return r.place().adopt(r, redsession.Legacy{
		Source: r.Name(), Cookie: cookie, Verify: secureID(cookie, cmp.Or(r.Lifetime, gorillaAge), keyPairs),
	})
}

func (r *RedistoreRecords) place() place {
	return place{client: r.Client, prefix: usual(r.Prefix, "session_")}
}

func (r *RedistoreRecords) id(id string) bool { return isGorillaID(id) }

func (r *RedistoreRecords) decode(id string, data []byte, ttl time.Duration) (rec redsession.LegacyRecord, notes []string, err error) {
	values, err := gorillaValues(data)
	if err != nil {
		return rec, nil, explain(err)
	}
	rec = redsession.LegacyRecord{
		Source: r.Name(), ID: id, Persistent: !r.BrowserSession, ExpiresAt: ends(ttl, cmp.Or(r.Lifetime, gorillaAge)),
	}
	return r.finish(rec, values)
}

func (r *RedistoreRecords) estimate(ctx context.Context) (int, error) { return r.place().estimate(ctx) }
