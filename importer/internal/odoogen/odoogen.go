// Package odoogen makes session folders as Odoo leaves them, for tests and
// measurements.
package odoogen

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Made is what Generate made, in the words of the importer's report.
type Made struct {
	Files     int
	Sessions  int // that an import must store
	LoggedIn  int // of these, with a user
	Expired   int
	Temporary int
	Corrupt   int
	HalfOpen  int
	SIDs      []string // of the first hundred sessions that an import must store
}

// Generate makes n files in dir: three of four of them JSON as Odoo 18 writes
// it, one of four a pickle as Odoo 16 does; each tenth one temporary, expired,
// corrupt or half-open, as many of each kind. The same seed makes the same files.
func Generate(dir string, n int, seed uint64) (Made, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Made{}, err
	}
	g := generator{dir: dir, rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Now(), shards: map[string]bool{}}
	for i := range n {
		if err := g.file(i); err != nil {
			return g.made, err
		}
	}
	return g.made, nil
}

type generator struct {
	dir    string
	rnd    *rand.Rand
	now    time.Time
	shards map[string]bool
	made   Made
}

func (g *generator) file(i int) error {
	g.made.Files++
	user := g.rnd.IntN(5000) + 2
	sid, body := g.sid(63), jsonBody(user)
	if i%4 == 3 {
		sid, body = g.sid(20), pickleBody(user)
	}
	age := time.Duration(g.rnd.Int64N(int64(6 * 24 * time.Hour)))
	switch {
	case i%10 == 0 && i/10%4 == 0:
		g.made.Temporary++
		return g.write(filepath.Join(g.dir, fmt.Sprintf("tmp%08x.__wz_sess", g.rnd.Uint32())), body[:len(body)/2], age)
	case i%10 == 0 && i/10%4 == 1:
		g.made.Expired++
		age += 7*24*time.Hour + time.Minute
	case i%10 == 0 && i/10%4 == 2:
		g.made.Corrupt++
		body = body[:g.rnd.IntN(len(body))]
	case i%10 == 0:
		g.made.HalfOpen++
		body = fmt.Appendf(nil, halfOpenBody, user)
	default:
		body = g.session(i, sid, body)
	}
	shard := filepath.Join(g.dir, sid[:2])
	if !g.shards[shard] {
		if err := os.MkdirAll(shard, 0o755); err != nil {
			return err
		}
		g.shards[shard] = true
	}
	return g.write(filepath.Join(shard, sid), body, age)
}

// session counts a session to be imported. One of seven is anonymous.
func (g *generator) session(i int, sid string, body []byte) []byte {
	g.made.Sessions++
	if len(g.made.SIDs) < 100 {
		g.made.SIDs = append(g.made.SIDs, sid)
	}
	if i%7 == 0 {
		return []byte(anonymousBody)
	}
	g.made.LoggedIn++
	return body
}

func (g *generator) write(file string, body []byte, age time.Duration) error {
	if err := os.WriteFile(file, body, 0o644); err != nil {
		return err
	}
	written := g.now.Add(-age)
	return os.Chtimes(file, written, written)
}

// sid returns 84 characters of base64url for 63 bytes, or 40 hex digits for 20.
func (g *generator) sid(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(g.rnd.Uint32())
	}
	if size == 20 {
		return hex.EncodeToString(b)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

const (
	sessionToken  = "3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f"
	anonymousBody = `{"context": {"lang": "en_US"}, "db": "prod", "debug": "", "login": null, "uid": null, "session_token": null, "_trace": []}`
	halfOpenBody  = `{"context": {"lang": "en_US"}, "db": "prod", "debug": "", "login": null, "uid": null, "session_token": null, "pre_login": "user%[1]d", "pre_uid": %[1]d}`
)

func jsonBody(user int) []byte {
	return fmt.Appendf(nil, `{"context": {"lang": "en_US", "tz": "Europe/Brussels", "uid": %[1]d}, "create_time": 1763755943.123456, "db": "prod", "debug": "", "login": "user%[1]d", "uid": %[1]d, "session_token": "%[2]s", "_trace": [{"platform": "linux", "browser": "chrome", "ip_address": "203.0.113.7", "first_activity": 1763755943, "last_activity": 1763755943}]}`, user, sessionToken)
}

// pickleBody is a pickle of protocol 4, without the frame that is optional.
func pickleBody(user int) []byte {
	b := []byte{0x80, 4, '}', 0x94, '('}
	text := func(s string) {
		b = append(b, 0x8c, byte(len(s)))
		b = append(b, s...)
		b = append(b, 0x94)
	}
	number := func(n int) { b = append(b, 'M', byte(n), byte(n>>8)) }
	text("context")
	b = append(b, '}', 0x94, '(')
	text("lang")
	text("fr_BE")
	text("uid")
	number(user)
	b = append(b, 'u')
	text("db")
	text("prod")
	text("login")
	text(fmt.Sprintf("user%d", user))
	text("uid")
	number(user)
	text("session_token")
	text(sessionToken)
	return append(b, "u."...)
}
