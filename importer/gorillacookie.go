package importer

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/redsession/redsession"
)

// GorillaCookies are sessions that gorilla/sessions keeps inside the cookie itself, with a
// CookieStore. Make it with GorillaCookie.
type GorillaCookies struct {
	Common      // Lifetime is the store's MaxAge, 30 days unless set, from when the value was written
	SessionName string
	KeyPairs    [][]byte
	// BrowserSession tells of an Options.MaxAge of 0: the cookie ends with the
	// browser.
	BrowserSession bool
}

// GorillaCookie returns the sessions of one name of a gorilla CookieStore, or of gin's and
// echo's cookie.NewStore, which got the same key pairs, newest first. There is nothing to
// import from: Adopt alone finds them, as their browsers come. GorillaFiles says what is to
// be known of gobs, keys and users; redsession.Legacy.Decode what becomes of values from
// before a logout.
func GorillaCookie(name string, keyPairs ...[]byte) *GorillaCookies {
	return &GorillaCookies{SessionName: name, KeyPairs: keyPairs}
}

// Name is "gorilla-cookie".
func (g *GorillaCookies) Name() string { return cmp.Or(g.Label, "gorilla-cookie") }

// Adopt takes over these sessions live, by the cookie of the session's name.
func (g *GorillaCookies) Adopt() redsession.Legacy {
	return redsession.Legacy{Source: g.Name(), Cookie: g.SessionName, Decode: g.decode, MaxAge: g.lifetime()}
}

func (g *GorillaCookies) lifetime() time.Duration { return cmp.Or(g.Lifetime, gorillaAge) }

// decode returns the session that a value of the cookie holds.
func (g *GorillaCookies) decode(value string) (*redsession.LegacyRecord, error) {
	var rec redsession.LegacyRecord
	_, err := asWritten(func(value string) (_ string, err error) {
		var values any
		stamped, err := openSecure(g.SessionName, value, g.lifetime(), g.KeyPairs, func(payload []byte) (err error) {
			values, err = gorillaValues(payload)
			return err
		})
		if err != nil {
			return "", err
		}
		rec, _, err = g.finish(redsession.LegacyRecord{
			Source: g.Name(), ID: valueID(value), Persistent: !g.BrowserSession,
			CreatedAt: stamped, ExpiresAt: lives(stamped, g.lifetime()),
		}, values)
		return rec.ID, err
	})(value)
	if err != nil || len(rec.Values) == 0 && rec.UserID == "" {
		return nil, err
	}
	return &rec, nil
}

// valueID is the same for all ways to write what was signed in base64.
func valueID(value string) string {
	signed, _ := base64.URLEncoding.DecodeString(value)
	sum := sha256.Sum256(signed)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
