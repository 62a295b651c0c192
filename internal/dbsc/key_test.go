package dbsc_test

import (
	"testing"

	"github.com/redsession/redsession/internal/dbsc"
)

func TestKeyThumbprint(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, key, want string }{
		{"that of the RSA key in RFC 7638 3.1", "RS256.0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"that of the EC key in RFC 9449 6.1", "ES256.l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs.9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, err := dbsc.ParseKey(row.key)
			if err != nil || key.Thumbprint() != row.want {
				t.Errorf("got %q, error %v, want %q", key.Thumbprint(), err, row.want)
			}
		})
	}
}

func TestKeyThumbprintIsOfTheKeyAlone(t *testing.T) {
	t.Parallel()
	d := newECDevice()
	plain, err := dbsc.ParseRegistration(d.registration())
	if err != nil {
		t.Fatal(err)
	}
	more, err := dbsc.ParseRegistration(d.registered("ES256", d.with(`"use":"sig","kid":"1"`)))
	if err != nil || more.Key.Thumbprint() != plain.Key.Thumbprint() {
		t.Errorf("got %q, error %v, want %q with other members too", more.Key.Thumbprint(), err, plain.Key.Thumbprint())
	}
}

func TestKeyIsStored(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		device *device
		length int
	}{
		{"an ES256 key in 93 characters", newECDevice(), 93},
		{"an RS256 key of 2048 bits in 348", rsaDevice(), 348},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, err := dbsc.ParseRegistration(row.device.registration())
			if err != nil {
				t.Fatal(err)
			}
			text := p.Key.Encode()
			if len(text) != row.length {
				t.Errorf("got %d characters, want %d", len(text), row.length)
			}
			key, err := dbsc.ParseKey(text)
			if err != nil || key.Encode() != text || key.Thumbprint() != p.Key.Thumbprint() {
				t.Fatalf("got %v, error %v, want the same key", key, err)
			}
			if _, err := dbsc.VerifyRefresh(row.device.refresh(), key); err != nil {
				t.Errorf("got error %v from the stored key, want none", err)
			}
		})
	}
}

func TestKeyThatIsNotTaken(t *testing.T) {
	t.Parallel()
	rs := func(bits int) string { return "RS256." + b64(modulus(bits)) }
	even := modulus(2048)
	even[len(even)-1] = 0
	for _, row := range []struct{ name, text, want string }{
		{"RSA of 2048 bits is the shortest", rs(2048), ""},
		{"RSA of 4096 bits is the longest", rs(4096), ""},
		{"RSA of 2047 bits is too short", rs(2047), wrongRSA},
		{"RSA of 4097 bits is too long", rs(4097), wrongRSA},
		{"an even modulus is none", "RS256." + b64(even), wrongRSA},
		{"padding is refused", rs(2048) + "=", wrongRSA},
		{"a line feed is refused", rs(2048) + "\n", wrongRSA},
		{"nothing behind RS256 is no key", "RS256.", wrongRSA},
		{"nothing behind ES256 is no key", "ES256.", noPoint},
		{"a third coordinate is refused", "ES256.l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs.9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA.AA", noPoint},
		{"spare bits are refused", "ES256.l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFt.9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA", noPoint},
		{"another algorithm is refused", "ES512.AA.AA", noAlgorithm},
		{"nothing is no key", "", noAlgorithm},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := dbsc.ParseKey(row.text); message(err) != row.want {
				t.Errorf("got error %v, want %q", err, row.want)
			}
		})
	}
}
