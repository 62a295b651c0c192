package outage

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/redsession/redsession/internal/record"
)

const (
	// largeSession is the size of a record beyond which a login does not protect it: a few
	// large ones must not push out many small ones.
	largeSession = 8 << 10
	overhead     = 512 // bytes of a session beside its text: about the decoded members
)

// session is a record as Redis confirmed it.
type session struct {
	raw       string
	rec       *record.Record
	confirmed time.Time
	until     time.Time // when it ends in Redis if no request prolongs it
}

// size is about what it takes: the text, and what it says.
func (s *session) size() int { return 2*len(s.raw) + overhead }

func (s *session) preferred() bool { return s.rec.LoggedIn() && len(s.raw) <= largeSession }

// segments are two lists of sessions, each in the order of last use, within one bound.
// While there are others, no preferred session is forgotten, so that whoever makes many
// anonymous or large ones pushes out nobody who is logged in.
type segments struct {
	preferred, others    *simplelru.LRU[string, *session]
	maxEntries, maxBytes int
	bytes                int
}

func newSegments(maxEntries, maxBytes int) *segments {
	s := &segments{maxEntries: maxEntries, maxBytes: maxBytes}
	gone := func(_ string, old *session) { s.bytes -= old.size() }
	// One more than the bound, so that put decides what is forgotten. The error is of a
	// size that is not positive.
	s.preferred, _ = simplelru.NewLRU(max(0, maxEntries)+1, gone)
	s.others, _ = simplelru.NewLRU(max(0, maxEntries)+1, gone)
	return s
}

// get returns the session at id, and counts as its use.
func (s *segments) get(id string) (*session, bool) {
	if found, ok := s.preferred.Get(id); ok {
		return found, true
	}
	return s.others.Get(id)
}

func (s *segments) put(id string, added *session) {
	s.remove(id)
	if added.size() > s.maxBytes {
		return // it would push out everything, and itself
	}
	if s.bytes += added.size(); added.preferred() {
		s.preferred.Add(id, added)
	} else {
		s.others.Add(id, added)
	}
	for s.bytes > s.maxBytes || s.preferred.Len()+s.others.Len() > s.maxEntries {
		if _, _, some := s.others.RemoveOldest(); !some {
			s.preferred.RemoveOldest()
		}
	}
}

func (s *segments) remove(id string) {
	if !s.preferred.Remove(id) {
		s.others.Remove(id)
	}
}
