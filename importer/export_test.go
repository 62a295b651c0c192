package importer

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// Target is what a Manager is to the import.
type Target = target

// RunInto is Run into any target.
func RunInto(ctx context.Context, to Target, source Source, o Options) (Report, error) {
	return run(ctx, to, source, o)
}

// OnceInto is Once into any target, with its state wherever client leads to.
func OnceInto(ctx context.Context, to Target, client redis.UniversalClient, prefix string, lease time.Duration, source Source, o Options) (Report, error) {
	return once(ctx, to, newState(client, prefix, source, lease), source, o)
}

// Decoder is how one source reads what it finds.
type Decoder struct {
	Name   string
	Decode func(data []byte) (redsession.LegacyRecord, []string, error)
}

// Decoders returns that of each source, that of GorillaFiles first, which takes what key signed for name.
func Decoders(name string, key []byte) []Decoder {
	const id = "AUENRLCQKMA2L7F5BPYWPPKLVQ4I3AHV4WUY3XABNY2MO4IT5NEQ"
	var list []Decoder
	for _, l := range []interface {
		Source
		layout
	}{GorillaFiles("", name, key), ExpressFiles(""), Odoo(""), PHPFiles("")} {
		list = append(list, Decoder{l.Name(), func(data []byte) (redsession.LegacyRecord, []string, error) {
			return l.decode(id, data, time.Now())
		}})
	}
	for _, s := range []interface {
		Source
		scheme
	}{
		SCS(nil, ""), Redistore(nil, ""), ConnectRedis(nil, ""), Rbcervilla(nil, ""), PHPRedis(nil, ""), OdooRedis(nil, ""),
		FlaskRedis(nil, ""), DjangoRedis(nil, ""),
	} {
		list = append(list, Decoder{s.Name(), func(data []byte) (redsession.LegacyRecord, []string, error) {
			return s.decode(id, data, time.Hour)
		}})
	}
	return list
}

// Verifier is how one source reads its cookie.
type Verifier struct {
	Name   string
	Verify func(value string) (string, error)
}

// Verifiers returns that of each source; those that are signed take key for name.
func Verifiers(name string, key []byte) []Verifier {
	var list []Verifier
	for _, l := range []redsession.Legacy{
		GorillaFiles("", name, key).Adopt(), ExpressFiles("").Adopt("", string(key)), Odoo("").Adopt(), PHPFiles("").Adopt(""),
		SCS(nil, "").Adopt(""), Redistore(nil, "").Adopt(name, key), ConnectRedis(nil, "").Adopt("", string(key)),
		Rbcervilla(nil, "").Adopt(name), PHPRedis(nil, "").Adopt(""), OdooRedis(nil, "").Adopt(), FlaskRedis(nil, "").Adopt(""), DjangoRedis(nil, "").Adopt(""),
		FlaskRedis(nil, "").Adopt("", string(key)),
	} {
		list = append(list, Verifier{l.Source, l.Verify})
	}
	return list
}
