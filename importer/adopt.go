package importer

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// AdoptOdoo takes over the sessions in Odoo's folder live, by the cookie
// session_id. As all Adopt functions, it is for redsession.Config.Adopt, and is
// short for the method of the source, whose fields are options:
//
//	source := importer.Odoo(dir)
//	source.Lifetime = 14 * 24 * time.Hour
//	legacy := source.Adopt()
//	legacy.SideBySide = true
//
// Load returns no session for one that has expired, that is half-open or
// rotated away, or that cannot be decoded, and an error if the place cannot be
// reached, or if a session has a type that is not registered with encoding/gob.
func AdoptOdoo(dir string) redsession.Legacy { return Odoo(dir).Adopt() }

// AdoptGorillaFiles takes over the sessions of a gorilla FilesystemStore live.
func AdoptGorillaFiles(dir, name string, keyPairs ...[]byte) redsession.Legacy {
	return GorillaFiles(dir, name, keyPairs...).Adopt()
}

// AdoptExpressFiles takes over the sessions of session-file-store live, by the
// cookie connect.sid.
func AdoptExpressFiles(dir string, secrets ...string) redsession.Legacy {
	return ExpressFiles(dir).Adopt("", secrets...)
}

// AdoptPHPFiles takes over the sessions in PHP's folder live, by the cookie
// PHPSESSID.
func AdoptPHPFiles(dir string) redsession.Legacy { return PHPFiles(dir).Adopt("") }

// AdoptSCS takes over the sessions of scs in Redis live.
func AdoptSCS(client redis.UniversalClient, prefix, cookie string) redsession.Legacy {
	return SCS(client, prefix).Adopt(cookie)
}

// AdoptRedistore takes over the sessions of redistore, and so of gin-contrib with
// Redis, live.
func AdoptRedistore(client redis.UniversalClient, prefix, cookie string, keyPairs ...[]byte) redsession.Legacy {
	return Redistore(client, prefix).Adopt(cookie, keyPairs...)
}

// AdoptConnectRedis takes over the sessions of connect-redis live, by the cookie
// connect.sid.
func AdoptConnectRedis(client redis.UniversalClient, prefix string, secrets ...string) redsession.Legacy {
	return ConnectRedis(client, prefix).Adopt("", secrets...)
}

// live makes what Legacy.Load returns of what a Read did.
func live(rec redsession.LegacyRecord, err error) (*redsession.LegacyRecord, error) {
	switch reason(err) {
	case "":
		if err != nil {
			return nil, err
		}
	case Unreadable, UnknownType:
		return nil, err // the operator's or the programmer's to mend, not the end of a session
	default:
		return nil, nil
	}
	if past(rec) {
		return nil, nil
	}
	return &rec, nil
}

// reason returns why err skips a session, and "" if it does not.
func reason(err error) Reason {
	var skipped *Skipped
	if errors.As(err, &skipped) {
		return skipped.Reason
	}
	return ""
}
