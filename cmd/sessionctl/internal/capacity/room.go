package capacity

import (
	"context"
	"fmt"
	"math/bits"
	"net/url"

	"github.com/dustin/go-humanize"
	"github.com/shirou/gopsutil/v4/mem"
)

func availableMemory(ctx context.Context) (uint64, error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking the system for its memory: %w", err)
	}
	return m.Available, nil
}

// checkRoom refuses what does not fit, before the machine swaps or the kernel
// ends some program.
func checkRoom(ctx context.Context, o Options, at *place, now state, made *source) error {
	if o.Yes {
		return nil
	}
	most := o.Steps[len(o.Steps)-1]
	// A tenth for fragmentation and for the tables while Redis resizes them.
	need := uint64(most) * uint64(made.estimate()) / 10 * 11
	room, where := now.Room, "this Redis has room for"
	if now.Limited {
		where = "maxmemory leaves this Redis"
	}
	if !now.Limited && isLocal(o.URL) {
		free, err := o.Available(ctx)
		if err != nil {
			return err
		}
		if free < room {
			room, where = free, "this machine has"
		}
	}
	if need <= room {
		return nil
	}
	return fmt.Errorf("%s sessions of %d bytes need about %s (%d bytes each), and %s %s: ask for fewer, or try all the same with --yes",
		Short(most), made.recordBytes(), humanize.IBytes(need), made.estimate(), where, humanize.IBytes(room))
}

// isLocal tells whether the Redis at rawURL shares this machine's memory.
func isLocal(rawURL string) bool {
	if rawURL == "" {
		return true
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return false // several hosts
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return u.Scheme == "unix"
}

// Beside a key and its value Redis keeps an object, an entry in the table of keys
// and one in that of TTLs, each with its share of the buckets; for an index with
// one member also the sorted set. Measured with Redis 7.0, see docs/capacity.md.
const (
	keyOverhead   = 104
	indexOverhead = 160
	stringHeader  = 6 // with the zero at the end
)

// estimate is about how many bytes a session takes, from what jemalloc gives.
func (s *source) estimate() int {
	e := s.place(0)
	n := sizeClass(s.recordBytes()+stringHeader) + sizeClass(len(e.key)+stringHeader) + keyOverhead
	if s.index {
		n += sizeClass(len(e.index)+stringHeader) + indexOverhead
	}
	return n
}

// sizeClass is what jemalloc takes for n bytes: it has four sizes between each
// power of two and the next.
func sizeClass(n int) int {
	step := max(8, 1<<(bits.Len(uint(n-1))-1)>>2)
	return (n + step - 1) / step * step
}
