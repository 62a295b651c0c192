package capacity

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/dustin/go-humanize"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
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
	if !now.Limited {
		here, err := at.sharesMachine(ctx, o.URL)
		if err != nil {
			return err
		}
		if here {
			free, err := o.Available(ctx)
			if err != nil {
				return err
			}
			if free < room {
				room, where = free, "this machine has"
			}
		}
	}
	if need <= room {
		return nil
	}
	return fmt.Errorf("%s sessions of %d bytes need about %s (%d bytes each), and %s %s: ask for fewer, or try all the same with --yes",
		Short(most), made.recordBytes(), humanize.IBytes(need), made.estimate(), where, humanize.IBytes(room))
}

// sharesMachine tells whether p's memory is this machine's: that of every primary,
// by what rawURL and they themselves say. rawURL is empty for a Redis of our own.
func (p *place) sharesMachine(ctx context.Context, rawURL string) (bool, error) {
	nodes, err := server.Masters(ctx, p.client)
	if err != nil {
		return false, fmt.Errorf("finding the primaries: %w", err)
	}
	for _, host := range server.Hosts(rawURL, nodes) {
		if !server.IsLocal(ctx, host) {
			return false, nil
		}
	}
	return true, nil
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
