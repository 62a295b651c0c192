package capacity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

const (
	// life is the TTL of what is written: should the program be killed, its sessions
	// do not stay for ever in a Redis that was lent to it.
	life = 24 * time.Hour

	// What a login with the library's defaults leaves in a record.
	idleTimeout     = 7 * 24 * time.Hour
	absoluteTimeout = 30 * 24 * time.Hour
	userAgent       = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

	leastValueBytes = len(`{"a":""}`)
	bytesPerField   = 30 // as in a usual session: ten values in 300 bytes
)

// source makes sessions: the i-th is the same record but for times, under the
// same id, whenever it is asked for. So what was written can be deleted again
// without a list of it. It is safe for concurrent use.
type source struct {
	seed   [32]byte
	run    string // in the users' names, so that no user of the system is meant
	ring   record.Ring
	keys   keyspace.Space
	fields []record.Field
	users  bool // somebody has logged in
	index  bool // and is entered in their index
}

func newSource(o Options) (*source, error) {
	s := &source{keys: keyspace.New(o.Prefix), fields: fieldsOf(o.ValueBytes), users: !o.Anonymous, index: !o.NoIndex && !o.Anonymous}
	secret := make([]byte, 32)
	rand.Read(secret)
	rand.Read(s.seed[:])
	s.run = hex.EncodeToString(s.seed[:4])
	var err error
	s.ring, err = record.NewRing([][]byte{secret})
	return s, err
}

// fieldsOf returns values that take n bytes as JSON, braces included.
func fieldsOf(n int) []record.Field {
	if n < leastValueBytes {
		return nil
	}
	fields := make([]record.Field, max(1, n/bytesPerField))
	left := n - len("{}") - (len(fields) - 1) // commas
	for i := range fields {
		size := left / (len(fields) - i)
		left -= size
		name := "a"
		if len(fields) > 1 {
			name = fmt.Sprintf("key%03d", i)
		}
		text := strings.Repeat("x", max(0, size-len(`"":""`)-len(name)))
		fields[i] = record.Field{Name: name, Raw: `"` + text + `"`}
	}
	return fields
}

// entry is one session as it goes to Redis.
type entry struct {
	key, raw string
	id       string
	user     string // "" for nobody
	index    string // key of the user's index; "" for none
	login    int64
}

func (s *source) entry(i int, now time.Time) (entry, error) {
	e := s.place(i)
	rec := record.Record{Created: now.Unix(), Deadline: now.Add(absoluteTimeout).Unix(), Idle: int64(idleTimeout / time.Second)}
	if s.users {
		e.login = now.UnixMicro()
		rec.Auth, rec.User = e.login, e.user
		rec.Stamp = s.ring[0].Stamp(rec.User, "1")
		rec.RemoteAddr = fmt.Sprintf("198.51.%d.%d", i>>8&0xff, i&0xff)
		rec.UserAgent = userAgent
	}
	rec.SetFields(s.fields)
	var err error
	e.raw, err = rec.Encode(s.ring, e.key, false)
	return e, err
}

// place is the entry without its record.
func (s *source) place(i int) entry {
	var in [len(s.seed) + 8]byte
	binary.BigEndian.PutUint64(in[copy(in[:], s.seed[:]):], uint64(i))
	sid := sha256.Sum256(in[:])
	e := entry{id: keyspace.HashID(sid[:])}
	e.key = s.keys.Session(e.id)
	if s.users {
		e.user = fmt.Sprintf("user-%s-%08d", s.run, i)
	}
	if s.index {
		e.index = s.keys.User(e.user)
	}
	return e
}

// recordBytes is how long a record is.
func (s *source) recordBytes() int {
	e, err := s.entry(0, time.Now())
	if err != nil {
		return 0 // the fill tells
	}
	return len(e.raw)
}

const (
	blockBytes = 4096 // what ext4 and XFS give to a file that holds a byte
	inodeBytes = 256  // what they need besides for each file
)

// fileBytes is what one session would take as a file, without its inode.
func (s *source) fileBytes() uint64 {
	return uint64((s.recordBytes() + blockBytes - 1) / blockBytes * blockBytes)
}
