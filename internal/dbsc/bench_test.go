package dbsc_test

import (
	"testing"

	"github.com/redsession/redsession/internal/dbsc"
)

func BenchmarkProof(b *testing.B) {
	for _, row := range chromium {
		p, err := dbsc.ParseRegistration(row.registration)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(row.name+"/registration", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dbsc.ParseRegistration(row.registration); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(row.name+"/refresh", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dbsc.VerifyRefresh(row.refresh, p.Key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBoundCookie(b *testing.B) {
	for _, row := range []struct {
		name   string
		signer *dbsc.Signer
	}{
		{"newest secret", signer(1)},
		{"second secret", signer(2, 1)},
	} {
		value := signer(1).EncodeCookie(dbsc.BoundCookie{Identifier: identifier, Issued: 1, Expires: 2})
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := row.signer.DecodeCookie(value); !ok {
					b.Fatal("the cookie is not ours")
				}
			}
		})
	}
}
