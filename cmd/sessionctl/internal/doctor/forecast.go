package doctor

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// tableShare is what MEMORY USAGE leaves out: a key's entry among the expiries,
// its places in the two hash tables, and what the allocator rounds up.
const tableShare = 64

// weighed is how many sessions of a node, and how many indexes, have their memory
// asked for.
const weighed = 200

// weight is what was seen of the memory of one node's keys.
type weight struct {
	node                       *node
	sessions, indexes          int   // looked at
	visited                    int   // keys that SCAN has passed
	keys                       int64 // of the database, ours or not
	sessionsAsked, indexAsked  int
	sessionBytes, indexBytes   int64
	sessionWeighed, indexCount int64
}

// wants tells whether the memory of one more session, or index, is to be asked
// for, and counts it.
func (w *weight) wants(session bool) bool {
	asked := &w.indexAsked
	if session {
		asked = &w.sessionsAsked
	}
	if *asked == weighed {
		return false
	}
	*asked++
	return true
}

func (w *weight) add(prefix, key string, bytes int64) {
	if server.KindOf(prefix, key) == server.Session {
		w.sessionBytes += bytes + tableShare
		w.sessionWeighed++
		return
	}
	w.indexBytes += bytes + tableShare
	w.indexCount++
}

// each is the memory of one session with its share of the indexes.
func (w *weight) each() float64 {
	if w.sessionWeighed == 0 || w.sessions == 0 {
		return 0
	}
	each := float64(w.sessionBytes) / float64(w.sessionWeighed)
	if w.indexCount > 0 {
		each += float64(w.indexBytes) / float64(w.indexCount) * float64(w.indexes) / float64(w.sessions)
	}
	return each
}

// total is about how many sessions the node has.
func (w *weight) total(partly bool) float64 {
	if !partly || w.keys <= int64(w.visited) {
		return float64(w.sessions)
	}
	return float64(w.sessions) * float64(w.keys) / float64(w.visited)
}

// forecast says how many more sessions of the present kind fit.
func (s *survey) forecast(weights []weight) Finding {
	const name = "forecast"
	var total, more, taken float64
	limit := "maxmemory"
	known := true
	for i := range weights {
		w := &weights[i]
		each, info := w.each(), w.node.info
		count := w.total(s.partly)
		total += count
		taken += each * count
		free := info.Int("maxmemory") - info.Int("used_memory")
		if info.Int("maxmemory") == 0 {
			free, limit = info.SystemMemory()-info.Int("used_memory_rss"), "the machine's memory"
		}
		if known = known && info.SystemMemory() > 0; each > 0 {
			more += float64(max(0, free)) / each
		}
	}
	about := ""
	if s.partly {
		about = "about "
	}
	count := about + humanize.Comma(int64(total)) + " sessions"
	switch {
	case s.sessions == 0:
		return Finding{Check: name, Severity: OK, Seen: "no sessions yet"}
	case s.noWeight != "":
		return cannotLook(name, "at the memory of "+count, s.noWeight)
	case !known:
		return Finding{Check: name, Severity: Warn, Seen: fmt.Sprintf("%s of about %s each; how much memory there is cannot be seen", count, humanize.Comma(int64(taken/total))+" bytes"), Do: "set maxmemory"}
	}
	return Finding{Check: name, Severity: OK, Seen: fmt.Sprintf("%s of about %s bytes each; about %s more fit in %s", count, humanize.Comma(int64(taken/total)), round(more), limit)}
}

// round gives a number no more places than it deserves.
func round(n float64) string {
	value, prefix := humanize.ComputeSI(n)
	unit := map[string]string{"": "", "k": " thousand", "M": " million", "G": " billion"}[prefix]
	return fmt.Sprintf("%.3g%s", value, unit)
}
